//! Containers that fit in memory: manifests, summaries.

use bytes::Bytes;

use super::assemble::Assembler;
use super::batcher::Batcher;
use super::frame::EncodedFrame;
use super::header::Header;
use super::layout::{self, BODY, INDEX, Layout};
use super::scan::{Found, Scanner};
use super::subject::Subject;
use super::writer::trailer;
use super::{ContainerError, ContainerOptions, KeySource, ObjectIdentity, SealingKey};

/// Seals `plain` as a whole container, on the calling thread.
///
/// # Errors
/// [`ContainerError::InvalidOption`], [`ContainerError::Codec`], [`ContainerError::TooLarge`].
pub fn seal_bytes(
    identity: &ObjectIdentity,
    key: &SealingKey,
    options: &ContainerOptions,
    plain: &[u8],
) -> Result<Vec<u8>, ContainerError> {
    layout::check(identity, options)?;
    let subject = Subject::new(identity);
    let header = Header::new(identity.clone(), key.epoch.clone(), options, rand::random());
    let layout = Layout::new(header.cipher, header.frame_len, header.segment_len);
    let (sealed, cipher) = header.seal(key);
    let mut out = Vec::from(sealed);
    let header_len = out.len() as u64;
    let (mut body, mut index) = (Batcher::new(layout, BODY), Batcher::new(layout, INDEX));
    let mut frames = 0;
    for plain in plain.chunks(options.frame_len) {
        let frame = EncodedFrame::encode(options.codec, Bytes::copy_from_slice(plain).into())
            .map_err(|source| subject.codec(source))?;
        frames += 1;
        index.push(Bytes::copy_from_slice(&frame.header.encode()));
        frame.stored.into_iter().for_each(|piece| body.push(piece));
    }
    for layer in [&mut body, &mut index] {
        while let Some(batch) = layer.full_batch(&subject)? {
            out.extend_from_slice(&batch.seal(&*cipher));
        }
        out.extend_from_slice(&layer.last_batch().seal(&*cipher));
    }
    let trailer = trailer(&subject, layout, header_len, &body, &index, (frames, plain.len() as u64))?;
    out.extend_from_slice(&trailer.seal(&*cipher));
    Ok(out)
}

/// Opens a whole container of at most `limit` bytes of plaintext, on the calling thread.
///
/// Nothing is returned before all of it, index and trailer included, has been checked.
///
/// # Errors
/// As [`ContainerReader::open`](super::ContainerReader::open) and
/// [`ContainerReader::next`](super::ContainerReader::next); [`ContainerError::TooLarge`] beyond `limit`.
pub fn open_bytes(
    bytes: &[u8],
    expected: &ObjectIdentity,
    keys: &dyn KeySource,
    limit: usize,
) -> Result<Vec<u8>, ContainerError> {
    let subject = Subject::new(expected);
    let opened = Header::open(&subject, bytes, expected, keys)?;
    let codec = opened.header.codec;
    let mut scanner = Scanner::whole(subject.clone(), &opened);
    scanner.push(Bytes::copy_from_slice(bytes));
    scanner.end_input();
    let mut assembler = Assembler::new(subject.clone(), opened.layout, opened.stored_len);
    let mut plain = Vec::new();
    loop {
        match scanner.next()? {
            Found::Batch(batch) => assembler.push(batch.run.layer, batch.open(&subject, &*opened.cipher)?)?,
            Found::Trailer(trailer, _) => assembler.check(&trailer)?,
            Found::NeedMore => return Err(subject.truncated()),
            Found::End => return Ok(plain),
        }
        while let Some(frame) = assembler.next_frame()? {
            if frame.header.plain_len as usize > limit - plain.len() {
                return Err(subject.too_large());
            }
            let pieces = frame.decode(codec).map_err(|source| subject.codec(source))?;
            pieces.iter().for_each(|piece| plain.extend_from_slice(piece));
        }
    }
}
