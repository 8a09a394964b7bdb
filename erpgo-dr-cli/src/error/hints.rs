//! The next step for each failure, as one would tell it to an operator at night.

use std::error::Error as StdError;

use erpgo_dr_core::agent::AgentError;
use erpgo_dr_core::crypto::CryptoError;
use erpgo_dr_core::drill::DrillError;
use erpgo_dr_core::ops::legacy::LegacyError;
use erpgo_dr_core::ops::wal::WalStreamError;
use erpgo_dr_core::postgres::physical::PhysicalError;
use erpgo_dr_core::postgres::{PostgresError, Refusal};
use erpgo_dr_core::repository::RepositoryError;
use erpgo_dr_core::runbook::{RunbookError, ha_kind};
use erpgo_dr_core::storage::StorageError;
use erpgo_dr_core::topology::ha::HaError;
use erpgo_dr_core::{Error, ErrorKind};

/// Finds the most specific hint: by the error itself, then by its kind.
pub(super) fn of(error: &Error) -> Option<String> {
    if let Some(hint) = named(error) {
        return Some(hint);
    }
    specific(error).or_else(|| by_kind(error.kind())).map(str::to_owned)
}

/// Finds the hint for a failure around a runbook.
pub(super) fn of_runbook(error: &RunbookError) -> Option<String> {
    use RunbookError as E;
    Some(match error {
        E::Syntax { .. } | E::Name { .. } | E::Faulty { .. } => {
            "docs/runbooks.md says what a runbook can say; `erpgo-dr runbook check FILE` finds every fault".to_owned()
        }
        E::UnknownVariable { .. } | E::Value(_) => {
            "`erpgo-dr runbook show NAME` lists the variables and their types".to_owned()
        }
        E::MissingValues { names } => format!(
            "give them: {}; secrets by --set-file or --set-env",
            names.iter().map(|name| format!("--set {name}=...")).collect::<Vec<_>>().join(" ")
        ),
        E::NotWatchable { .. } => {
            "give it a step `primary-down`, as `erpgo-dr runbook show database-failure` has one".to_owned()
        }
        E::Escalation(_) => {
            "set [[escalation.level]] right: each later than the one before it, and with contacts".to_owned()
        }
        E::NoSuchRun(_) => "`erpgo-dr runbook runs` lists the runs".to_owned(),
        E::Ended(run) => {
            format!("`erpgo-dr runbook log {run}` shows what it did; begin another one with `runbook run`")
        }
        E::RunByPatroni { .. } => {
            "watch nothing there; `erpgo-dr runbook run patroni-failover` acts where Patroni does not".to_owned()
        }
        E::Busy(run) => format!("let that process end, or stop it; then `erpgo-dr runbook resume {run}`"),
        E::Journal { .. } => {
            "somebody altered the journal, or the place lost a part of it: look at each step yourself before you go on"
                .to_owned()
        }
        _ => return by_kind(error.kind()).map(str::to_owned),
    })
}

/// Finds the hint for a drill that is refused.
pub(super) fn of_drill(error: &DrillError) -> Option<String> {
    let hint = match error {
        DrillError::Leaves { .. } => {
            "docs/drills.md says what a runbook can do in a drill; --with-programs runs programs of your own without a network, --set gives \
             a variable another value"
        }
        DrillError::NotSealed => {
            "have util-linux's `unshare` installed, and the kernel allow namespaces of users; or rehearse the runbook that comes along"
        }
        error => return by_kind(error.kind()).map(str::to_owned),
    };
    Some(hint.to_owned())
}

/// Finds the hint for an agent that cannot begin.
pub(super) fn of_agent(error: &AgentError) -> Option<String> {
    use AgentError as E;
    Some(match error {
        E::Schedule { .. } => {
            "a schedule is five fields of cron, `0 */6 * * *`, and a time zone a name such as Europe/Berlin".to_owned()
        }
        E::Name(_) | E::SameName { .. } => "give each [[agent.job]] a `name` of its own, such as backup-erp".to_owned(),
        E::ReservedName { .. } => "give that [[agent.job]] another `name`".to_owned(),
        E::Timing { .. } => "hours and days are usual: jitter = \"10m\", window = \"2h\", limit = \"12h\"".to_owned(),
        E::NoJobs => "docs/agent.md says which jobs there are".to_owned(),
        _ => return by_kind(error.kind()).map(str::to_owned),
    })
}

