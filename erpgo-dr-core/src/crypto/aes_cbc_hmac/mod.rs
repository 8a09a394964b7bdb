//! AES-256-CBC with PKCS#7 padding, then HMAC-SHA-256, a batch of segments at a time on one core.
//!
//! CBC is serial inside a chain and HMAC inside a message, so the speed comes from many chains and many
//! messages side by side. [`lanes`] is the cipher, [`mac`] the MAC, [`layout`] the shape of a run; this
//! module joins them, and holds what a segment's IV and associated block are.

mod lanes;
mod layout;
mod mac;
#[cfg(test)]
mod tests;

use std::fmt;

use aes::cipher::{BlockCipherEncrypt, KeyInit};
use aes::{Aes256Dec, Aes256Enc, Block};
use hmac::{Hmac, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, Zeroizing};

use self::layout::{BLOCK, StoredSegment, TAG, padding_len};
use self::mac::{ASSOCIATED, MacInput, MacKernel, SegmentMac};
use super::kdf::ObjectKeys;
use super::{
    CipherAlgorithm, CryptoError, Encryptor, EpochKey, ObjectBinding, SEGMENT_PREFIX, SegmentCipher, SegmentPrefix,
    SegmentRun,
};

/// The default [`Encryptor`]: AES-256-CBC, then HMAC-SHA-256, with keys of their own for each object.
///
/// It finds the fastest kernels that the CPU has: VAES and AVX-512, else AES-NI and SHA-NI, else constant-time
/// portable code. All of them store the same bytes.
#[derive(Debug, Clone)]
pub struct Aes256CbcHmac {
    mac: MacKernel,
}

impl Aes256CbcHmac {
    /// Creates the encryptor with the fastest kernels of this CPU.
    pub fn new() -> Self {
        Self { mac: MacKernel::detect() }
    }

    /// Returns the name of the MAC's kernel on this CPU, for logs and benchmarks.
    pub fn mac_backend(&self) -> &'static str {
        self.mac.name()
    }

    #[cfg(test)]
    fn with_mac_kernel(mac: MacKernel) -> Self {
        Self { mac }
    }
}

impl Default for Aes256CbcHmac {
    fn default() -> Self {
        Self::new()
    }
}

impl Encryptor for Aes256CbcHmac {
    fn algorithm(&self) -> CipherAlgorithm {
        CipherAlgorithm::Aes256CbcHmacSha256
    }

    fn sealed_len(&self, plaintext_len: usize) -> usize {
        layout::sealed_len(plaintext_len)
    }

    fn for_object(&self, key: &EpochKey, object: &ObjectBinding) -> Box<dyn SegmentCipher> {
        Box::new(ObjectCipher::new(&ObjectKeys::derive(key, object), object.context, self.mac))
    }
}

/// The cipher of one object.
struct ObjectCipher {
    encrypt: Aes256Enc,
    decrypt: Aes256Dec,
    iv: Aes256Enc,
    mac: SegmentMac,
    metadata: Zeroizing<[u8; 32]>,
    context: [u8; 32],
    batch: usize,
}

impl fmt::Debug for ObjectCipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Aes256CbcHmac cipher of an object (keys redacted)")
    }
}

impl ObjectCipher {
    fn new(keys: &ObjectKeys, context: [u8; 32], mac: MacKernel) -> Self {
        let encrypt = Aes256Enc::new(keys.cipher().into());
        Self {
            decrypt: Aes256Dec::from(&encrypt),
            iv: Aes256Enc::new(keys.iv().into()),
            mac: SegmentMac::new(keys.mac(), mac),
            metadata: Zeroizing::new(*keys.metadata()),
            context,
            batch: lanes::batch_len(&encrypt),
            encrypt,
        }
    }

    /// Encrypts the numbers of segments into their IVs: unpredictable without the key, and never the same
    /// twice under one (SP 800-38A, appendix C).
    fn ivs(&self, layer: u8, numbers: impl Iterator<Item = u64>) -> Vec<Block> {
        let mut ivs: Vec<Block> = numbers
            .map(|number| {
                let mut block = Block::default();
                block[..8].copy_from_slice(&number.to_le_bytes());
                block[8] = layer;
                block
            })
            .collect();
        self.iv.encrypt_blocks(&mut ivs);
        ivs
    }

    /// Builds the block that the MAC covers before the ciphertext.
    fn associated(&self, layer: u8, number: u64, last: bool) -> [u8; ASSOCIATED] {
        let mut block = [0; ASSOCIATED];
        block[..32].copy_from_slice(&self.context);
        block[32..40].copy_from_slice(&number.to_le_bytes());
        block[40] = u8::from(last);
        block[41] = layer;
        block
    }

    /// Appends the stored form of one batch. `segments` yields each number, whether it is the last, and plaintext.
    fn seal_batch(&self, layer: u8, segments: &[(u32, bool, &[u8])], out: &mut Vec<u8>) {
        let start = out.len();
        for &(number, last, plaintext) in segments {
            append_plain(number, last, plaintext, out);
        }
        let stored = &mut out[start..];
        self.encrypt_batch(layer, segments, stored);
        self.tag_batch(layer, segments, stored);
    }

