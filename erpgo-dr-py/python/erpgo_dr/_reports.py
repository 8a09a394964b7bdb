"""What operations return: frozen dataclasses. Sizes are in bytes, `..._seconds` in seconds, times are aware and in UTC."""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, Literal

VerifyLevel = Literal["scrub", "mac", "contents", "restore"]
Scope = Literal["full", "schema", "data"]

class Report:
    """What all reports have in common."""

    def to_dict(self) -> dict[str, Any]:
        """Returns the report as what JSON can hold: datetimes become text of RFC 3339."""
        fields: Any = dataclasses.fields(self)  # type: ignore[arg-type]
        return {field.name: _plain(getattr(self, field.name)) for field in fields}


@dataclass(frozen=True, kw_only=True)
class MissedWrite(Report):
    """A write that one of several places does not have."""

    location: str
    key: str
    error: str


@dataclass(frozen=True, kw_only=True)
class Verdict(Report):
    """The outcome of one verification."""

    backup: str
    at: datetime
    level: VerifyLevel
    passed: bool
    seconds: float
    restore_seconds: float | None
    """From the first byte read to a database that answers: the observed RTO. Only of restore tests."""
    findings: tuple[str, ...]
    """What was wrong, in words."""
    packs_read_at: datetime | None = None
    replayed_to: str | None = None
    """When packs of earlier backups had been read that were taken on trust. None when everything was read."""
    unrecorded: str | None = None
    """Why it could not be written into the repository."""


@dataclass(frozen=True, kw_only=True)
class CatalogueProblem(Report):
    """Something in the catalogue that should not be."""

    subject: str
    problem: str


@dataclass(frozen=True, kw_only=True)
class BackupReport(Report):
    """A backup that has been taken."""

    id: str
    kind: str
    databases: tuple[str, ...]
    plaintext_bytes: int
    stored_bytes: int
    objects: int
    backup_seconds: float
    verdict: Verdict | None
    missed: tuple[MissedWrite, ...]
    """What replicas do not have. Empty means: durable everywhere."""
    is_complete: bool
    """Whether it is durable at every place and was found good, as far as was asked."""


@dataclass(frozen=True, kw_only=True)
class Hold(Report):
    """A request that a backup stay, whatever the policy says."""

    since: datetime
    reason: str


@dataclass(frozen=True, kw_only=True)
class RetentionCandidate(Report):
    """What a retention policy may know of a backup. Each group is counted by itself."""

    id: str
    created: datetime
    verified: datetime | None = None
    held: bool = False
    needs: tuple[str, ...] = ()
    group: str = ""


@dataclass(frozen=True, kw_only=True)
class Backup(Report):
    """A backup as the catalogue knows it. What only the holder of a key may know is None while `is_locked`."""

    id: str
    kind: str
    created: datetime
    finished: datetime
    plaintext_bytes: int
    stored_bytes: int
    objects: int
    is_locked: bool
    scope: Scope | None
    databases: tuple[str, ...] | None
    server_version: str | None
    server_major: int | None
    system_identifier: int | None
    label: str | None
    verdicts: tuple[Verdict, ...]
    hold: Hold | None
    proven: VerifyLevel | None
    """The deepest level that was passed and not contradicted since."""
    proven_at: datetime | None
    candidate: RetentionCandidate
    """What `RetentionPolicy.plan` takes."""


@dataclass(frozen=True, kw_only=True)
class ServerInfo(Report):
    """What a server says of itself."""

    version_num: int
    version: str
    system_identifier: int | None
    in_recovery: bool


@dataclass(frozen=True, kw_only=True)
class TableContents(Report):
    """The data of one table in a dump (of the large objects, where `schema` is empty), fingerprinted."""

    schema: str
    name: str
    dump_id: int
    rows: int
    bytes: int
    checksum: int
    offset: int
    length: int
    cuts: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class DatabaseSetting(Report):
    """A setting that a database gives to its sessions."""

    role: str | None = None
    name: str
    value: str


@dataclass(frozen=True, kw_only=True)
class DatabaseGrant(Report):
    """A privilege on a database; without a grantee it is everybody's."""

    grantee: str | None = None
    privilege: str
    grantable: bool


