//! Which database goes where, and which process loads which tables.

use std::collections::HashSet;
use std::ops::Range;

use bytes::Bytes;

use super::super::super::archive::{BLOCK_END, BLOCK_START, DataBlock, block_end, block_start};
use super::super::super::{BackupContents, DatabaseContents, PostgresError, Scope};
use super::super::options::RestoreOptions;

/// A database of the backup, and the name that it is to have.
#[derive(Debug)]
pub(super) struct Target<'a> {
    pub(super) contents: &'a DatabaseContents,
    pub(super) name: String,
}

/// Chooses the databases and their names.
pub(super) fn targets<'a>(
    options: &RestoreOptions,
    contents: &'a BackupContents,
) -> Result<Vec<Target<'a>>, PostgresError> {
    let refuse = |text: String| Err(PostgresError::InvalidOptions(text));
    match (contents.scope, options.scope) {
        (Scope::Schema, Scope::Data) => return refuse("the backup holds no data".to_owned()),
        (Scope::Data, Scope::Schema) => return refuse("the backup holds no definitions".to_owned()),
        _ => {}
    }
    let names = chosen_names(options, contents)?;
    let chosen: Vec<&DatabaseContents> =
        contents.databases.iter().filter(|database| names.contains(database.database.as_str())).collect();
    if chosen.is_empty() && !options.restore_globals {
        return refuse("the backup holds no database".to_owned());
    }
    if chosen.len() != 1 && (options.target.is_some() || options.is_subset()) {
        return refuse(format!("{} databases are chosen: name the one that is meant", chosen.len()));
    }
    let mut targets = Vec::with_capacity(chosen.len());
    let mut taken = HashSet::new();
    for database in chosen {
        let renamed = options.target.as_ref().or_else(|| options.rename.get(&database.database));
        let name = renamed.unwrap_or(&database.database).clone();
        if !taken.insert(name.clone()) {
            return refuse(format!("two databases would become {name}"));
        }
        targets.push(Target { contents: database, name });
    }
    Ok(targets)
}

fn chosen_names<'a>(
    options: &'a RestoreOptions,
    contents: &'a BackupContents,
) -> Result<HashSet<&'a str>, PostgresError> {
    let all: HashSet<&str> = contents.databases.iter().map(|database| database.database.as_str()).collect();
    let asked = options.databases.iter().flatten().chain(options.rename.keys());
    if let Some(unknown) = asked.into_iter().find(|name| !all.contains(name.as_str())) {
        return Err(PostgresError::NotInBackup(format!("database {unknown}")));
    }
    Ok(match &options.databases {
        Some(names) => names.iter().map(String::as_str).collect(),
        None => all,
    })
}

/// What a process loads of a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Slice {
    pub(super) dump_id: i32,
    /// The whole block, or rows of it without its start and end.
    pub(super) range: Range<u64>,
    pub(super) is_whole: bool,
}

impl Slice {
    pub(super) fn whole(block: &DataBlock) -> Self {
        Self { dump_id: block.dump_id, range: block.range.clone(), is_whole: true }
    }
}

/// Parts blocks where they may be parted.
pub(super) fn slices(blocks: &[DataBlock]) -> Vec<Slice> {
    let mut slices = Vec::new();
    for block in blocks {
        if block.cuts.is_empty() {
            slices.push(Slice::whole(block));
            continue;
        }
        let (first, last) = (block.range.start + BLOCK_START, block.range.end.saturating_sub(BLOCK_END));
        let bounds: Vec<u64> = std::iter::once(first).chain(block.cuts.iter().copied()).chain([last]).collect();
        slices.extend(bounds.windows(2).map(|pair| Slice {
            dump_id: block.dump_id,
            range: pair[0]..pair[1],
            is_whole: false,
        }));
    }
    slices
}

/// Shares slices out among at most `jobs` processes: the largest first, each to the one with the least so far.
///
/// Within a share they are in the order of the archive, in which pg_restore must find their blocks.
pub(super) fn share_out(mut slices: Vec<Slice>, jobs: usize) -> Vec<Vec<Slice>> {
    let size = |slice: &Slice| slice.range.end.saturating_sub(slice.range.start);
    slices.sort_by_key(|slice| std::cmp::Reverse(size(slice)));
    let mut shares: Vec<(u64, Vec<Slice>)> = vec![(0, Vec::new()); jobs.min(slices.len())];
    for slice in slices {
        let Some((total, share)) = shares.iter_mut().min_by_key(|(total, _)| *total) else { break };
        *total += size(&slice);
        share.push(slice);
    }
    let sorted = |(_, mut share): (u64, Vec<Slice>)| {
        share.sort_by_key(|slice| slice.range.start);
        share
    };
    shares.into_iter().map(sorted).collect()
}