    fn encrypt_batch(&self, layer: u8, segments: &[(u32, bool, &[u8])], stored: &mut [u8]) {
        let mut chains = self.ivs(layer, segments.iter().map(|&(number, ..)| u64::from(number)));
        let mut rest = stored;
        let mut bodies = Vec::with_capacity(segments.len());
        for &(.., plaintext) in segments {
            let (segment, after) = rest.split_at_mut(layout::sealed_len(plaintext.len()));
            let end = segment.len() - TAG;
            bodies.push(Block::slice_as_chunks_mut(&mut segment[SEGMENT_PREFIX..end]).0);
            rest = after;
        }
        lanes::encrypt(&self.encrypt, &mut chains, &mut bodies);
    }

    fn tag_batch(&self, layer: u8, segments: &[(u32, bool, &[u8])], stored: &mut [u8]) {
        let mut inputs = Vec::with_capacity(segments.len());
        let mut slots = Vec::with_capacity(segments.len());
        let mut rest = stored;
        for &(number, last, plaintext) in segments {
            let (segment, after) = rest.split_at_mut(layout::sealed_len(plaintext.len()));
            let (body, tag) = segment.split_at_mut(segment.len() - TAG);
            let associated = self.associated(layer, u64::from(number), last);
            inputs.push(MacInput { associated, ciphertext: &body[SEGMENT_PREFIX..] });
            slots.push(tag);
            rest = after;
        }
        for (slot, tag) in slots.into_iter().zip(self.mac.tags(&inputs)) {
            slot.copy_from_slice(&tag);
        }
    }

    /// Checks every tag of a batch, then appends its plaintext.
    fn open_batch(
        &self,
        run: SegmentRun,
        segments: &[StoredSegment<'_>],
        out: &mut Vec<u8>,
    ) -> Result<(), CryptoError> {
        let inputs: Vec<_> = segments
            .iter()
            .map(|segment| MacInput {
                associated: self.associated(run.layer, segment.number, segment.last),
                ciphertext: segment.ciphertext,
            })
            .collect();
        for (segment, tag) in segments.iter().zip(self.mac.tags(&inputs)) {
            if !bool::from(tag.as_slice().ct_eq(segment.tag)) {
                return Err(CryptoError::SegmentNotAuthentic { number: segment.number });
            }
        }
        let ivs = self.ivs(run.layer, segments.iter().map(|segment| segment.number));
        for (segment, iv) in segments.iter().zip(&ivs) {
            let start = out.len();
            lanes::decrypt(&self.decrypt, iv, segment.ciphertext, out);
            let malformed = CryptoError::SegmentMalformed { number: segment.number };
            let padding = padding_len(&out[start..]).ok_or(malformed)?;
            out.truncate(out.len() - padding);
            if !segment.fits(out.len() - start, run.segment_len) {
                return Err(CryptoError::SegmentMalformed { number: segment.number });
            }
        }
        Ok(())
    }

    fn open_all(&self, run: SegmentRun, sealed: &[u8], out: &mut Vec<u8>) -> Result<(), CryptoError> {
        let segments = layout::parse(run, sealed)?;
        // Room for the padding of one segment too, which stands in `out` until it has been checked.
        out.reserve(segments.iter().map(|segment| segment.ciphertext.len()).sum());
        segments.chunks(self.batch).try_for_each(|batch| self.open_batch(run, batch, out))
    }
}

impl SegmentCipher for ObjectCipher {
    fn seal(&self, run: SegmentRun, plaintext: &[u8], out: &mut Vec<u8>) {
        let count = layout::segment_count(run, plaintext.len());
        out.reserve(layout::sealed_run_len(run, plaintext.len()));
        let mut rest = plaintext;
        let mut batch = Vec::with_capacity(self.batch.min(count));
        for index in 0..count {
            let (segment, after) = rest.split_at(run.segment_len.min(rest.len()));
            rest = after;
            let number = u32::try_from(index).ok().and_then(|index| run.first.checked_add(index));
            let number = number.expect("a layer has at most 2^32 segments");
            batch.push((number, run.last && index + 1 == count, segment));
            if batch.len() == self.batch || index + 1 == count {
                self.seal_batch(run.layer, &batch, out);
                batch.clear();
            }
        }
    }

    fn open(&self, run: SegmentRun, sealed: &[u8], out: &mut Vec<u8>) -> Result<(), CryptoError> {
        let before = out.len();
        self.open_all(run, sealed, out).inspect_err(|_| {
            // Batches before the one that failed were authentic, but the run as a whole was not.
            out[before..].zeroize();
            out.truncate(before);
        })
    }

    fn tag(&self, domain: &[u8], data: &[u8]) -> [u8; 32] {
        let length = u8::try_from(domain.len()).expect("a domain is a constant of at most 255 bytes");
        let mut mac =
            <Hmac<Sha256> as KeyInit>::new_from_slice(&*self.metadata).expect("HMAC takes a key of any length");
        mac.update(&[length]);
        mac.update(domain);
        mac.update(data);
        mac.finalize().into_bytes().into()
    }
}

/// Appends a segment as it will be stored, but for its encryption and tag, which then happen in place.
fn append_plain(number: u32, last: bool, plaintext: &[u8], out: &mut Vec<u8>) {
    let padding = BLOCK - plaintext.len() % BLOCK;
    let length = plaintext.len() + padding + TAG;
    let length = u32::try_from(length).expect("checked by segment_count");
    let fill = u8::try_from(padding).expect("at most 16");
    out.extend_from_slice(&SegmentPrefix { number, length, last }.encode());
    out.extend_from_slice(plaintext);
    out.extend_from_slice(&[fill; BLOCK][..padding]);
    out.extend_from_slice(&[0; TAG]);
}