@dataclass(frozen=True, kw_only=True)
class Extension(Report):
    """An extension of a database."""

    name: str
    version: str
    schema: str


@dataclass(frozen=True, kw_only=True)
class DatabaseProperties(Report):
    """A database's own properties."""

    owner: str
    encoding: str
    locale_provider: str
    collate: str
    ctype: str
    locale: str | None = None
    icu_rules: str | None = None
    tablespace: str
    connection_limit: int
    comment: str | None = None
    settings: tuple[DatabaseSetting, ...] = ()
    grants: tuple[DatabaseGrant, ...] | None = None
    size: int
    large_objects: int
    extensions: tuple[Extension, ...] = ()


@dataclass(frozen=True, kw_only=True)
class FigureValue(Report):
    """A figure of a business as it was when a backup was taken."""

    name: str
    query: str
    value: str | None = None
    failed: str | None = None
    """Why it could not be told."""


@dataclass(frozen=True, kw_only=True)
class DatabaseContents(Report):
    """What is in the stream of one database."""

    database: str
    stream: int
    toc_entries: int
    tables: tuple[TableContents, ...]
    snapshot: str | None = None
    properties: DatabaseProperties
    figures: tuple[FigureValue, ...] = ()


@dataclass(frozen=True, kw_only=True)
class BackupContents(Report):
    """What a backup contains."""

    server: ServerInfo
    scope: Scope
    dumped_with: int
    databases: tuple[DatabaseContents, ...]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class StoredObject(Report):
    """An object of a backup. Its hash is of the stored bytes."""

    key: str
    plaintext_bytes: int
    stored_bytes: int
    hash: str


@dataclass(frozen=True, kw_only=True)
class StreamKind(Report):
    """What a stream holds: `globals`, or the `database` that is named."""

    type: str
    database: str | None = None


@dataclass(frozen=True, kw_only=True)
class StreamInfo(Report):
    """A stream of a backup."""

    number: int
    kind: StreamKind
    bytes: int


@dataclass(frozen=True, kw_only=True)
class StoredStream(Report):
    """A stream and the objects that hold it, in order."""

    info: StreamInfo
    parts: tuple[StoredObject, ...]


@dataclass(frozen=True, kw_only=True)
class ImportOrigin(Report):
    """Where an adopted file came from, and its layers from the outside in."""

    file: str
    layers: tuple[str, ...]
    fingerprinted: bool
    dump: str | None = None
    """Hash of the dump without its layers."""


@dataclass(frozen=True, kw_only=True)
class Tablespace(Report):
    """A tablespace beside those that every cluster has, and where it lay."""

    oid: int
    location: str


@dataclass(frozen=True, kw_only=True)
class DamagedPage(Report):
    """A page of a file, which is relative to the data directory; blocks are counted from 0, in the relation."""

    path: str
    block: int


@dataclass(frozen=True, kw_only=True)
class PageHashes(Report):
    """Keyed hashes of all pages of a backup, which the next one compares with."""

    key: str = dataclasses.field(repr=False)
    object: StoredObject


@dataclass(frozen=True, kw_only=True)
class ClusterDatabase(Report):
    """A database of a cluster, and the object identifier that names its folders."""

    oid: int
    name: str


@dataclass(frozen=True, kw_only=True)
class PhysicalContents(Report):
    """What a physical backup contains. Positions in the log are texts, as PostgreSQL's pg_lsn."""

    backup_label: str
    tablespace_map: str | None = None
    start_lsn: str
    """Where replay begins."""
    stop_lsn: str
    """Where the cluster is consistent."""
    timeline: int
    wal_segment_bytes: int
    wal_hash: str | None = None
    """The hash of the log from where replay begins to where the cluster is consistent. None in backups of old."""
    server_started: datetime | None = None
    """When the server was started that it was taken from, by the server's clock. None in backups of old."""
    from_standby: bool
    data_directory: str
    """Where the data directory was."""
    data_checksums: bool
    tablespaces: tuple[Tablespace, ...]
    superuser: str
    databases: tuple[str, ...]
    database_oids: tuple[ClusterDatabase, ...] = ()
    """All databases, templates too; none in backups of old."""
    damaged_pages: tuple[DamagedPage, ...] = ()
    files: int
    bytes: int
    map: StoredObject
    packs: tuple[StoredObject, ...]
    live_bytes: tuple[int, ...] = ()
    """Of each pack, the bytes that this backup still needs."""
    pages: PageHashes | None = None
    base: str | None = None
    """The backup that unchanged pages were taken over from."""


