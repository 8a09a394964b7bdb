//! A tar archive that comes in pieces of any length.

use bytes::{Bytes, BytesMut};
use tar::{EntryType, Header};

use super::super::listing::{ClusterEntry, ClusterEntryKind};
use crate::postgres::PostgresError;

const BLOCK: usize = 512;

/// What comes out of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TarEvent {
    /// A file, directory or link begins. Contents and an end follow for files alone.
    Entry(ClusterEntry),
    /// The next bytes of the file.
    Contents(Bytes),
    /// The file has been given whole.
    End,
}

/// Reads one archive.
#[derive(Debug, Default)]
pub(crate) struct TarStream {
    header: BytesMut,
    state: State,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum State {
    #[default]
    Header,
    Contents {
        rest: u64,
        size: u64,
    },
    Padding(u64),
    /// Behind the last entry lie blocks of zeros.
    Ended,
}

impl TarStream {
    /// Returns what comes next, and takes it from `data`; `None` when `data` is used up.
    ///
    /// # Errors
    /// [`PostgresError::MalformedCluster`] for what no server sends.
    pub(crate) fn next(&mut self, data: &mut Bytes) -> Result<Option<TarEvent>, PostgresError> {
        loop {
            match self.state {
                State::Header => {
                    let missing = BLOCK - self.header.len();
                    self.header.extend_from_slice(&data.split_to(missing.min(data.len())));
                    if self.header.len() < BLOCK {
                        return Ok(None);
                    }
                    let block = std::mem::take(&mut self.header);
                    if block.iter().all(|byte| *byte == 0) {
                        self.state = State::Ended;
                        continue;
                    }
                    let entry = parse(&block)?;
                    if let ClusterEntryKind::File { size, .. } = entry.kind {
                        self.state = State::Contents { rest: size, size };
                    }
                    return Ok(Some(TarEvent::Entry(entry)));
                }
                State::Contents { rest: 0, size } => {
                    self.state = State::Padding(size.next_multiple_of(BLOCK as u64) - size);
                    return Ok(Some(TarEvent::End));
                }
                State::Contents { rest, size } => {
                    if data.is_empty() {
                        return Ok(None);
                    }
                    let piece = data.split_to(usize::try_from(rest).unwrap_or(usize::MAX).min(data.len()));
                    self.state = State::Contents { rest: rest - piece.len() as u64, size };
                    return Ok(Some(TarEvent::Contents(piece)));
                }
                State::Padding(0) => self.state = State::Header,
                State::Padding(rest) => {
                    let skipped = data.split_to((rest as usize).min(data.len()));
                    self.state = State::Padding(rest - skipped.len() as u64);
                    if data.is_empty() && skipped.len() as u64 != rest {
                        return Ok(None);
                    }
                }
                State::Ended => {
                    data.clear();
                    return Ok(None);
                }
            }
        }
    }