/// A piece of an archive that a process reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    /// Bytes of the stored stream.
    Stored(Range<u64>),
    /// Bytes that are not stored where they are needed.
    Made(Bytes),
}

/// Makes blocks of slices, which are in the order of the archive. What lies side by side is read as one.
pub(super) fn pieces(slices: &[Slice]) -> Vec<Piece> {
    let mut pieces = Vec::new();
    for group in slices.chunk_by(|a, b| a.dump_id == b.dump_id) {
        let [first, ..] = group else { continue };
        if !first.is_whole {
            pieces.push(Piece::Made(block_start(first.dump_id)));
        }
        for slice in group {
            match pieces.last_mut() {
                Some(Piece::Stored(last)) if last.end == slice.range.start => last.end = slice.range.end,
                _ => pieces.push(Piece::Stored(slice.range.clone())),
            }
        }
        if !first.is_whole {
            pieces.push(Piece::Made(block_end()));
        }
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::super::super::super::ServerInfo;
    use super::*;

    fn backup(names: &[&str]) -> BackupContents {
        let databases = names.iter().zip(0..).map(|(name, n)| DatabaseContents::new(*name, n, 0, vec![])).collect();
        BackupContents::new(ServerInfo::new(170_000, "17.0", None, false), Scope::Full, 17, databases)
    }

    fn names(options: &RestoreOptions, backup: &BackupContents) -> Result<Vec<String>, String> {
        let targets = targets(options, backup).map_err(|error| error.to_string())?;
        Ok(targets.into_iter().map(|target| target.name).collect())
    }

    #[test]
    fn databases_are_renamed_but_never_merged() {
        let backup = backup(&["a", "b"]);
        let options = RestoreOptions::new();
        assert_eq!(names(&options, &backup).unwrap(), ["a", "b"]);
        assert_eq!(names(&options.clone().rename("a", "c"), &backup).unwrap(), ["c", "b"]);
        assert!(names(&options.clone().rename("a", "b"), &backup).unwrap_err().contains("two databases"));
        assert!(names(&options.clone().rename("x", "b"), &backup).unwrap_err().contains("not in the backup"));
        assert!(names(&options.clone().target("t"), &backup).unwrap_err().contains("2 databases"));
        let one = options.databases(vec!["b".into()]).target("t");
        assert_eq!(names(&one, &backup).unwrap(), ["t"]);
    }

    fn block(dump_id: i32, start: u64, length: u64, cuts: &[u64]) -> DataBlock {
        DataBlock { dump_id, range: start..start + length, cuts: cuts.to_vec() }
    }

    #[test]
    fn the_largest_table_does_not_wait_for_the_others() {
        let blocks = [block(1, 0, 10, &[]), block(2, 10, 10, &[]), block(3, 20, 100, &[]), block(4, 120, 5, &[])];
        let shares = share_out(slices(&blocks), 2);
        let ids: Vec<Vec<i32>> = shares.iter().map(|share| share.iter().map(|slice| slice.dump_id).collect()).collect();
        assert_eq!(ids, [vec![3], vec![1, 2, 4]]);
        assert_eq!(share_out(slices(&blocks[..1]), 8).len(), 1);
        assert!(share_out(vec![], 8).is_empty());
        assert_eq!(pieces(&shares[1]), [Piece::Stored(0..20), Piece::Stored(120..125)]);
    }

    #[test]
    fn a_table_that_is_parted_becomes_a_block_for_each() {
        let blocks = [block(1, 0, 10, &[]), block(2, 10, 321, &[116, 216])];
        let slices = slices(&blocks);
        let ranges: Vec<Range<u64>> = slices.iter().map(|slice| slice.range.clone()).collect();
        assert_eq!(ranges, [0..10, 16..116, 116..216, 216..316]);
        let shares = share_out(slices.clone(), 2);
        assert_eq!(shares.iter().map(Vec::len).collect::<Vec<_>>(), [2, 2]);
        let (start, end) = (Piece::Made(block_start(2)), Piece::Made(block_end()));
        let of = |slices: &[&Slice]| pieces(&slices.iter().map(|slice| (*slice).clone()).collect::<Vec<_>>());
        let parted = of(&[&slices[0], &slices[1], &slices[3]]);
        assert_eq!(
            parted,
            [Piece::Stored(0..10), start.clone(), Piece::Stored(16..116), Piece::Stored(216..316), end.clone()]
        );
        assert_eq!(of(&[&slices[1], &slices[2]]), [start, Piece::Stored(16..216), end]);
    }
}
