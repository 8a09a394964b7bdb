//! Segments of the WAL, archived and fetched back one by one, a process each, as PostgreSQL calls them.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use erpgo_dr_benches::children::{self, Usage};

use crate::changes::Change;
use crate::cluster::Cluster;
use crate::folders::{clear, compare_files};
use crate::ours::Ours;
use crate::pgbackrest::PgBackRest;
use crate::side::Side;
use crate::table::Table;

const SEGMENTS: usize = 64;
/// Changes whose rows are others than those of any round.
const FIRST_CHANGE: usize = 1000;
const BACKGROUND_TIMEOUT: Duration = Duration::from_secs(120);

const PUSH: &str = r#"while read -r name; do
    "$@" "pg_wal/$name" || exit 1
    mv "pg_wal/archive_status/$name.ready" "pg_wal/archive_status/$name.done"
done <"$0""#;
const FETCH: &str = r#"while read -r name; do
    "$@" "$name" pg_wal/RECOVERYXLOG || exit 1
    mv pg_wal/RECOVERYXLOG "replayed/$name"
done <"$0""#;

/// A copy of what of a data directory both sides look at, with complete segments that are ready to be archived.
pub(crate) struct Segments {
    names: Vec<String>,
    /// Where the originals are.
    kept: PathBuf,
    data: PathBuf,
    list: PathBuf,
}

impl Segments {
    /// Changes rows until there are enough segments, and copies them.
    pub(crate) fn make(cluster: &Cluster, folder: &Path) -> io::Result<Self> {
        cluster.settle()?;
        let first = cluster.psql("SELECT pg_walfile_name(pg_current_wal_insert_lsn())");
        let mut names = Vec::new();
        for change in FIRST_CHANGE.. {
            if names.len() >= SEGMENTS {
                break;
            }
            Change::Rows.make(cluster, change);
            cluster.wait_for_archiver()?;
            let range = format!("name BETWEEN '{first}' AND pg_walfile_name(pg_switch_wal())");
            let complete = format!("SELECT name FROM pg_ls_waldir() WHERE length(name) = 24 AND {range} ORDER BY 1");
            names = cluster.psql(&complete).lines().map(str::to_owned).collect();
        }
        names = names.split_off(names.len() - SEGMENTS);
        let (kept, data, list) = (folder.join("segments"), folder.join("data"), folder.join("names"));
        [kept.clone(), data.join("global")].iter().try_for_each(fs::create_dir_all)?;
        ["PG_VERSION", "global/pg_control"]
            .iter()
            .try_for_each(|file| fs::copy(cluster.server.data_dir().join(file), data.join(file)).map(drop))?;
        for name in &names {
            fs::copy(cluster.server.data_dir().join("pg_wal").join(name), kept.join(name))?;
        }
        fs::write(&list, names.join("\n") + "\n")?;
        Ok(Self { names, kept, data, list })
    }

    fn push(&self, command: &Command) -> io::Result<Usage> {
        self.lay_out(true)?;
        children::run(vec![self.in_a_loop(PUSH, command)])
    }

    /// Fetches all into an empty folder, and compares them with the originals.
    fn fetch(&self, command: &Command) -> io::Result<Usage> {
        self.lay_out(false)?;
        let usage = children::run(vec![self.in_a_loop(FETCH, command)])?;
        let replayed = self.data.join("replayed");
        self.names.iter().try_for_each(|name| compare_files(&self.kept.join(name), &replayed.join(name)))?;
        clear(&replayed)?;
        Ok(usage)
    }

    /// Makes `pg_wal` as the server has it before it archives, or when it begins to recover.
    fn lay_out(&self, ready: bool) -> io::Result<()> {
        let wal = self.data.join("pg_wal");
        clear(&wal)?;
        fs::create_dir_all(wal.join("archive_status"))?;
        fs::create_dir_all(self.data.join("replayed"))?;
        for name in self.names.iter().filter(|_| ready) {
            fs::hard_link(self.kept.join(name), wal.join(name))?;
            File::create(wal.join("archive_status").join(name).with_extension("ready"))?;
        }
        Ok(())
    }