@dataclass(frozen=True, kw_only=True)
class Manifest(Report):
    """Everything that a restore needs to know of a backup."""

    format: int
    id: str
    kind: str
    created: datetime
    tool_version: str
    contents: BackupContents
    streams: tuple[StoredStream, ...]
    physical: PhysicalContents | None = None
    origin: ImportOrigin | None = None


@dataclass(frozen=True, kw_only=True)
class BackupDetails(Report):
    """A backup and its manifest."""

    backup: Backup
    manifest: Manifest


@dataclass(frozen=True, kw_only=True)
class VerifyReport(Report):
    """What a verification of a repository found."""

    verdicts: tuple[Verdict, ...]
    problems: tuple[CatalogueProblem, ...]
    passed: bool
    """Whether nothing at all was wrong."""


@dataclass(frozen=True, kw_only=True)
class RestoreReport(Report):
    """A restore that has been done."""

    backup: str | None
    databases: tuple[str, ...]
    """Under the names that they have now."""
    bytes: int
    warnings: tuple[str, ...]
    seconds: float
    rpo_seconds: float | None
    """Between the backup's beginning and this restore's: what is lost by it, at most."""


@dataclass(frozen=True, kw_only=True)
class ClusterBackupReport(BackupReport):
    """A physical backup that has been taken. It is complete only if no page of the cluster itself is damaged, too."""

    files: int
    start_lsn: str
    """Where replay begins."""
    stop_lsn: str
    """Where the cluster is consistent: from here on every moment can be restored to."""
    timeline: int
    base: str | None
    """The earlier backup that unchanged pages were taken over from."""
    changes: Literal["summaries", "wal", "comparison", "both"] | None
    """What told which pages have changed since then."""
    read_bytes: int
    wal_read_bytes: int
    """Bytes of WAL that were read to find what has changed."""
    added_bytes: int
    """What this backup added to the repository, beside its catalogue entry."""
    damaged_pages: tuple[DamagedPage, ...]
    unannounced_pages: tuple[DamagedPage, ...]
    """Pages that had changed though the WAL does not name them, where that was compared. They are in the backup."""
    resumed_bytes: int = 0
    """Bytes of files that runs which broke off had stored, and that were taken over from there."""


@dataclass(frozen=True, kw_only=True)
class RecoveryTarget(Report):
    """Where replay stops; the field that `type` names has the value, if there is one."""

    type: Literal["latest", "immediate", "time", "lsn", "xid", "name"]
    time: datetime | None = None
    lsn: str | None = None
    xid: int | None = None
    name: str | None = None


@dataclass(frozen=True, kw_only=True)
class ArchiveEnd(Report):
    """The newest segment that the archive has of the timelines that were followed."""

    segment: str
    end_lsn: str
    """Where it ends. A segment that was switched early is empty before that."""
    archived_at: datetime
    """By the clock of the storage place."""


@dataclass(frozen=True, kw_only=True)
class ClusterStartReport(Report):
    """A server that has reached the end of its recovery, and runs on in a session of its own."""

    state: Literal["promoted", "paused", "shut-down"]
    pid: int | None
    host: str | None
    """The folder of its socket, or its address."""
    port: int | None
    log: str
    """Where it writes until its configuration says otherwise."""
    timeline: int | None
    start_seconds: float
    """Until its process was up."""
    replay_seconds: float
    """From then on until it had reached its target, and was ready."""
    rto_seconds: float
    """All of it, with the restore of the files."""
    replayed_lsn: str | None
    replayed_at: datetime | None
    """When the last transaction that was replayed had ended, by the clock of the old server."""
    behind_target_seconds: float | None
    """From then on until the target time, where there is one: nothing was committed in between."""
    archive: ArchiveEnd | None
    behind_archive_bytes: int | None
    """What the archive has beyond. Less than a segment may be the empty rest of the last one."""
    behind_archive_seconds: float | None
    """From the last transaction until the newest segment was archived."""
    stop_command: str | None
    """The shell's command that stops the server."""
    warnings: tuple[str, ...]
    """What could not be found out, and why."""


