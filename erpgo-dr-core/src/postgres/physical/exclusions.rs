//! What of a data directory is not backed up: the same that `pg_basebackup` leaves out.
//!
//! Source: `src/backend/backup/basebackup.c` of PostgreSQL, the lists `excludeDirContents` and `excludeFiles`.

/// Directories that are kept, without what is in them. Only where they lie in the data directory itself.
const EMPTIED: [&str; 9] = [
    "pg_dynshmem",
    "pg_notify",
    "pg_replslot",
    "pg_serial",
    "pg_snapshots",
    "pg_stat_tmp",
    "pg_subtrans",
    "pg_wal/archive_status",
    "pg_wal/summaries",
];

/// Files that belong to the running server, to its last start (its log among them, if it was ours), or to another backup.
const DROPPED: [&str; 12] = [
    "backup_label",
    "backup_label.old",
    "backup_manifest",
    "backup_manifest.tmp",
    "current_logfiles.tmp",
    "erpgo-dr.log",
    "postgresql.auto.conf.tmp",
    "postmaster.opts",
    "postmaster.pid",
    "recovery.signal",
    "standby.signal",
    "tablespace_map",
];

/// Returns whether a directory is kept without what is in it.
pub(super) fn is_emptied(path: &str) -> bool {
    EMPTIED.contains(&path)
}

/// Returns whether a file, or a directory with all that is in it, is left out. `path` begins at the data directory.
pub(super) fn is_dropped(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    // WAL is taken by itself, from exactly where the backup needs it.
    let is_wal = path.strip_prefix("pg_wal/").is_some_and(|rest| !rest.contains('/') && !is_emptied(path));
    let anywhere = name.starts_with("pgsql_tmp") || name.starts_with("pg_internal.init") || name == ".DS_Store";
    is_wal || anywhere || DROPPED.contains(&path)
}

/// Returns whether something that a server sends is left out: it is what a server of that version did not know to leave out.
pub(crate) fn is_left_out(path: &str) -> bool {
    is_dropped(path) || path.rsplit_once('/').is_some_and(|(folder, _)| is_emptied(folder))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_lies_in_the_data_directory_itself_is_matched() {
        for path in [
            "postmaster.pid",
            "backup_label",
            "base/5/pg_internal.init.12",
            "base/pgsql_tmp",
            "pg_tblspc/16384/PG_17_202406281/pgsql_tmp",
            "pg_wal/000000010000000000000001",
            "pg_wal/00000002.history",
        ] {
            assert!(is_dropped(path), "{path}");
        }
        for path in [
            "pg_tblspc/16384/postmaster.pid",
            "base/backup_label",
            "PG_VERSION",
            "pg_wal/archive_status",
            "pg_wal",
            "global/pg_control",
            "my_pgsql_tmp",
        ] {
            assert!(!is_dropped(path), "{path}");
        }
        assert!(is_emptied("pg_replslot") && !is_emptied("base/pg_replslot") && !is_emptied("pg_tblspc"));
    }
}