/// Finds the hint for a failure around the high availability of a cluster.
pub(super) fn of_ha(error: &HaError) -> Option<String> {
    use HaError as E;
    let hint = match error {
        E::Setting { .. } => "docs/high-availability.md says how Patroni is reached",
        E::Unreachable { .. } => {
            "give the addresses of all members: --patroni URL for each; the port is that of `restapi`"
        }
        E::Tls { .. } => {
            "trust the authority of its certificate with --ca-file; where it asks for ours, give --client-cert and --client-key"
        }
        E::Unauthorized { .. } => {
            "give --user and --password-file as `restapi.authentication` has them; 403 is the allowlist or a missing certificate"
        }
        E::Unanswered { .. } | E::NotSettled { .. } => {
            "it may be done all the same: `erpgo-dr ha show` tells; do not repeat it before you have looked"
        }
        E::Refused { .. } => "`erpgo-dr ha show` shows the members; the log of Patroni says more",
        E::NoLeader => "wait for Patroni to replace it; where it does not, `erpgo-dr ha failover --candidate MEMBER`",
        E::Ambiguous { .. } => "fence all but the one that has the newest data, before anybody writes",
        E::AnotherLeads { .. } | E::AlreadyLeads { .. } => "`erpgo-dr ha show` shows who leads now",
        E::LeaderIsWell { .. } => {
            "hand over: `erpgo-dr ha switchover`; --even-if-well replaces it all the same, and may lose what it writes meanwhile"
        }
        E::Replaced { .. } => "`erpgo-dr ha show` shows who leads now",
        E::Repeated { .. } => "`erpgo-dr ha show` shows what is; what is left is done with the commands `ha`",
        E::Beside { .. } => "fence those at once, before anybody writes there; then look at `erpgo-dr ha show`",
        E::IsLeader { .. } => "hand over first: `erpgo-dr ha switchover`",
        E::NoSuchMember { .. } => "names are those of `erpgo-dr ha show`",
        E::NotReady { .. } | E::NoCandidate => {
            "`erpgo-dr ha show` shows who follows; `erpgo-dr ha reinitialize MEMBER` makes the data of one anew"
        }
        E::Lagging { .. } => "wait until it has caught up; --max-lag BYTES takes one that is further behind",
        E::Paused => "name one: --candidate MEMBER; or end the pause: `erpgo-dr ha resume`",
        E::Host { .. } => "look at that host before anything else is done",
        error => return by_kind(ha_kind(error)).map(str::to_owned),
    };
    Some(hint.to_owned())
}

/// Hints that name what the error names.
fn named(error: &Error) -> Option<String> {
    let Error::Postgres(error) = error else { return None };
    match error {
        PostgresError::Physical(PhysicalError::NotStarted { start, .. }) => Some(format!(
            "set right what the log names, then start it: {start}\nor restore again with --delta; --server-setting port=5433 takes another port"
        )),
        PostgresError::Physical(PhysicalError::TargetNotReached { .. }) => Some(
            "`erpgo-dr wal check` shows where the archive ends or has a gap; restore again with --delta, to an earlier target, or without one"
                .to_owned(),
        ),
        PostgresError::Physical(PhysicalError::ReplayStalled { stop, .. }) => Some(format!(
            "stop it: {stop}\nthen restore again with --delta, and raise what the log names: --server-setting max_connections=N"
        )),
        PostgresError::Physical(PhysicalError::ReplayTimedOut { stop, .. }) => Some(format!(
            "it goes on by itself: ask it for pg_last_wal_replay_lsn(); or stop it: {stop}\n--start-timeout waits longer"
        )),
        PostgresError::ScratchFull { scratch, .. } => Some(format!(
            "free some space in {}, or name a folder on another disk: --scratch FOLDER, or `scratch` in [verify]",
            scratch.display()
        )),
        PostgresError::LeftBehind { database, .. } => Some(format!(
            "drop what is there before you try again: DROP DATABASE \"{}\"",
            database.replace('"', "\"\"")
        )),
        _ => None,
    }
}