@dataclass(frozen=True, kw_only=True)
class ClusterRestoreReport(Report):
    """A cluster whose files have been restored: PostgreSQL of `server_version` must start it."""

    backup: str
    data_directory: str
    server_version: str
    files: int
    bytes: int
    written_bytes: int
    """What was not there already."""
    removed: int
    """Files and folders that the backup does not have."""
    start_lsn: str
    """Where replay begins."""
    stop_lsn: str
    """Where the cluster is consistent: no target can lie before it."""
    target: RecoveryTarget
    seconds: float
    """For the files alone."""
    started: ClusterStartReport | None
    """The server, with `start`."""
    empty_databases: tuple[str, ...] = ()
    """Of these nothing but the size of their files was restored, with `databases`: they are to be dropped."""


@dataclass(frozen=True, kw_only=True)
class ClusterDifference(Report):
    """What a restore over a folder would write, and remove from it."""

    files: int
    bytes: int
    removed: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class WalPushReport(Report):
    """A file of the write-ahead log that is archived."""

    system_identifier: int
    name: str
    outcome: Literal["archived", "identical", "pushed-ahead"]
    bytes: int
    stored_bytes: int
    missed: tuple[MissedWrite, ...]
    is_complete: bool
    """Whether it is durable at every place: only then may PostgreSQL recycle it."""
    ahead: tuple[str, ...]
    """Files that were archived along with it."""
    ahead_error: str | None
    """Why none were."""


@dataclass(frozen=True, kw_only=True)
class WalFetchReport(Report):
    """A file of the write-ahead log that was asked for."""

    system_identifier: int
    name: str
    found: bool
    """Whether it is in the archive. If not, this is the end of what can be replayed, and nothing was written."""
    partial: bool
    """Whether it is a segment of which only the beginning was received, filled up with zeros: the end of the log."""
    bytes: int
    """Bytes of it that are of the log."""


@dataclass(frozen=True, kw_only=True)
class WalStreamReport(Report):
    """What came of streaming the write-ahead log."""

    system_identifier: int | None
    timeline: int | None
    durable: str | None
    """The position up to which the log is durable."""
    archived: str | None
    """The position up to which it is durable in the repository."""
    segments: int
    """Segments archived whole."""
    connections: int
    repository_problem: str | None
    """What keeps the rest out of the repository, if something does."""
    is_complete: bool
    """Whether all that was received is in the repository."""


@dataclass(frozen=True, kw_only=True)
class WalSegments(Report):
    """Segments that follow one another, by their names."""

    first: str
    last: str
    segments: int


@dataclass(frozen=True, kw_only=True)
class WalTimeline(Report):
    """What is archived of a timeline."""

    timeline: int
    parent: int | None
    began: str | None
    """The position at which it left its parent."""
    ranges: tuple[WalSegments, ...]
    gaps: tuple[WalSegments, ...]
    """What is missing between, before or behind them."""
    newest: str | None
    newest_archived: datetime | None
    tail_end: str | None
    """The position up to which the segment behind the newest is stored, of which a stream has archived the beginning."""
    segments: int
    stored_bytes: int
    other_files: tuple[str, ...]
    """Histories, partial segments, notes on base backups."""


@dataclass(frozen=True, kw_only=True)
class WalCluster(Report):
    """What is archived of a cluster."""

    system_identifier: int
    segment_bytes: int | None
    timelines: tuple[WalTimeline, ...]


@dataclass(frozen=True, kw_only=True)
class ArchivingStatus(Report):
    """What a server says of its archiving. None is what its role may not read."""

    system_identifier: int | None
    in_recovery: bool
    timeline: int | None
    position: str | None
    segment_bytes: int
    wal_level: str
    archive_mode: str
    archive_command: str | None
    archive_library: str | None
    archived_count: int
    last_archived_wal: str | None
    last_archived_at: datetime | None
    failed_count: int
    last_failed_wal: str | None
    last_failed_at: datetime | None
    waiting: int | None
    """Files that wait to be archived."""
    streams: int
    """Streams of ours that receive the log."""


