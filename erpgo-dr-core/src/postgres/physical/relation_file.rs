//! Names of the files of tables and indexes.

/// Tablespaces that every cluster has, by their object identifiers.
const DEFAULT_TABLESPACE: u32 = 1663;
const GLOBAL_TABLESPACE: u32 = 1664;

/// A file of a relation: a fork of a table or index, or a gigabyte of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RelationFile<'a> {
    /// The directory that it lies in: a database of a tablespace.
    pub folder: &'a str,
    /// The relation's file number.
    pub number: u32,
    /// Whether it is a relation of one session, whose files begin with `t`.
    pub temporary: bool,
    /// `""` for the main fork, else `fsm`, `vm` or `init`.
    pub fork: &'a str,
    /// Which of the relation's files it is, counted from 0.
    pub segment: u32,
}

impl<'a> RelationFile<'a> {
    /// Reads a path from the data directory; `None` when no relation lies there.
    pub fn parse(path: &'a str) -> Option<Self> {
        let (folder, name) = path.rsplit_once('/')?;
        let in_database = |rest: &str| number(rest).is_some();
        let holds_relations = folder == "global"
            || folder.strip_prefix("base/").is_some_and(in_database)
            || folder.strip_prefix("pg_tblspc/").is_some_and(|rest| {
                let mut parts = rest.split('/');
                let known = parts.next().is_some_and(in_database)
                    && parts.next().is_some_and(|version| version.starts_with("PG_"))
                    && parts.next().is_some_and(in_database);
                known && parts.next().is_none()
            });
        if !holds_relations {
            return None;
        }
        let (stem, segment) = match name.split_once('.') {
            Some((stem, segment)) => (stem, number(segment).filter(|segment| *segment > 0)?),
            None => (name, 0),
        };
        // The last one: the name of a temporary relation has a `_` of its own.
        let (stem, fork) =
            stem.rsplit_once('_').filter(|(_, fork)| matches!(*fork, "fsm" | "vm" | "init")).unwrap_or((stem, ""));
        let (temporary, digits) = match stem.strip_prefix('t').map(|rest| rest.split_once('_')) {
            Some(Some((backend, digits))) => (number(backend).map(|_| true)?, digits),
            Some(None) => return None,
            None => (false, stem),
        };
        Some(Self { folder, number: number(digits)?, temporary, fork, segment })
    }

    /// Returns the object identifier of its tablespace, as `pg_tablespace` has it.
    pub fn tablespace(&self) -> u32 {
        match self.folder.split_once('/') {
            None => GLOBAL_TABLESPACE,
            Some(("pg_tblspc", rest)) => rest.split('/').next().and_then(number).unwrap_or(DEFAULT_TABLESPACE),
            Some(_) => DEFAULT_TABLESPACE,
        }
    }

    /// Returns the object identifier of its database; 0 for what all databases share.
    pub fn database(&self) -> u32 {
        self.folder.rsplit_once('/').and_then(|(_, database)| number(database)).unwrap_or(0)
    }

    /// Returns the number in its fork of the first page in this file, when each file but the last has `pages_per_file`.
    pub fn first_block(&self, pages_per_file: u32) -> u32 {
        self.segment.wrapping_mul(pages_per_file)
    }
}

fn number(digits: &str) -> Option<u32> {
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit()) && (digits == "0" || !digits.starts_with('0'));
    plain.then(|| digits.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_relations_are_told_from_others() {
        let parse =
            |path| RelationFile::parse(path).map(|found| (found.number, found.temporary, found.fork, found.segment));
        assert_eq!(parse("base/5/1259"), Some((1259, false, "", 0)));
        assert_eq!(parse("base/5/1259_vm"), Some((1259, false, "vm", 0)));
        assert_eq!(parse("base/5/1259.12"), Some((1259, false, "", 12)));
        assert_eq!(parse("base/5/1259_fsm.1"), Some((1259, false, "fsm", 1)));
        assert_eq!(parse("base/5/16400_init"), Some((16400, false, "init", 0)));
        assert_eq!(parse("base/5/t3_16400"), Some((16400, true, "", 0)));
        assert_eq!(parse("base/5/t3_16400_fsm.1"), Some((16400, true, "fsm", 1)));
        assert_eq!(parse("global/1262"), Some((1262, false, "", 0)));
        assert_eq!(parse("pg_tblspc/16385/PG_17_202406281/5/16400"), Some((16400, false, "", 0)));
        let owner = |path| RelationFile::parse(path).map(|found| (found.tablespace(), found.database()));
        assert_eq!(owner("global/1262"), Some((1664, 0)));
        assert_eq!(owner("base/5/1259"), Some((1663, 5)));
        assert_eq!(owner("pg_tblspc/16385/PG_17_202406281/5/16400"), Some((16385, 5)));
        assert_eq!(RelationFile::parse("base/5/1259.3").unwrap().first_block(131_072), 393_216);
        for path in [
            "global/pg_control",
            "base/5/PG_VERSION",
            "base/5/pg_filenode.map",
            "base/1259",
            "pg_xact/0000",
            "base/5/12a",
            "base/5/0123",
            "base/+5/123",
            "base/5/4294967296",
            "base/5/1.0",
            "base/5/1_xx",
            "base/x/1",
            "pg_tblspc/1/PG_17/5/6/7",
            "base/5/t3",
            "base/5/tx_1",
        ] {
            assert_eq!(parse(path), None, "{path}");
        }
    }
}
