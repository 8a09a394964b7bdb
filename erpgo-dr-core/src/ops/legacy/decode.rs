//! Takes the layers off, one reader on top of another. Blocking: it runs on a thread of its own.

use std::io::{self, BufRead, Cursor, Read};

use secrecy::SecretString;

use super::sniff::{HEAD, Sniffed, sniff};
use super::{Contents, Integrity, Layer, LayerKind, LegacyError, LegacyOptions};
use crate::crypto::openssl_enc::{self, OpensslKdf, UnauthenticatedReader};

/// More layers than scripts make; also what keeps a file of endless layers from taking all memory.
const MAX_LAYERS: usize = 4;

const PIECE: usize = 64 << 10;

/// More than follows the closing line of pg_dump's text.
const TAIL: usize = 512;

type Input = Box<dyn BufRead + Send>;

/// A file whose layers are known and whose plaintext is about to be read.
pub(super) struct Decoded {
    pub(super) layers: Vec<Layer>,
    pub(super) contents: Contents,
    bytes: Input,
    tail: Vec<u8>,
}

impl Decoded {
    /// Looks at the beginning of `file` and puts a decoder on it for each layer that it finds.
    pub(super) fn open(file: impl BufRead + Send + 'static, options: &LegacyOptions) -> Result<Self, LegacyError> {
        let mut layers = Vec::new();
        let mut bytes: Input = Box::new(file);
        loop {
            let head = read_head(&mut bytes, &layers)?;
            let sniffed = sniff(&head);
            let whole = Cursor::new(head.clone()).chain(bytes);
            let layer = match sniffed {
                Some(Sniffed::Contents(contents)) => {
                    return Ok(Self { layers, contents, bytes: Box::new(whole), tail: Vec::new() });
                }
                None => return Err(unknown(&head, &layers)),
                Some(Sniffed::Openssl) => {
                    let passphrase = options.passphrase.clone().ok_or(LegacyError::NeedsPassphrase)?;
                    let kdf = derivation(&head, &passphrase, options)?;
                    bytes = Box::new(OpensslLayer::new(whole, passphrase, kdf));
                    Layer { kind: LayerKind::Openssl(kdf), integrity: Integrity::None }
                }
                Some(Sniffed::Gzip) => {
                    bytes = gzip(whole)?;
                    Layer { kind: LayerKind::Gzip, integrity: Integrity::Checksum }
                }
                Some(Sniffed::Zstd { checksum }) => {
                    bytes = zstd(whole)?;
                    let integrity = if checksum { Integrity::Checksum } else { Integrity::None };
                    Layer { kind: LayerKind::Zstd, integrity }
                }
            };
            layers.push(layer);
            if layers.len() > MAX_LAYERS {
                return Err(LegacyError::TooManyLayers { limit: MAX_LAYERS });
            }
        }
    }

    /// Reads up to `length` bytes of plaintext; fewer, or none, only at the end, which has then been checked.
    pub(super) fn read(&mut self, length: usize) -> Result<Vec<u8>, LegacyError> {
        let mut piece = Vec::with_capacity(length);
        let place = || self.contents.to_string();
        (&mut self.bytes)
            .take(length as u64)
            .read_to_end(&mut piece)
            .map_err(|error| LegacyError::from_io(error, place))?;
        if self.contents == Contents::PgDumpText {
            self.keep_tail(&piece);
            if piece.len() < length && !ends_as_pg_dump(&self.tail) {
                return Err(LegacyError::Truncated { place: self.contents.to_string() });
            }
        }
        Ok(piece)
    }

    fn keep_tail(&mut self, piece: &[u8]) {
        self.tail.extend_from_slice(&piece[piece.len().saturating_sub(TAIL)..]);
        self.tail.drain(..self.tail.len().saturating_sub(TAIL));
    }
}

fn ends_as_pg_dump(tail: &[u8]) -> bool {
    let closings: [&[u8]; 2] =
        [b"-- PostgreSQL database dump complete", b"-- PostgreSQL database cluster dump complete"];
    closings.iter().any(|closing| memchr::memmem::rfind(tail, closing).is_some())
}

fn read_head(bytes: &mut Input, layers: &[Layer]) -> Result<Vec<u8>, LegacyError> {
    let mut head = Vec::with_capacity(HEAD);
    let place = || place(layers);
    bytes.take(HEAD as u64).read_to_end(&mut head).map_err(|error| LegacyError::from_io(error, place))?;
    if head.is_empty() { Err(LegacyError::Empty { place: place() }) } else { Ok(head) }
}

