//! HMAC-SHA-256 of many segments at once.
//!
//! Two kernels: as many messages side by side as the CPU has lanes for (`tape-sha256`: 32 with AVX-512, 8 with
//! AVX2, 4 on SHA-NI), or two streams by turns through the `sha2` crate. `docs/decisions/0001-cipher-kernel.md`
//! says what was audited and measured.

use sha2::block_api::compress256;
use tape_sha256::Message;
use zeroize::Zeroizing;

/// Bytes of the block that stands before each segment's ciphertext in its MAC's message.
pub(super) const ASSOCIATED: usize = 64;

const SHA_BLOCK: usize = 64;
const LENGTH_FIELD: usize = 8;
/// Initial hash value of SHA-256 (FIPS 180-4, section 5.3.3).
const H0: [u32; 8] = [0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19];

/// What the MAC of one segment covers.
pub(super) struct MacInput<'a> {
    pub(super) associated: [u8; ASSOCIATED],
    pub(super) ciphertext: &'a [u8],
}

/// How a batch of MACs is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MacKernel {
    /// As many messages side by side as there are lanes.
    Lanes,
    /// Two messages by turns.
    Streams,
}

impl MacKernel {
    /// Returns the faster kernel of this CPU: lanes on the x86-64 backends that have been audited.
    pub(super) fn detect() -> Self {
        let audited = cfg!(target_arch = "x86_64") && tape_sha256::lane_width() > 1;
        if audited { Self::Lanes } else { Self::Streams }
    }

    /// Returns its name.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Lanes => tape_sha256::backend(),
            Self::Streams => "sha2-x2",
        }
    }
}

/// The MAC of an object's segments.
pub(super) struct SegmentMac {
    kernel: MacKernel,
    inner_block: Zeroizing<[u8; SHA_BLOCK]>,
    outer_block: Zeroizing<[u8; SHA_BLOCK]>,
    inner_state: Zeroizing<[u32; 8]>,
    outer_state: Zeroizing<[u32; 8]>,
}

impl SegmentMac {
    /// Prepares the MAC under `key` (RFC 2104).
    pub(super) fn new(key: &[u8; 32], kernel: MacKernel) -> Self {
        let (inner_block, inner_state) = keyed(key, 0x36);
        let (outer_block, outer_state) = keyed(key, 0x5c);
        Self { kernel, inner_block, outer_block, inner_state, outer_state }
    }

    /// Returns the tag of each input. Those at the start that are equally long are computed side by side.
    pub(super) fn tags(&self, inputs: &[MacInput<'_>]) -> Vec<[u8; 32]> {
        let mut tags = vec![[0; 32]; inputs.len()];
        let equal = inputs.partition_point(|input| input.ciphertext.len() == inputs[0].ciphertext.len());
        let wide = match self.kernel {
            MacKernel::Lanes if equal > 2 => equal,
            _ => 0,
        };
        self.tag_lanes(&inputs[..wide], &mut tags[..wide]);
        self.tag_streams(&inputs[wide..], &mut tags[wide..]);
        tags
    }

    fn tag_lanes(&self, inputs: &[MacInput<'_>], tags: &mut [[u8; 32]]) {
        // `tape-sha256` takes no mid-state: the keyed block goes in as the message's own first block.
        let mut heads = Zeroizing::new(vec![[0; SHA_BLOCK + ASSOCIATED]; inputs.len()]);
        for (head, input) in heads.iter_mut().zip(inputs) {
            head[..SHA_BLOCK].copy_from_slice(&*self.inner_block);
            head[SHA_BLOCK..].copy_from_slice(&input.associated);
        }
        let messages: Vec<Message<'_>> =
            heads.iter().zip(inputs).map(|(head, input)| Message::prefixed(head, input.ciphertext)).collect();
        let mut inner = vec![[0; 32]; inputs.len()];
        tape_sha256::hash_messages(&messages, &mut inner);
        let digests: Vec<&[u8]> = inner.iter().map(<[u8; 32]>::as_slice).collect();
        tape_sha256::hash_many_prefixed(&*self.outer_block, &digests, tags);
    }

    fn tag_streams(&self, inputs: &[MacInput<'_>], tags: &mut [[u8; 32]]) {
        let (pairs, single) = inputs.as_chunks::<2>();
        let (tag_pairs, tag_single) = tags.as_chunks_mut::<2>();
        for (pair, tags) in pairs.iter().zip(tag_pairs) {
            *tags = self.tag_together(pair.each_ref());
        }
        for (input, tag) in single.iter().zip(tag_single) {
            [*tag] = self.tag_together([input]);
        }
    }

    /// Computes `N` tags by turns; beyond the shortest message, one after the other.
    fn tag_together<const N: usize>(&self, inputs: [&MacInput<'_>; N]) -> [[u8; 32]; N] {
        let mut states = [*self.inner_state; N];
        let bodies = inputs.map(|input| input.ciphertext.as_chunks::<SHA_BLOCK>());
        for (state, input) in states.iter_mut().zip(inputs) {
            compress256(state, &[input.associated]);
        }
        let shared = if N == 1 { 0 } else { bodies.iter().map(|(blocks, _)| blocks.len()).min().unwrap_or(0) };
        for index in 0..shared {
            for (state, (blocks, _)) in states.iter_mut().zip(bodies) {
                compress256(state, &blocks[index..=index]);
            }
        }
        for (state, (blocks, tail)) in states.iter_mut().zip(bodies) {
            compress256(state, &blocks[shared..]);
            let hashed = SHA_BLOCK + ASSOCIATED + blocks.len() * SHA_BLOCK;
            compress256(state, &[last_block(tail, hashed)]);
        }
        states.map(|inner| {
            let mut outer = *self.outer_state;
            compress256(&mut outer, &[last_block(&digest(inner), SHA_BLOCK)]);
            digest(outer)
        })
    }
}

/// Returns the first block of a hash that is keyed with `key`, and the state behind it.
fn keyed(key: &[u8; 32], pad: u8) -> (Zeroizing<[u8; SHA_BLOCK]>, Zeroizing<[u32; 8]>) {
    let mut block = Zeroizing::new([pad; SHA_BLOCK]);
    block.iter_mut().zip(key).for_each(|(byte, key)| *byte ^= key);
    let mut state = Zeroizing::new(H0);
    compress256(&mut state, &[*block]);
    (block, state)
}

/// Returns the last block of a message that ends with `tail`, of at most 55 bytes, after `hashed` bytes.
fn last_block(tail: &[u8], hashed: usize) -> [u8; SHA_BLOCK] {
    let mut block = [0; SHA_BLOCK];
    block[..tail.len()].copy_from_slice(tail);
    block[tail.len()] = 0x80;
    let bits = 8 * (hashed + tail.len()) as u64;
    block[SHA_BLOCK - LENGTH_FIELD..].copy_from_slice(&bits.to_be_bytes());
    block
}

fn digest(state: [u32; 8]) -> [u8; 32] {
    let mut bytes = [0; 32];
    for (chunk, word) in bytes.as_chunks_mut::<4>().0.iter_mut().zip(state) {
        *chunk = word.to_be_bytes();
    }
    bytes
}