@dataclass(frozen=True, kw_only=True)
class WalCheckReport(Report):
    """What a check of the archive found."""

    clusters: tuple[WalCluster, ...]
    server: ArchivingStatus | None
    lag_bytes: int | None
    """What the server has written that is not archived."""
    newest_commit: datetime | None
    """When the newest transaction was committed that is archived."""
    at_risk_seconds: float | None
    """Seconds since then, where a server was asked: transactions of this time, at most, would be lost with it."""
    verified: int
    """Files whose MACs were checked."""
    findings: tuple[str, ...]
    """What is wrong, in words."""
    is_healthy: bool


@dataclass(frozen=True, kw_only=True)
class IntegrityFinding(Report):
    """Something that is wrong with the data of a server."""

    kind: str
    """damaged-table, damaged-index, unreadable, checksum-failures, invalid-index, not-validated, disabled-foreign-key, orphans,
    missing-values, broken-check, sequence-behind or failed-check."""
    database: str | None
    schema: str | None
    relation: str | None
    """The table, index or sequence."""
    constraint: str | None
    """The constraint, the column that must have a value, or the name of a check."""
    count: int | None
    """How many rows, where rows are what is wrong."""
    samples: tuple[str, ...]
    """Up to five of them, by their keys; or what was said."""
    message: str
    """What it means, and what to do."""


@dataclass(frozen=True, kw_only=True)
class NotChecked(Report):
    """Something that was not looked at, and why."""

    database: str
    schema: str | None
    relation: str | None
    what: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class IntegrityCounts(Report):
    """How much was looked at."""

    tables: int
    """By amcheck, as `indexes`."""
    indexes: int
    foreign_keys: int
    check_constraints: int
    not_null_columns: int
    sequences: int


@dataclass(frozen=True, kw_only=True)
class IntegrityReport(Report):
    """What a look at a server found."""

    server: str
    server_version: str
    system_identifier: int | None
    in_recovery: bool
    data_checksums: bool
    databases: tuple[str, ...]
    checked: IntegrityCounts
    findings: tuple[IntegrityFinding, ...]
    not_checked: tuple[NotChecked, ...]
    seconds: float
    passed: bool
    """Whether nothing was found. What was not looked at may still be wrong."""


@dataclass(frozen=True, kw_only=True)
class BisectPoint(Report):
    """A restore point."""

    backup: str
    finished: datetime


@dataclass(frozen=True, kw_only=True)
class LoggedCommit(Report):
    """A commit in the log."""

    transaction: int
    lsn: str
    """Where its commit record begins."""
    at: datetime | None
    timeline: int


@dataclass(frozen=True, kw_only=True)
class BisectProbe(Report):
    """One question to a copy."""

    backup: str
    lsn: str | None
    """The commit that was replayed last; None for the backup alone."""
    transaction: int | None
    at: datetime | None
    verdict: Literal["good", "bad"]
    detail: str
    seconds: float


@dataclass(frozen=True, kw_only=True)
class BisectRestore(Report):
    """How the last good state is brought back."""

    backup: str
    target: RecoveryTarget
    inclusive: bool
    timeline: str
    """latest, current, or a number."""
    settings: tuple[str, ...]
    """Parameters of the server while it recovers, as name=value."""


@dataclass(frozen=True, kw_only=True)
class BisectReport(Report):
    """Since when data is wrong."""

    outcome: Literal["transaction", "between", "not-in-log", "never-good", "never-bad"]
    message: str
    good: BisectPoint | None
    bad: BisectPoint | None
    last_good: LoggedCommit | None
    transaction: LoggedCommit | None
    """The one that broke it."""
    commits: int | None
    restore: BisectRestore | None
    probes: tuple[BisectProbe, ...]
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Decision(Report):
    """What becomes of one backup, and why."""

    id: str
    keep: bool
    reasons: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class RetentionPlan(Report):
    """What becomes of every backup, oldest first."""

    decisions: tuple[Decision, ...]
    kept: tuple[str, ...]
    expired: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class RunbookObjectives(Report):
    """What a recovery is to reach: lengths of time such as `5m`."""

    rto: str | None = None
    rpo: str | None = None