fn place(layers: &[Layer]) -> String {
    layers.last().map_or_else(|| "the file".to_owned(), |layer| format!("the layer of {}", layer.kind))
}

fn unknown(head: &[u8], layers: &[Layer]) -> LegacyError {
    let place = place(layers);
    match layers.last() {
        Some(Layer { kind: LayerKind::Openssl(_), .. }) if head.len() >= 16 => LegacyError::WrongPassphrase { place },
        _ => LegacyError::UnknownContents { place },
    }
}

fn derivation(head: &[u8], passphrase: &SecretString, options: &LegacyOptions) -> Result<OpensslKdf, LegacyError> {
    if let Some(kdf) = options.kdf {
        return Ok(kdf);
    }
    let candidates = OpensslKdf::candidates(options.iterations);
    Ok(openssl_enc::detect(head, passphrase, &candidates, |plaintext| sniff(plaintext).is_some())?)
}

/// Names the layer in the errors of its decoder, and lets those from below pass as they are.
#[cfg(any(feature = "gzip", feature = "zstd"))]
struct Named<R> {
    decoder: R,
    layer: LayerKind,
}

#[cfg(any(feature = "gzip", feature = "zstd"))]
impl<R: Read> Read for Named<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let place = || self.layer.to_string();
        self.decoder.read(buffer).map_err(|error| LegacyError::from_io(error, place).into_io())
    }
}

#[cfg(any(feature = "gzip", feature = "zstd"))]
fn named(decoder: impl Read + Send + 'static, layer: LayerKind) -> Input {
    Box::new(io::BufReader::with_capacity(PIECE, Named { decoder, layer }))
}

#[cfg(feature = "gzip")]
fn gzip(bytes: impl BufRead + Send + 'static) -> Result<Input, LegacyError> {
    Ok(named(flate2::bufread::MultiGzDecoder::new(bytes), LayerKind::Gzip))
}

#[cfg(not(feature = "gzip"))]
fn gzip(_: impl BufRead + Send + 'static) -> Result<Input, LegacyError> {
    Err(LegacyError::Unavailable { codec: "gzip" })
}

#[cfg(feature = "zstd")]
fn zstd(bytes: impl BufRead + Send + 'static) -> Result<Input, LegacyError> {
    let corrupt = |source| LegacyError::Corrupt { place: LayerKind::Zstd.to_string(), source };
    Ok(named(zstd::stream::read::Decoder::with_buffer(bytes).map_err(corrupt)?, LayerKind::Zstd))
}

#[cfg(not(feature = "zstd"))]
fn zstd(_: impl BufRead + Send + 'static) -> Result<Input, LegacyError> {
    Err(LegacyError::Unavailable { codec: "zstd" })
}

struct OpensslLayer<R> {
    input: R,
    /// Gone once the padding has been checked, or once it failed.
    reader: Option<UnauthenticatedReader>,
    plaintext: Vec<u8>,
    consumed: usize,
}

impl<R: BufRead> OpensslLayer<R> {
    fn new(input: R, passphrase: SecretString, kdf: OpensslKdf) -> Self {
        let reader = Some(UnauthenticatedReader::new(passphrase, kdf));
        Self { input, reader, plaintext: Vec::with_capacity(PIECE + 32), consumed: 0 }
    }

    fn refill(&mut self) -> io::Result<()> {
        self.plaintext.clear();
        self.consumed = 0;
        while let Some(reader) = self.reader.as_mut().filter(|_| self.plaintext.is_empty()) {
            let input = self.input.fill_buf()?;
            let piece = &input[..input.len().min(PIECE)];
            let length = piece.len();
            let outcome = if length > 0 {
                reader.update(piece, &mut self.plaintext)
            } else {
                self.reader.take().map_or(Ok(()), |reader| reader.finish(&mut self.plaintext))
            };
            outcome.map_err(|error| LegacyError::from(error).into_io())?;
            self.input.consume(length);
        }
        Ok(())
    }
}

impl<R: BufRead> BufRead for OpensslLayer<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.consumed == self.plaintext.len() {
            self.refill()?;
        }
        Ok(&self.plaintext[self.consumed..])
    }

    fn consume(&mut self, amount: usize) {
        self.consumed += amount;
    }
}

impl<R: BufRead> Read for OpensslLayer<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let length = available.len().min(buffer.len());
        buffer[..length].copy_from_slice(&available[..length]);
        self.consume(length);
        Ok(length)
    }
}
