//! AES-CBC on many chains at once: the next block of every chain goes through the cipher together.
//!
//! The `aes` crate lends its backend to a closure, together with the number of blocks that it takes in one
//! go: 64 with VAES-512, 30 with VAES-256, 8 with AES-NI. Chains are taken in groups of that number.

use aes::Block;
use aes::cipher::consts::U16;
use aes::cipher::typenum::Unsigned;
use aes::cipher::{
    Array, BlockCipherDecBackend, BlockCipherDecClosure, BlockCipherDecrypt, BlockCipherEncBackend,
    BlockCipherEncClosure, BlockCipherEncrypt, BlockSizeUser, ParBlocks,
};

/// Chains of a batch: with segments of 16 KiB, 1 MiB.
const LANES: usize = 64;

/// A group this many times smaller than the backend's width goes block by block: idle lanes cost as much.
const SPARSE: usize = 4;

/// Returns how many segments to take in one batch, so that whole groups fill `cipher`'s backend.
pub(super) fn batch_len<C: BlockCipherEncrypt<BlockSize = U16>>(cipher: &C) -> usize {
    let mut width = 1;
    cipher.encrypt_with_backend(Width(&mut width));
    LANES / width.min(LANES) * width.min(LANES)
}

/// Encrypts each of `segments` in place, as a CBC chain that begins with the IV in `chains`.
///
/// No segment is longer than the one before it.
pub(super) fn encrypt<C: BlockCipherEncrypt<BlockSize = U16>>(
    cipher: &C,
    chains: &mut [Block],
    segments: &mut [&mut [Block]],
) {
    debug_assert_eq!(chains.len(), segments.len());
    debug_assert!(segments.is_sorted_by(|a, b| a.len() >= b.len()));
    cipher.encrypt_with_backend(EncryptLanes { chains, segments });
}

/// Appends to `out` the decryption of `ciphertext`, padding included.
pub(super) fn decrypt<C: BlockCipherDecrypt<BlockSize = U16>>(
    cipher: &C,
    iv: &Block,
    ciphertext: &[u8],
    out: &mut Vec<u8>,
) {
    cipher.decrypt_with_backend(DecryptChain { iv, ciphertext, out });
}

struct Width<'a>(&'a mut usize);

impl BlockSizeUser for Width<'_> {
    type BlockSize = U16;
}

impl BlockCipherEncClosure for Width<'_> {
    fn call<B: BlockCipherEncBackend<BlockSize = U16>>(self, _: &B) {
        *self.0 = B::ParBlocksSize::USIZE;
    }
}

struct EncryptLanes<'a, 's> {
    chains: &'a mut [Block],
    segments: &'a mut [&'s mut [Block]],
}

impl BlockSizeUser for EncryptLanes<'_, '_> {
    type BlockSize = U16;
}

impl BlockCipherEncClosure for EncryptLanes<'_, '_> {
    #[inline(always)]
    fn call<B: BlockCipherEncBackend<BlockSize = U16>>(self, backend: &B) {
        let width = B::ParBlocksSize::USIZE;
        for (chains, segments) in self.chains.chunks_mut(width).zip(self.segments.chunks_mut(width)) {
            encrypt_group(backend, chains, segments);
        }
    }
}

/// Encrypts one group: all its lanes to the end of the shortest, then those that are left.
#[inline(always)]
fn encrypt_group<B: BlockCipherEncBackend<BlockSize = U16>>(
    backend: &B,
    chains: &mut [Block],
    segments: &mut [&mut [Block]],
) {
    let mut row: ParBlocks<B> = Array::default();
    row[..chains.len()].copy_from_slice(chains);
    let mut done = 0;
    let mut lanes = segments.len();
    while let Some(end) = segments[..lanes].last().map(|segment| segment.len()) {
        let mut parts: Vec<&mut [Block]> =
            segments[..lanes].iter_mut().map(|segment| &mut segment[done..end]).collect();
        if lanes * SPARSE < B::ParBlocksSize::USIZE {
            encrypt_sparse(backend, &mut row, &mut parts, end - done);
        } else {
            encrypt_rows(backend, &mut row, &mut parts, end - done);
        }
        done = end;
        lanes = segments[..lanes].partition_point(|segment| segment.len() > end);
    }
}

/// Takes every row through the whole backend; lanes of it that nobody uses carry zeros.
#[inline(always)]
fn encrypt_rows<B: BlockCipherEncBackend<BlockSize = U16>>(
    backend: &B,
    row: &mut ParBlocks<B>,
    parts: &mut [&mut [Block]],
    rows: usize,
) {
    for index in 0..rows {
        for (chain, part) in row.iter_mut().zip(parts.iter()) {
            xor(chain, &part[index]);
        }
        backend.encrypt_par_blocks_inplace(row);
        for (chain, part) in row.iter().zip(parts.iter_mut()) {
            part[index] = *chain;
        }
    }
}

/// Takes each row block by block.
#[inline(always)]
fn encrypt_sparse<B: BlockCipherEncBackend<BlockSize = U16>>(
    backend: &B,
    row: &mut ParBlocks<B>,
    parts: &mut [&mut [Block]],
    rows: usize,
) {
    for index in 0..rows {
        for (chain, part) in row.iter_mut().zip(parts.iter_mut()) {
            xor(chain, &part[index]);
            backend.encrypt_block_inplace(chain);
            part[index] = *chain;
        }
    }
}

struct DecryptChain<'a> {
    iv: &'a Block,
    ciphertext: &'a [u8],
    out: &'a mut Vec<u8>,
}

impl BlockSizeUser for DecryptChain<'_> {
    type BlockSize = U16;
}

impl BlockCipherDecClosure for DecryptChain<'_> {
    #[inline(always)]
    fn call<B: BlockCipherDecBackend<BlockSize = U16>>(self, backend: &B) {
        let mut previous = self.iv;
        let (blocks, _) = Block::slice_as_chunks(self.ciphertext);
        let (groups, tail) = ParBlocks::<B>::slice_as_chunks(blocks);
        for group in groups {
            let mut plain = group.clone();
            backend.decrypt_par_blocks_inplace(&mut plain);
            unchain(&mut plain, previous, group);
            self.out.extend_from_slice(Block::slice_as_flattened(&plain));
            previous = group.last().unwrap_or(previous);
        }
        for block in tail {
            let mut plain = *block;
            backend.decrypt_block_inplace(&mut plain);
            xor(&mut plain, previous);
            self.out.extend_from_slice(&plain);
            previous = block;
        }
    }
}

#[inline(always)]
fn unchain(plain: &mut [Block], previous: &Block, ciphertext: &[Block]) {
    if let Some((first, rest)) = plain.split_first_mut() {
        xor(first, previous);
        for (block, before) in rest.iter_mut().zip(ciphertext) {
            xor(block, before);
        }
    }
}

#[inline(always)]
fn xor(target: &mut Block, other: &Block) {
    *target = (u128::from_ne_bytes((*target).into()) ^ u128::from_ne_bytes((*other).into())).to_ne_bytes().into();
}