    /// Checks that the archive may end here.
    ///
    /// # Errors
    /// [`PostgresError::MalformedCluster`] in the middle of an entry.
    pub(crate) fn finish(self) -> Result<(), PostgresError> {
        match self.state {
            State::Ended => Ok(()),
            State::Header if self.header.is_empty() => Ok(()),
            _ => Err(malformed("it ends in the middle of a file")),
        }
    }
}

fn malformed(reason: &str) -> PostgresError {
    PostgresError::MalformedCluster(format!("a tar archive of the server is not to be read: {reason}"))
}

fn parse(block: &[u8]) -> Result<ClusterEntry, PostgresError> {
    let header = Header::from_byte_slice(block);
    let wrong = |error: std::io::Error| malformed(&error.to_string());
    // As unsigned bytes, with the place of the sum itself as blanks.
    let sum: u32 = block[..148].iter().chain(&block[156..]).map(|byte| u32::from(*byte)).sum::<u32>() + 8 * 32;
    if header.cksum().map_err(wrong)? != sum {
        return Err(malformed("the checksum of a header is wrong"));
    }
    let text = |bytes: &[u8]| match str::from_utf8(bytes) {
        Ok(text) => Ok(text.trim_end_matches('/').to_owned()),
        Err(_) => Err(malformed(&format!("{} is no UTF-8", String::from_utf8_lossy(bytes)))),
    };
    let path = text(&header.path_bytes())?;
    // The server begins the names of some directories so.
    let path = path.strip_prefix("./").map_or(path.clone(), str::to_owned);
    let is_inside = !path.is_empty() && path.split('/').all(|part| !matches!(part, "" | "." | ".."));
    if !is_inside {
        return Err(malformed(&format!("{path:?} is no path of a file in a cluster")));
    }
    let kind = match header.entry_type() {
        EntryType::Regular => ClusterEntryKind::File {
            size: header.entry_size().map_err(wrong)?,
            modified: header.mtime().map_err(wrong)?.cast_signed(),
        },
        EntryType::Directory => ClusterEntryKind::Directory,
        EntryType::Symlink => {
            let target = header.link_name_bytes().ok_or_else(|| malformed("a link leads nowhere"))?;
            ClusterEntryKind::Tablespace(text(&target)?.into())
        }
        other => return Err(malformed(&format!("{path} is of the type {other:?}"))),
    };
    Ok(ClusterEntry { path: path.into(), kind, mode: header.mode().map_err(wrong)? & 0o7777 })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive() -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        let mut add = |path: &str, kind: EntryType, contents: &[u8]| {
            let mut header = Header::new_ustar();
            header.set_entry_type(kind);
            header.set_size(contents.len() as u64);
            header.set_mode(0o600);
            header.set_mtime(1_700_000_000);
            match kind {
                EntryType::Symlink => builder.append_link(&mut header, path, "/srv/space").unwrap(),
                _ => builder.append_data(&mut header, path, contents).unwrap(),
            }
        };
        add("base", EntryType::Directory, b"");
        add("base/1", EntryType::Regular, &[7; 1300]);
        add("empty", EntryType::Regular, b"");
        add("pg_tblspc/16384", EntryType::Symlink, b"");
        add("whole", EntryType::Regular, &[9; 1024]);
        builder.into_inner().unwrap()
    }

    fn read(archive: &[u8], piece: usize) -> Result<Vec<String>, PostgresError> {
        let (mut stream, mut found, mut bytes) = (TarStream::default(), Vec::new(), 0);
        for piece in archive.chunks(piece) {
            let mut data = Bytes::copy_from_slice(piece);
            while let Some(event) = stream.next(&mut data)? {
                match event {
                    TarEvent::Entry(entry) => found.push(format!("{} {:?} {:o}", entry.path, entry.kind, entry.mode)),
                    TarEvent::Contents(contents) => bytes += contents.len(),
                    TarEvent::End => found.push(format!("{} bytes", std::mem::take(&mut bytes))),
                }
            }
        }
        stream.finish()?;
        Ok(found)
    }

    #[test]
    fn entries_come_whole_in_pieces_of_any_length() {
        let archive = archive();
        let modified = 1_700_000_000;
        let expected = [
            "base Directory 600".to_owned(),
            format!("base/1 File {{ size: 1300, modified: {modified} }} 600"),
            "1300 bytes".to_owned(),
            format!("empty File {{ size: 0, modified: {modified} }} 600"),
            "0 bytes".to_owned(),
            "pg_tblspc/16384 Tablespace(\"/srv/space\") 600".to_owned(),
            format!("whole File {{ size: 1024, modified: {modified} }} 600"),
            "1024 bytes".to_owned(),
        ];
        for piece in [1, 7, 511, 512, 513, 4096, archive.len()] {
            assert_eq!(read(&archive, piece).unwrap(), expected, "in pieces of {piece}");
        }
    }

    #[test]
    fn what_is_cut_short_or_leads_outside_is_refused() {
        let archive = archive();
        for length in [100, 600, 1600, 2200] {
            assert!(read(&archive[..length], 512).is_err(), "{length}");
        }
        let mut flipped = archive;
        flipped[3] ^= 1;
        assert!(read(&flipped, 512).unwrap_err().to_string().contains("checksum"));
        for path in ["../x", "a/../../x", "/etc/passwd", "a//b"] {
            let mut header = Header::new_old();
            header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
            header.set_entry_type(EntryType::Regular);
            header.set_size(0);
            header.set_mode(0o600);
            header.set_mtime(0);
            header.set_cksum();
            assert!(parse(header.as_bytes()).is_err(), "{path}");
        }
    }
}
