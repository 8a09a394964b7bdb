//! Sealing and opening runs of segments: the work of which erpgo-dr's figures speak.

use erpgo_dr_core::crypto::{Aes256CbcHmac, Encryptor, EpochKey, ObjectBinding, SegmentCipher, SegmentRun};

/// Plaintext bytes of a segment, as containers cut them by default.
pub const SEGMENT: usize = 16 * 1024 - 16;

/// One run of segments, with buffers that are used again and again.
#[derive(Debug)]
pub struct Workload {
    cipher: Box<dyn SegmentCipher>,
    run: SegmentRun,
    plaintext: Vec<u8>,
    sealed: Vec<u8>,
    opened: Vec<u8>,
}

impl Workload {
    /// Prepares a run of `segments` segments of `segment_len` bytes.
    pub fn new(segments: usize, segment_len: usize) -> Self {
        let object = ObjectBinding { salt: [1; 32], context: [2; 32] };
        let cipher = Aes256CbcHmac::new().for_object(&EpochKey::from_bytes([3; 32]), &object);
        let run = SegmentRun { layer: 0, first: 0, segment_len, last: true };
        let plaintext: Vec<u8> = (0..segments * segment_len).map(|i| (i * 31 + i / 251) as u8).collect();
        let mut sealed = Vec::new();
        cipher.seal(run, &plaintext, &mut sealed);
        let opened = Vec::with_capacity(sealed.len());
        Self { cipher, run, plaintext, sealed, opened }
    }

    /// Returns the plaintext bytes of the run.
    pub fn bytes(&self) -> usize {
        self.plaintext.len()
    }

    /// Seals the run once and returns its plaintext bytes.
    pub fn seal(&mut self) -> usize {
        self.sealed.clear();
        self.cipher.seal(self.run, &self.plaintext, &mut self.sealed);
        self.plaintext.len()
    }

    /// Opens the run once and returns its plaintext bytes.
    ///
    /// # Panics
    /// When it does not open: a benchmark of something broken measures nothing.
    pub fn open(&mut self) -> usize {
        self.opened.clear();
        self.cipher.open(self.run, &self.sealed, &mut self.opened).expect("what was sealed here opens");
        assert_eq!(self.opened.len(), self.plaintext.len());
        self.plaintext.len()
    }
}