@dataclass(frozen=True, kw_only=True)
class PlannedStep(Report):
    """What a step of a runbook would do."""

    id: str
    title: str
    action: str
    doing: str
    when: tuple[str, ...]
    """All of these must hold, or it would be skipped."""
    undo: str | None
    reversible: bool
    asks: bool
    timeout: str | None
    retries: int
    on_failure: Literal["stop", "continue"]
    counts: Literal["rto", "rpo"] | None


@dataclass(frozen=True, kw_only=True)
class RunbookPlan(Report):
    """What a run of a runbook would do."""

    runbook: str
    title: str
    objectives: RunbookObjectives
    missing: tuple[str, ...]
    """Variables that need a value, and have none yet."""
    steps: tuple[PlannedStep, ...]


@dataclass(frozen=True, kw_only=True)
class RunStanding(Report):
    """How a run stands."""

    run: str
    ending: Literal["completed", "stopped", "undone", "undo-stopped"]
    step: str | None
    """The step that it stands at."""
    failed: tuple[str, ...]
    """Steps that failed, and behind which the run went on."""
    is_complete: bool
    """Whether all that was to be done, or taken back, is."""


@dataclass(frozen=True, kw_only=True)
class PrunedBackup(Report):
    """A backup that was removed, or would be."""

    id: str
    bytes: int


@dataclass(frozen=True, kw_only=True)
class PrunedWal(Report):
    """What is removed of a cluster's archive: what lies before the oldest backup of the cluster that is kept."""

    system_identifier: int
    before: str
    files: int
    bytes: int


@dataclass(frozen=True, kw_only=True)
class WalPruneReport(Report):
    """What a prune of the archive did, or would do."""

    dry_run: bool
    clusters: tuple[PrunedWal, ...]
    missed: tuple[MissedWrite, ...]
    is_complete: bool
    """Whether every place could be reached with every removal."""


@dataclass(frozen=True, kw_only=True)
class PruneReport(Report):
    """What a prune did, or would do."""

    dry_run: bool
    policy: str
    decisions: tuple[Decision, ...]
    removed: tuple[PrunedBackup, ...]
    wal: tuple[PrunedWal, ...]
    leftover_runs: tuple[str, ...]
    leftover_bytes: int
    unfinished_writes: int
    missed: tuple[MissedWrite, ...]


@dataclass(frozen=True, kw_only=True)
class RepairAction(Report):
    """An object to copy, from one place to another, by their numbers: 0 is the primary."""

    key: str
    size: int
    hash: str | None
    # `from` is a word of Python's.
    source: int = dataclasses.field(metadata={"json": "from"})
    target: int = dataclasses.field(metadata={"json": "to"})
    replaces: bool


@dataclass(frozen=True, kw_only=True)
class RepairFailure(Report):
    """What something failed on; without a key, a whole place."""

    location: str
    key: str | None
    error: str


@dataclass(frozen=True, kw_only=True)
class RepairPlan(Report):
    """What a repair would do."""

    objects: int
    actions: tuple[RepairAction, ...]
    unresolved: tuple[str, ...]
    strays: tuple[str, ...]
    failures: tuple[RepairFailure, ...]


@dataclass(frozen=True, kw_only=True)
class RepairResult(Report):
    """What a repair did."""

    copied: int
    bytes: int
    removed: int
    """Objects that a delete had missed, of backups that prune removed."""
    failures: tuple[RepairFailure, ...]


@dataclass(frozen=True, kw_only=True)
class RepairReport(Report):
    """What a repair found and did; `report` is None in a dry run."""

    plan: RepairPlan
    report: RepairResult | None
    is_healthy: bool
    """Whether all places hold all that they should, now."""


@dataclass(frozen=True, kw_only=True)
class BackupStatus(Report):
    """One backup in a Status."""

    id: str
    created: datetime
    proven: VerifyLevel | None


