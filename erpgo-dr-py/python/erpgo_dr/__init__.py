"""Disaster recovery for PostgreSQL: encrypted backups that prove they restore.

    >>> import erpgo_dr
    >>> repository = erpgo_dr.Repository.init("/var/backups/erp", passphrase="...")
    >>> report = repository.backup("postgresql://backup@db.example/erp", password="...")

Every call here waits; `erpgo_dr.aio` has the same names for asyncio. While a call waits, other threads go on, callbacks
and files are called by the thread that waits, and Ctrl-C stops the work and cleans up behind it. Nothing is read from
the environment. A process that was forked cannot go on with what its parent had begun: fork first.
"""

from ._bind import FUNCTIONS as _FUNCTIONS
from ._bind import fill as _fill
from ._bind import function as _function
from ._bind import run as _run
from ._erpgo_dr import (
    Connection,
    FileKey,
    GeneratedIdentity,
    Patroni,
    RetentionPolicy,
    __version__,
    check_runbook,
    generate_identity,
    plan_runbook,
    runbooks,
)
from ._errors import (
    AlreadyExistsError,
    ArchivedError,
    BusyError,
    DatabaseError,
    ErpgoDrError,
    InputOutputError,
    IntegrityError,
    InvalidError,
    LockedError,
    NoSpaceError,
    NotFoundError,
    PermissionDeniedError,
    RefusedError,
    UnavailableError,
)
from ._reports import (
    ArchiveEnd,
    ArchivingStatus,
    Backup,
    BackupContents,
    BackupDetails,
    BackupReport,
    BackupStatus,
    BisectPoint,
    BisectProbe,
    BisectReport,
    BisectRestore,
    CatalogueProblem,
    ClusterBackupReport,
    ClusterDatabase,
    ClusterDifference,
    ClusterRestoreReport,
    ClusterStartReport,
    DamagedPage,
    DatabaseContents,
    DatabaseGrant,
    DatabaseProperties,
    DatabaseSetting,
    Decision,
    Epoch,
    Extension,
    Figure,
    FigureValue,
    FileReport,
    Hold,
    ImportOrigin,
    IntegrityCounts,
    IntegrityFinding,
    IntegrityReport,
    LoggedCommit,
    Manifest,
    MissedWrite,
    NotChecked,
    PageHashes,
    PhysicalContents,
    PlannedStep,
    PruneReport,
    PrunedBackup,
    PrunedWal,
    RecoveryTarget,
    RepairAction,
    RepairFailure,
    RepairPlan,
    RepairReport,
    RepairResult,
    Report,
    RestoreReport,
    RetentionCandidate,
    RetentionPlan,
    RunStanding,
    RunbookObjectives,
    RunbookPlan,
    ServerInfo,
    Slot,
    SqlCheck,
    Status,
    StoredObject,
    StoredStream,
    StreamInfo,
    StreamKind,
    TableContents,
    Tablespace,
    ThawReport,
    Verdict,
    VerifyReport,
    WalCheckReport,
    WalCluster,
    WalFetchReport,
    WalPruneReport,
    WalPushReport,
    WalSegments,
    WalStreamReport,
    WalTimeline,
)


class Repository:
    """A repository of backups. Made by `init` or `open`, never by itself."""

    __slots__ = ("_native",)

    def __init__(self) -> None:
        raise TypeError("use Repository.init or Repository.open")

    @classmethod
    def _of(cls, native):
        repository = object.__new__(cls)
        repository._native = native
        return repository

    @property
    def id(self):
        """The repository's own identifier."""
        return self._native.id

    @property
    def location(self):
        """Where the repository lies, for people."""
        return self._native.location

    def __repr__(self):
        return f"<erpgo_dr.Repository {self.location}>"


_fill(Repository, __name__, _run)
for _name in _FUNCTIONS:
    globals()[_name] = _function(_name, __name__, _run)

__all__ = (
    "AlreadyExistsError",
    "ArchiveEnd",
    "ArchivedError",
    "ArchivingStatus",
    "Backup",
    "BackupContents",
    "BackupDetails",
    "BackupReport",
    "BackupStatus",
    "BisectPoint",
    "BisectProbe",
    "BisectReport",
    "BisectRestore",
    "BusyError",
    "CatalogueProblem",
    "ClusterBackupReport",
    "ClusterDatabase",
    "ClusterDifference",
    "ClusterRestoreReport",
    "ClusterStartReport",
    "Connection",
    "DamagedPage",
    "DatabaseContents",
    "DatabaseError",
    "DatabaseGrant",
    "DatabaseProperties",
    "DatabaseSetting",
    "Decision",
    "Epoch",
    "ErpgoDrError",
    "Extension",
    "FileKey",
    "Figure",
    "FigureValue",
    "FileReport",
    "GeneratedIdentity",
    "Hold",
    "ImportOrigin",
    "InputOutputError",
    "IntegrityCounts",
    "IntegrityError",
    "IntegrityFinding",
    "IntegrityReport",
    "InvalidError",
    "LockedError",
    "LoggedCommit",
    "Manifest",
    "MissedWrite",
    "NoSpaceError",
    "NotChecked",
    "NotFoundError",
    "PageHashes",
    "Patroni",
    "PermissionDeniedError",
    "PhysicalContents",
    "PlannedStep",
    "PruneReport",
    "PrunedBackup",
    "PrunedWal",
    "RecoveryTarget",
    "RefusedError",
    "RepairAction",
    "RepairFailure",
    "RepairPlan",
    "RepairReport",
    "RepairResult",
    "Report",
    "Repository",
    "RestoreReport",
    "RetentionCandidate",
    "RetentionPlan",
    "RetentionPolicy",
    "RunStanding",
    "RunbookObjectives",
    "RunbookPlan",
    "ServerInfo",
    "Slot",
    "SqlCheck",
    "Status",
    "StoredObject",
    "StoredStream",
    "StreamInfo",
    "StreamKind",
    "TableContents",
    "Tablespace",
    "ThawReport",
    "UnavailableError",
    "Verdict",
    "VerifyReport",
    "WalCheckReport",
    "WalCluster",
    "WalFetchReport",
    "WalPruneReport",
    "WalPushReport",
    "WalSegments",
    "WalStreamReport",
    "WalTimeline",
    "__version__",
    "check_integrity",
    "check_runbook",
    "decrypt",
    "encrypt",
    "generate_identity",
    "ha_cluster",
    "ha_failover",
    "ha_pause",
    "ha_reinitialize",
    "ha_switchover",
    "openssl_decrypt_unauthenticated",
    "openssl_encrypt_unauthenticated",
    "plan_runbook",
    "runbooks",
    "unwrap_key",
    "verify_exported_evidence",
    "wrap_key",
)

# Where users find them, in tracebacks and in pickles.
for _name in __all__:
    if isinstance(globals()[_name], type):
        globals()[_name].__module__ = __name__
del _name