/// A repository, its replicas and its repair have nothing to do with a file of the old scripts.
const DAMAGED_FILE: &str = "take another copy of the file: this one is cut short or damaged, and nothing was changed";

fn specific(error: &Error) -> Option<&'static str> {
    match error {
        Error::Repository(error) => repository(error),
        Error::Crypto(error) => crypto(error),
        Error::Postgres(error) => postgres(error),
        Error::Storage(error) => storage(error),
        Error::Legacy(error) => legacy(error),
        Error::Wal(_) => {
            Some("compare the file with its name and server: nothing was archived; `pg_waldump PATH` reads a segment")
        }
        Error::WalStream(error) => Some(stream(error)),
        Error::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound => Some("check the path"),
        Error::Io { source, .. } if source.kind() == std::io::ErrorKind::AlreadyExists => {
            Some("name another file, or replace this one with --force")
        }
        _ => None,
    }
}

fn repository(error: &RepositoryError) -> Option<&'static str> {
    use RepositoryError as E;
    match error {
        E::NotARepository { .. } => Some("check the address (`--repository`), or make one there with `erpgo-dr init`"),
        E::AlreadyInitialized { .. } => Some("it can be used as it is; `erpgo-dr status` shows what is in it"),
        E::ForeignPlace { .. } => {
            Some("name an empty folder, or a prefix of its own in the bucket: s3://BUCKET/PREFIX")
        }
        E::NoSuchBackup(_) => Some("`erpgo-dr list` shows the backups"),
        E::NoSuchEvidence(_) => Some("`erpgo-dr evidence list` shows what was collected"),
        E::NoBackup(what) if what.contains("verified") => {
            Some("take `latest` instead of `latest-proven`, or prove one first: `erpgo-dr verify --restore --latest`")
        }
        E::NoBackup(what) if what.contains("clusters") => Some(
            "`erpgo-dr cluster restore --data-dir FOLDER` brings back a whole cluster; `erpgo-dr backup` takes databases",
        ),
        E::NoBackup(_) => Some("`erpgo-dr list` shows the backups; `erpgo-dr backup` takes one"),
        E::NoSlotOpened { .. } => {
            Some("give the right key: --identity FILE, --passphrase-file FILE or ERPGO_DR_PASSPHRASE")
        }
        E::Locked { .. } => {
            Some("give a key that opens it: --identity FILE, --passphrase-file FILE or ERPGO_DR_PASSPHRASE")
        }
        E::SlotExists { .. } | E::NoSuchSlot { .. } => Some("`erpgo-dr key list` shows the slots"),
        E::LastSlot { .. } => Some("add another slot first: `erpgo-dr key add NAME`"),
        E::Busy { .. } => Some("wait for it to end; the lease of a process that died lapses after ten minutes"),
        E::Revoked { .. } => Some("take the backup again; this host was not heard of for ten minutes"),
        E::OnHold { .. } => Some("`erpgo-dr hold remove BACKUP` gives it free"),
        E::WalConflict { .. } => Some(
            "two servers write one timeline, or one was restored without a new one: stop the wrong one; to keep both, archive to another --repository",
        ),
        E::WalDamaged { .. } => Some("heal it from a replica with `erpgo-dr repair --deep`, then try again"),
        E::WalGap { .. } => Some(
            "look for the segment at the other places (`erpgo-dr repair`) and on the old server, and push it; else recover to a target before it, or from a later backup",
        ),
        E::WalSystemUnknown { .. } => Some("name the cluster: --system NUMBER, or `system` in [wal] of erpgo-dr.toml"),
        E::NoWalOfSystem { .. } => {
            Some("check the address (`--repository`); `erpgo-dr wal list` shows what is archived there")
        }
        E::UnsupportedFormat { .. } => Some("use a newer version of erpgo-dr"),
        E::Crypto(error) => crypto(error),
        E::Storage(error) => storage(error),
        _ => None,
    }
}