@dataclass(frozen=True, kw_only=True)
class Status(Report):
    """The state of a repository in facts."""

    repository: str
    location: str
    backups: int
    stored_bytes: int
    latest: BackupStatus | None
    latest_proven: BackupStatus | None
    rpo_seconds: float | None
    """Since the newest proven backup began: what would be lost by restoring it."""
    rto_seconds: float | None
    """What the newest restore test took until the database answered."""
    restore_tested: datetime | None
    failed: tuple[str, ...]
    in_the_future: tuple[str, ...]
    """Backups that begin in the future: a clock was wrong when they were taken, or is now."""
    problems: tuple[CatalogueProblem, ...]
    is_healthy: bool


@dataclass(frozen=True, kw_only=True)
class ThawReport(Report):
    """Where the thaw of a backup stands, in objects."""

    id: str
    readable: int
    ongoing: int
    is_readable: bool


@dataclass(frozen=True, kw_only=True)
class Slot(Report):
    """One way to open an epoch: `age` for passphrases and recipients, `ext` for a command."""

    name: str
    form: str
    kind: Literal["passphrase", "recipient", "command"] | None = None
    """What opens it. None for a file that is not what it should be."""


@dataclass(frozen=True, kw_only=True)
class Epoch(Report):
    """A key epoch. Its role is root, successor or run; None while it cannot be trusted for want of its key."""

    id: str
    role: str | None
    previous: str | None
    active: bool
    unlocked: bool
    slots: tuple[Slot, ...]


@dataclass(frozen=True, kw_only=True)
class FileReport(Report):
    """What went through `encrypt`, `decrypt` and their like."""

    plaintext_bytes: int
    stored_bytes: int


@dataclass(frozen=True, kw_only=True)
class Figure(Report):
    """A number that tells something of a business: its query returns one row with one number."""

    name: str
    database: str
    query: str
    max_change: float | None = None
    """The most that it may change from one backup to today, as a share: 0.2 is a fifth."""


@dataclass(frozen=True, kw_only=True)
class SqlCheck(Report):
    """A question to a restored database: it passes when its query returns one row whose first column is true."""

    name: str
    database: str
    query: str


def decode(name: str, text: str) -> Any:
    """Makes an object of the class `name`, or a list of them, of the native module's JSON."""
    cls, value = globals()[name], json.loads(text)
    return [_decode(cls, item) for item in value] if isinstance(value, list) else _decode(cls, value)


# For each class, by the names of JSON: the names of its fields and their types.
_known: dict[Any, dict[str, tuple[str, Any]]] = {}


def _fields(cls: Any) -> dict[str, tuple[str, Any]]:
    if cls not in _known:
        hints = typing.get_type_hints(cls, globals())
        fields = dataclasses.fields(cls)
        _known[cls] = {field.metadata.get("json", field.name): (field.name, hints[field.name]) for field in fields}
    return _known[cls]


def _decode(cls: Any, value: dict[str, Any]) -> Any:
    fields = _fields(cls)
    # A field that the class does not have is a KeyError: the two halves of the package belong together.
    return cls(**{fields[key][0]: _convert(fields[key][1], item) for key, item in value.items()})


def _convert(hint: Any, value: Any) -> Any:
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        if value is None:
            return None
        (hint,) = (option for option in typing.get_args(hint) if option is not type(None))
    if typing.get_origin(hint) is tuple:
        return tuple(_convert(typing.get_args(hint)[0], item) for item in value)
    if hint is datetime:
        return _time(value)
    return _decode(hint, value) if dataclasses.is_dataclass(hint) else value


def _time(text: str) -> datetime:
    # Nanoseconds are more than a datetime holds, and more than Python 3.10 parses.
    head, _, rest = text.removesuffix("Z").partition(".")
    return datetime.fromisoformat(f"{head}.{rest[:6]:0<6}").replace(tzinfo=timezone.utc)


def _plain(value: Any) -> Any:
    if isinstance(value, Report):
        return value.to_dict()
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, datetime):
        return value.astimezone(timezone.utc).isoformat().replace("+00:00", "Z")
    return value