    fn in_a_loop(&self, script: &str, command: &Command) -> Command {
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(script).arg(&self.list).arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => shell.env(name, value),
                None => shell.env_remove(name),
            };
        }
        shell.current_dir(&self.data).stdin(Stdio::null()).stdout(Stdio::null());
        shell
    }
}

/// Measures both sides with and without help from the background.
pub(crate) fn measure(
    table: &mut Table,
    segments: &Segments,
    (ours, theirs): (&Ours, &PgBackRest),
    folder: &Path,
) -> io::Result<()> {
    let spool = folder.join("spool");
    let mut walls = Vec::new();
    for background in [false, true] {
        let spool = background.then_some(spool.as_path());
        begin(ours, theirs, folder)?;
        let push = segments.push(&theirs.segment("archive-push", &segments.data, background))?;
        wait_for_background(folder)?;
        let our_push = segments.push(&ours.segment("push", spool))?;
        wait_for_background(folder)?;
        begin_fetch(theirs, folder)?;
        let fetch = segments.fetch(&theirs.segment("archive-get", &segments.data, background))?;
        wait_for_background(folder)?;
        let our_fetch = segments.fetch(&ours.segment("fetch", spool))?;
        wait_for_background(folder)?;
        let with = if background { ", with a spool" } else { "" };
        for (what, their_usage, our_usage) in [("push", push, our_push), ("fetch", fetch, our_fetch)] {
            table.add(&format!("WAL {what}{with}"), theirs.name(), their_usage, None);
            table.add(&format!("WAL {what}{with}"), ours.name(), our_usage, None);
        }
        walls.push([push.wall, our_push.wall, fetch.wall, our_fetch.wall]);
    }
    let [[push, our_push, fetch, our_fetch], [push_ahead, our_push_ahead, fetch_ahead, our_fetch_ahead]] = walls[..]
    else {
        return Ok(());
    };
    table.ratio("wal_push_ratio", our_push_ahead / push);
    table.ratio("wal_fetch_ratio", our_fetch_ahead / fetch);
    table.ratio("wal_push_ratio_one_by_one", our_push / push);
    table.ratio("wal_fetch_ratio_one_by_one", our_fetch / fetch);
    table.ratio("wal_push_ratio_both_spool", our_push_ahead / push_ahead);
    table.ratio("wal_fetch_ratio_both_spool", our_fetch_ahead / fetch_ahead);
    Ok(())
}

fn begin(ours: &Ours, theirs: &PgBackRest, folder: &Path) -> io::Result<()> {
    clear(&folder.join("spool"))?;
    ours.begin()?;
    theirs.begin()
}

/// Nothing that a push left shall answer a fetch.
fn begin_fetch(theirs: &PgBackRest, folder: &Path) -> io::Result<()> {
    clear(&folder.join("spool"))?;
    clear(&theirs.spool())
}

/// Waits until no process works for either side any more: it would disturb what is measured next.
fn wait_for_background(folder: &Path) -> io::Result<()> {
    let deadline = Instant::now() + BACKGROUND_TIMEOUT;
    while somebody_names(folder)? {
        if Instant::now() > deadline {
            return Err(io::Error::other("a process in the background does not end"));
        }
        sleep(Duration::from_millis(20));
    }
    Ok(())
}

fn somebody_names(folder: &Path) -> io::Result<bool> {
    let (folder, mine) = (folder.to_string_lossy().into_owned(), std::process::id().to_string());
    for entry in fs::read_dir("/proc")? {
        let path = entry?.path();
        let command = fs::read(path.join("cmdline")).unwrap_or_default();
        let named = String::from_utf8_lossy(&command).contains(&folder);
        if named && !path.ends_with(&mine) {
            return Ok(true);
        }
    }
    Ok(false)
}