fn stream(error: &WalStreamError) -> &'static str {
    use WalStreamError as E;
    match error {
        E::NoSlot { .. } => "make it with --create-slot, or check the name: SELECT slot_name FROM pg_replication_slots",
        E::Removed { .. } => {
            "the log has a gap that no restore goes past: begin with another --folder, name a --slot, and take a base backup now; keep the old folder until `wal list` shows what is in it"
        }
        E::OtherCluster { .. } | E::SeveralClusters { .. } => {
            "check --connection, or give each cluster a --folder of its own"
        }
        E::LeftBehind { .. } => {
            "name the server that was promoted with --connection; the old one must not take writes any more"
        }
        E::Diverged { .. } => {
            "check --connection; to follow this server begin with another --folder, and take a base backup of it now; keep the old folder until `wal list` shows what is in it"
        }
        E::WentBack { .. } | E::Rewritten { .. } => {
            "commits that had been received are missing there: restore or promote the server from what is archived, so that a new timeline begins; to follow it as it is, begin with another --folder and another repository"
        }
        E::FolderBusy { .. } => "stop the other process, or name another --folder",
        _ => {
            "try again; if it stays so, begin with another --folder, and keep the old one until `wal list` shows what is in it"
        }
    }
}

fn crypto(error: &CryptoError) -> Option<&'static str> {
    use CryptoError as E;
    match error {
        E::IdentityNeedsPassphrase => {
            Some("give the identity's passphrase: --passphrase-file FILE or ERPGO_DR_PASSPHRASE")
        }
        E::SlotName(_) => Some("a name such as `alice` or `backup-host-2`"),
        E::CommandNotRun { .. } | E::CommandFailed { .. } | E::CommandTimedOut { .. } | E::CommandOutput { .. } => {
            Some("run the command of [keys.command] by hand: it reads standard input and writes standard output")
        }
        E::OpensslNoCandidate { .. } => {
            Some("check the passphrase; for `openssl enc -pbkdf2 -iter N` give --iterations N")
        }
        _ => None,
    }
}

fn postgres(error: &PostgresError) -> Option<&'static str> {
    use PostgresError as E;
    match error.refusal() {
        Some(Refusal::Credentials) => {
            return Some(
                "set the password in a PGPASSFILE or in ERPGO_DR_PGPASSWORD, and check the user and pg_hba.conf",
            );
        }
        Some(Refusal::Privilege) => {
            return Some(
                "name a role that may (--connection), or give this one REPLICATION, as `cluster backup --remote` and `wal stream` need it",
            );
        }
        Some(Refusal::NoSuchDatabase) => {
            return Some(
                "check the name: `psql --list` shows the databases; --connection, PGDATABASE or `connection` says which is meant",
            );
        }
        Some(Refusal::DiskFull) => return Some("free some space on the server's disk, then try again"),
        _ => {}
    }
    match error {
        E::Connect { source, .. } => Some(connect(source.as_ref())),
        E::NoClientProgram { .. } => {
            Some("install the client programs of that version, or name their folder with --bin-dir")
        }
        E::TargetNotEmpty { .. } => Some(
            "restore into a new database with --target-database NAME, replace what is there with --clean, or add to it with --allow-non-empty",
        ),
        E::NoSuchDatabase { .. } => Some("check the name, or let it be made with --create"),
        E::NotInBackup(_) => Some("`erpgo-dr show BACKUP` lists what is in the backup"),
        E::Throwaway(_) => Some(
            "`verify --restore` needs initdb of the server's version, and an account that is not root: --run-as USER",
        ),
        E::Sink(source) | E::Source(source) => inner(source.as_ref()),
        _ => None,
    }
}

fn connect(source: &(dyn StdError + 'static)) -> &'static str {
    let text = chain(source);
    if text.contains("certificate") || text.contains("TLS") {
        "name the authority's certificate with sslrootcert=FILE in the connection; sslmode=require does without verification"
    } else {
        "check host and port (--connection), and that the server runs: `pg_isready`"
    }
}

fn storage(error: &StorageError) -> Option<&'static str> {
    use StorageError as E;
    match error {
        E::InvalidAddress { .. } => {
            Some("an address is a path that starts with / or ./, s3://BUCKET/PREFIX, gs://... or az://...")
        }
        E::Archived { .. } => Some("`erpgo-dr thaw BACKUP` asks for it; repeat that to see when it can be read"),
        E::PermissionDenied { .. } => {
            Some("check the credentials and that they may list, read, write and delete there")
        }
        E::NoSpace { .. } => Some("free some space; `erpgo-dr prune --dry-run` shows what could go"),
        E::FolderMissing { .. } => Some(
            "mount the disk or bring the folder back; what `erpgo-dr repair` finds missing so it makes anew, as for a new replica",
        ),
        E::FolderReplaced { .. } => {
            Some("mount the disk again or bring the old folder back; if this one is right, start the command again")
        }
        E::Degraded { .. } => Some("bring the place back, then `erpgo-dr repair`"),
        E::Unsupported { .. } => Some("the place cannot do this"),
        _ => None,
    }
}

fn legacy(error: &LegacyError) -> Option<&'static str> {
    use LegacyError as E;
    match error {
        E::NeedsPassphrase | E::WrongPassphrase { .. } => {
            Some("give the old key: --legacy-passphrase-file FILE, or BACKUP_ENCRYPTION_KEY in the --env-file")
        }
        E::NotAnArchive { instead: "pg_restore", .. } => Some(
            "`erpgo-dr decrypt FILE -o dump.tar`, then `pg_restore -d DATABASE dump.tar`; `erpgo-dr backup` takes it into the repository from there",
        ),
        E::NotAnArchive { instead: "tar", .. } => Some(
            "unpack it with tar: dumps of `pg_dump -Fc` in it can be imported, a folder with toc.dat is restored with `pg_restore -Fd`",
        ),
        E::NotAnArchive { .. } => Some(
            "`erpgo-dr decrypt FILE -o - | psql DATABASE` runs the SQL; `erpgo-dr backup` takes it into the repository from there",
        ),
        E::UnknownContents { .. } => Some(
            "it takes what `pg_dump -Fc` writes, plain or in gzip, zstd or `openssl enc`: `file FILE` may know what this is",
        ),
        E::Empty { .. } | E::Truncated { .. } | E::Corrupt { .. } | E::Incomplete { .. } => Some(DAMAGED_FILE),
        E::Openssl(CryptoError::OpensslTruncated { .. } | CryptoError::OpensslBadPadding) => Some(DAMAGED_FILE),
        E::AlreadyImported { .. } => Some("it is there already; --again makes another backup of it"),
        E::Openssl(error) => crypto(error),
        _ => None,
    }
}

/// Looks for one of our own errors behind a boxed one.
fn inner(error: &(dyn StdError + 'static)) -> Option<&'static str> {
    let mut next = Some(error);
    while let Some(error) = next {
        let found = (error.downcast_ref().map(storage))
            .or_else(|| error.downcast_ref().map(repository))
            .or_else(|| error.downcast_ref().map(legacy));
        if let Some(Some(hint)) = found {
            return Some(hint);
        }
        next = error.source();
    }
    None
}

fn by_kind(kind: ErrorKind) -> Option<&'static str> {
    match kind {
        ErrorKind::Locked => Some("give a key: --identity FILE, --passphrase-file FILE or ERPGO_DR_PASSPHRASE"),
        ErrorKind::Integrity => Some(
            "do not restore from it; `erpgo-dr verify --all` shows what else is hit, `erpgo-dr repair` heals from a replica",
        ),
        ErrorKind::Archived => Some("`erpgo-dr thaw BACKUP` asks for it; repeat that to see when it can be read"),
        ErrorKind::Permission => Some("check the credentials and the permissions of the place"),
        ErrorKind::NoSpace => Some("free some space; `erpgo-dr prune --dry-run` shows what could go"),
        ErrorKind::Unavailable => Some("check the network and that the service runs, then try again"),
        ErrorKind::Database => Some("the server's message says why; its log has more"),
        ErrorKind::Busy => Some("wait for the other process to end, then try again"),
        ErrorKind::Io => Some("check the path and the disk; the system's log may say more"),
        _ => None,
    }
}

fn chain(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        text.push_str(&source.to_string());
        next = source.source();
    }
    text
}
