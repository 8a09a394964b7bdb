# The types of what the native module does. mypy's stubtest compares every signature with the one at run time.
import builtins
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, Literal, Protocol, TypeAlias, TypedDict, final, type_check_only

from typing_extensions import Buffer, Self

from . import aio
from ._errors import AlreadyExistsError as AlreadyExistsError
from ._errors import ArchivedError as ArchivedError
from ._errors import BusyError as BusyError
from ._errors import DatabaseError as DatabaseError
from ._errors import ErpgoDrError as ErpgoDrError
from ._errors import InputOutputError as InputOutputError
from ._errors import IntegrityError as IntegrityError
from ._errors import InvalidError as InvalidError
from ._errors import LockedError as LockedError
from ._errors import NoSpaceError as NoSpaceError
from ._errors import NotFoundError as NotFoundError
from ._errors import PermissionDeniedError as PermissionDeniedError
from ._errors import RefusedError as RefusedError
from ._errors import UnavailableError as UnavailableError
from ._reports import RunbookPlan as RunbookPlan
from ._reports import RunbookObjectives as RunbookObjectives
from ._reports import RunStanding as RunStanding
from ._reports import PlannedStep as PlannedStep
from ._reports import Scope as _Scope
from ._reports import ArchiveEnd as ArchiveEnd
from ._reports import ArchivingStatus as ArchivingStatus
from ._reports import Backup as Backup
from ._reports import BackupContents as BackupContents
from ._reports import BackupDetails as BackupDetails
from ._reports import BackupReport as BackupReport
from ._reports import BackupStatus as BackupStatus
from ._reports import BisectPoint as BisectPoint
from ._reports import BisectProbe as BisectProbe
from ._reports import BisectReport as BisectReport
from ._reports import BisectRestore as BisectRestore
from ._reports import CatalogueProblem as CatalogueProblem
from ._reports import ClusterBackupReport as ClusterBackupReport
from ._reports import ClusterDatabase as ClusterDatabase
from ._reports import ClusterDifference as ClusterDifference
from ._reports import ClusterRestoreReport as ClusterRestoreReport
from ._reports import ClusterStartReport as ClusterStartReport
from ._reports import DamagedPage as DamagedPage
from ._reports import DatabaseContents as DatabaseContents
from ._reports import DatabaseGrant as DatabaseGrant
from ._reports import DatabaseProperties as DatabaseProperties
from ._reports import DatabaseSetting as DatabaseSetting
from ._reports import Decision as Decision
from ._reports import Epoch as Epoch
from ._reports import Extension as Extension
from ._reports import Figure as Figure
from ._reports import FigureValue as FigureValue
from ._reports import FileReport as FileReport
from ._reports import Hold as Hold
from ._reports import ImportOrigin as ImportOrigin
from ._reports import IntegrityCounts as IntegrityCounts
from ._reports import IntegrityFinding as IntegrityFinding
from ._reports import IntegrityReport as IntegrityReport
from ._reports import LoggedCommit as LoggedCommit
from ._reports import NotChecked as NotChecked
from ._reports import Manifest as Manifest
from ._reports import MissedWrite as MissedWrite
from ._reports import PageHashes as PageHashes
from ._reports import PhysicalContents as PhysicalContents
from ._reports import PruneReport as PruneReport
from ._reports import PrunedBackup as PrunedBackup
from ._reports import PrunedWal as PrunedWal
from ._reports import RecoveryTarget as RecoveryTarget
from ._reports import RepairAction as RepairAction
from ._reports import RepairFailure as RepairFailure
from ._reports import RepairPlan as RepairPlan
from ._reports import RepairReport as RepairReport
from ._reports import RepairResult as RepairResult
from ._reports import Report as Report
from ._reports import RestoreReport as RestoreReport
from ._reports import RetentionCandidate as RetentionCandidate
from ._reports import RetentionPlan as RetentionPlan
from ._reports import ServerInfo as ServerInfo
from ._reports import Slot as Slot
from ._reports import SqlCheck as SqlCheck
from ._reports import Status as Status
from ._reports import StoredObject as StoredObject
from ._reports import StoredStream as StoredStream
from ._reports import StreamInfo as StreamInfo
from ._reports import StreamKind as StreamKind
from ._reports import TableContents as TableContents
from ._reports import Tablespace as Tablespace
from ._reports import ThawReport as ThawReport
from ._reports import Verdict as Verdict
from ._reports import VerifyReport as VerifyReport
from ._reports import WalCheckReport as WalCheckReport
from ._reports import WalCluster as WalCluster
from ._reports import WalFetchReport as WalFetchReport
from ._reports import WalPruneReport as WalPruneReport
from ._reports import WalPushReport as WalPushReport
from ._reports import WalSegments as WalSegments
from ._reports import WalStreamReport as WalStreamReport
from ._reports import WalTimeline as WalTimeline

__version__: Final[str]

_StrPath: TypeAlias = str | os.PathLike[str]
_Span: TypeAlias = timedelta | float
_Progress: TypeAlias = Callable[[str, int, int | None], object]
_Operator: TypeAlias = Callable[[dict[str, Any]], str | tuple[str, str]]
_OpensslKdf: TypeAlias = Literal["pbkdf2", "sha256", "md5"]

@type_check_only
class _Readable(Protocol):
    def read(self, size: int, /) -> Buffer: ...

@type_check_only
class _Writable(Protocol):
    def write(self, data: bytes, /) -> int | None: ...

@type_check_only
class _StorageOptions(TypedDict, total=False):
    # For s3://, gs:// and az://.
    connect_timeout: _Span
    request_timeout: _Span
    read_timeout: _Span
    retry_timeout: _Span
    max_retries: int
    part_size: int
    parts_in_flight: int
    equal_parts: bool
    ca_certificates: bytes
    proxy: str
    endpoint: str
    # Which identity of the host is taken where no key is given.
    credentials: Literal[
        "anonymous",
        "command",
        "container-role",
        "instance-metadata",
        "managed-identity",
        "pod-identity",
        "web-identity",
        "workload-identity",
    ]
    token_file: str
    # For s3://.
    region: str
    virtual_hosted: bool
    kms_key: str
    checksum: Literal["sha256", "crc64nvme"]
    access_key: str  # For az:// too.
    secret_key: str
    session_token: str
    relative_uri: str
    full_uri: str
    role_arn: str
    command: Sequence[str]
    # For gs://.
    service_account_file: _StrPath
    service_account_key: str
    application_default: _StrPath
    bearer_token: str  # For az:// too.
    # For az://.
    account: str
    sas_token: str
    tenant_id: str
    client_id: str
    client_secret: str

@type_check_only
class _Candidate(Protocol):
    @property
    def id(self) -> str: ...
    @property
    def created(self) -> datetime: ...
    @property
    def verified(self) -> datetime | None: ...
    @property
    def held(self) -> bool: ...
    @property
    def needs(self) -> Sequence[str]: ...
    @property
    def group(self) -> str: ...

@final
class Patroni:
    def __new__(
        cls,
        urls: Sequence[str],
        *,
        user: str | None = None,
        password: str | None = None,
        ca_file: _StrPath | None = None,
        client_cert: _StrPath | None = None,
        client_key: _StrPath | None = None,
    ) -> Self: ...

@final
class Connection:
    def __new__(
        cls,
        host: str = "localhost",
        *,
        port: int = 5432,
        user: str | None = None,
        password: str | None = None,
        passfile: _StrPath | None = None,
        database: str = "postgres",
        ssl_mode: Literal["disable", "prefer", "require", "verify-ca", "verify-full"] | None = None,
        ssl_root_cert: _StrPath | None = None,
        connect_timeout: _Span | None = None,
        application_name: str | None = None,
        options: str | None = None,
    ) -> Self: ...
    @staticmethod
    def parse(conninfo: str, *, password: str | None = None) -> Connection: ...
    @property
    def host(self) -> str: ...
    @property
    def port(self) -> int: ...
    @property
    def user(self) -> str | None: ...
    @property
    def database(self) -> str: ...

@final
class FileKey:
    @staticmethod
    def generate() -> FileKey: ...
    @property
    def id(self) -> str: ...

@final
class GeneratedIdentity:
    @property
    def secret(self) -> str: ...
    @property
    def recipient(self) -> str: ...

def generate_identity() -> GeneratedIdentity: ...
def runbooks() -> dict[str, str]: ...
def check_runbook(runbook: str) -> list[str]: ...
def plan_runbook(runbook: str, *, values: Mapping[str, str] | None = None) -> RunbookPlan: ...

@final
class RetentionPolicy:
    @staticmethod
    def gfs(*, daily: int = 7, weekly: int = 4, monthly: int = 12, yearly: int = 0) -> RetentionPolicy: ...
    @staticmethod
    def keep_last(count: int) -> RetentionPolicy: ...
    @staticmethod
    def keep_within(age: _Span) -> RetentionPolicy: ...
    @staticmethod
    def keep_all() -> RetentionPolicy: ...
    def plan(self, now: datetime, backups: Iterable[_Candidate], *, guarded: bool = True) -> RetentionPlan: ...
    def __or__(self, value: RetentionPolicy, /) -> RetentionPolicy: ...
    def __ror__(self, value: RetentionPolicy, /) -> RetentionPolicy: ...
    def __and__(self, value: RetentionPolicy, /) -> RetentionPolicy: ...
    def __rand__(self, value: RetentionPolicy, /) -> RetentionPolicy: ...

@final
class Repository:
    def __init__(self) -> None: ...
    @property
    def id(self) -> str: ...
    @property
    def location(self) -> str: ...
    @classmethod
    def init(
        cls,
        address: str,
        *,
        passphrase: str | None = None,
        recipients: Sequence[str] | None = None,
        command: Sequence[str] | None = None,
        work_factor: int | None = None,
        codec: str = "zstd:3",
        part_bytes: int | None = None,
        storage_options: _StorageOptions | None = None,
        replicas: Sequence[str | tuple[str, _StorageOptions]] | None = None,
        write_policy: Literal["primary", "all"] = "primary",
        programs: Sequence[_StrPath] | None = None,
        library_path: _StrPath | None = None,
        threads: int = 0,
    ) -> Self: ...
    @classmethod
    def open(
        cls,
        address: str,
        *,
        passphrase: str | None = None,
        identity: str | bytes | None = None,
        identity_passphrase: str | None = None,
        command: Sequence[str] | None = None,
        storage_options: _StorageOptions | None = None,
        replicas: Sequence[str | tuple[str, _StorageOptions]] | None = None,
        write_policy: Literal["primary", "all"] = "primary",
        programs: Sequence[_StrPath] | None = None,
        library_path: _StrPath | None = None,
        threads: int = 0,
        spool: _StrPath | None = None,
    ) -> Self: ...
    def unlock(
        self,
        *,
        passphrase: str | None = None,
        identity: str | bytes | None = None,
        identity_passphrase: str | None = None,
        command: Sequence[str] | None = None,
    ) -> None: ...
    def backup(
        self,
        connection: str | Connection,
        *,
        password: str | None = None,
        databases: Sequence[str] | None = None,
        all_databases: bool = False,
        scope: _Scope = "full",
        globals: bool = True,
        include_tables: Sequence[str] | None = None,
        exclude_tables: Sequence[str] | None = None,
        exclude_table_data: Sequence[str] | None = None,
        include_schemas: Sequence[str] | None = None,
        exclude_schemas: Sequence[str] | None = None,
        lock_timeout: _Span | None = None,
        deferrable: bool = False,
        jobs: int | None = None,
        figures: Sequence[Figure] | None = None,
        label: str | None = None,
        codec: str | None = None,
        storage_class: str | None = None,
        verify: Literal["scrub", "mac", "contents"] | None = "mac",
        progress: _Progress | None = None,
    ) -> BackupReport: ...
    def list(self) -> builtins.list[Backup]: ...
    def show(self, backup: str | datetime) -> BackupDetails: ...
    def verify(
        self,
        backups: Sequence[str | datetime] | None = None,
        *,
        level: Literal["scrub", "mac", "contents"] = "mac",
        record: bool = True,
        progress: _Progress | None = None,
    ) -> VerifyReport: ...
    def restore_test(
        self,
        backup: str | datetime,
        *,
        scratch: _StrPath,
        run_as: str | tuple[int, int] | None = None,
        jobs: int = 1,
        checks: Sequence[SqlCheck] | None = None,
        roles: Sequence[str] | None = None,
        replay_to: str | None = None,
        restore_command: str | None = None,
        environment: dict[str, str] | None = None,
        progress: _Progress | None = None,
    ) -> Verdict: ...
    def bisect(
        self,
        check: str,
        *,
        database: str,
        scratch: _StrPath,
        missing: Literal["good", "bad"] | None = None,
        restore_command: str | None = None,
        environment: dict[str, str] | None = None,
        system: int | None = None,
        check_timeout: _Span | None = None,
        run_as: str | tuple[int, int] | None = None,
        progress: _Progress | None = None,
    ) -> BisectReport: ...
    def restore(
        self,
        backup: str | datetime,
        connection: str | Connection,
        *,
        password: str | None = None,
        databases: Sequence[str] | None = None,
        rename: dict[str, str] | None = None,
        target: str | None = None,
        create: bool = True,
        clean: bool = False,
        allow_non_empty: bool = False,
        terminate_sessions: bool = False,
        no_owner: bool = False,
        no_privileges: bool = False,
        no_tablespaces: bool = False,
        restore_globals: bool = False,
        overwrite_globals: bool = False,
        jobs: int = 1,
        tables: Sequence[str | tuple[str, str]] | None = None,
        schemas: Sequence[str] | None = None,
        single_transaction: bool = False,
        scope: _Scope = "full",
        exit_on_error: bool = True,
        disable_triggers: bool = False,
        progress: _Progress | None = None,
    ) -> RestoreReport: ...
    def restore_file(
        self,
        path: _StrPath,
        connection: str | Connection,
        *,
        passphrase: str | None = None,
        kdf: _OpensslKdf | None = None,
        iterations: int | None = None,
        password: str | None = None,
        target: str | None = None,
        create: bool = True,
        clean: bool = False,
        allow_non_empty: bool = False,
        terminate_sessions: bool = False,
        no_owner: bool = False,
        no_privileges: bool = False,
        no_tablespaces: bool = False,
        jobs: int = 1,
        tables: Sequence[str | tuple[str, str]] | None = None,
        schemas: Sequence[str] | None = None,
        single_transaction: bool = False,
        scope: _Scope = "full",
        exit_on_error: bool = True,
        disable_triggers: bool = False,
        progress: _Progress | None = None,
    ) -> RestoreReport: ...
    def import_file(
        self,
        path: _StrPath,
        *,
        passphrase: str | None = None,
        kdf: _OpensslKdf | None = None,
        iterations: int | None = None,
        created: datetime | None = None,
        label: str | None = None,
        codec: str | None = None,
        storage_class: str | None = None,
        verify: Literal["scrub", "mac", "contents"] | None = "mac",
        again: bool = False,
        progress: _Progress | None = None,
    ) -> BackupReport: ...
    def backup_cluster(
        self,
        connection: str | Connection,
        *,
        password: str | None = None,
        data_directory: _StrPath | None = None,
        changes: Literal["auto", "compare", "both", "full"] = "auto",
        summary_patience: _Span | None = None,
        fast_checkpoint: bool = True,
        label: str | None = None,
        codec: str | None = None,
        storage_class: str | None = None,
        verify: Literal["scrub", "mac", "contents"] | None = "mac",
        progress: _Progress | None = None,
    ) -> ClusterBackupReport: ...
    def receive_cluster(
        self,
        connection: str | Connection,
        *,
        scratch: _StrPath,
        password: str | None = None,
        changes: Literal["auto", "compare", "full"] = "auto",
        fast_checkpoint: bool = True,
        label: str | None = None,
        codec: str | None = None,
        storage_class: str | None = None,
        verify: Literal["scrub", "mac", "contents"] | None = "mac",
        progress: _Progress | None = None,
    ) -> ClusterBackupReport: ...
    def restore_cluster(
        self,
        data_directory: _StrPath,
        backup: str | datetime | None = None,
        *,
        delta: bool = False,
        discard_wal: bool = False,
        target_time: datetime | None = None,
        target_lsn: str | None = None,
        target_xid: int | None = None,
        target_name: str | None = None,
        immediate: bool = False,
        inclusive: bool = True,
        timeline: Literal["latest", "current"] | int | None = None,
        action: Literal["promote", "pause", "shutdown"] = "promote",
        restore_command: str | None = None,
        archiving: bool = False,
        tablespaces: dict[int, _StrPath] | None = None,
        databases: Sequence[str] | None = None,
        owner: str | tuple[int, int] | None = None,
        backup_manifest: bool = False,
        start: bool = False,
        start_timeout: _Span | None = None,
        settings: dict[str, str] | None = None,
        environment: dict[str, str] | None = None,
        password: str | None = None,
        progress: _Progress | None = None,
    ) -> ClusterRestoreReport: ...
    def compare_cluster(
        self,
        data_directory: _StrPath,
        backup: str | datetime | None = None,
        *,
        target_time: datetime | None = None,
        target_lsn: str | None = None,
        tablespaces: dict[int, _StrPath] | None = None,
        owner: str | tuple[int, int] | None = None,
        progress: _Progress | None = None,
    ) -> ClusterDifference: ...
    def wal_push(self, path: _StrPath, *, system: int | None = None, spool: _StrPath | None = None) -> WalPushReport: ...
    def wal_fetch(self, name: str, path: _StrPath, *, system: int | None = None) -> WalFetchReport: ...
    def wal_stream(
        self,
        connection: str | Connection,
        folder: _StrPath,
        *,
        password: str | None = None,
        slot: str | None = None,
        create_slot: bool = False,
        durable: Literal["folder", "repository"] = "folder",
        until: str | None = None,
        upload_every: _Span | None = None,
        stop: Callable[[], bool] | None = None,
    ) -> WalStreamReport: ...
    def wal_list(self, *, system: int | None = None) -> builtins.list[WalCluster]: ...
    def wal_check(
        self,
        connection: str | Connection | None = None,
        *,
        password: str | None = None,
        system: int | None = None,
        verify: bool = False,
    ) -> WalCheckReport: ...
    def wal_prune(self, *, dry_run: bool = False, progress: _Progress | None = None) -> WalPruneReport: ...
    def prune(
        self,
        policy: RetentionPolicy,
        *,
        dry_run: bool = False,
        grace: _Span | None = None,
        keep_wal: bool = False,
        progress: _Progress | None = None,
    ) -> PruneReport: ...
    def repair(
        self,
        *,
        deep: bool = False,
        dry_run: bool = False,
        progress: _Progress | None = None,
    ) -> RepairReport: ...
    def run_runbook(
        self,
        runbook: str,
        *,
        values: Mapping[str, str] | None = None,
        operator: _Operator | bool | None = None,
        operator_name: str = "python",
        since: datetime | None = None,
        drill: bool = False,
        environment: Mapping[str, str] | None = None,
        restore_command: str | None = None,
        escalation: Sequence[tuple[float, Mapping[str, Callable[[str], object]]]] | None = None,
        progress: _Progress | None = None,
    ) -> RunStanding: ...
    def resume_run(
        self,
        run: str,
        *,
        values: Mapping[str, str] | None = None,
        operator: _Operator | bool | None = None,
        operator_name: str = "python",
        environment: Mapping[str, str] | None = None,
        restore_command: str | None = None,
        escalation: Sequence[tuple[float, Mapping[str, Callable[[str], object]]]] | None = None,
        progress: _Progress | None = None,
    ) -> RunStanding: ...
    def undo_run(
        self,
        run: str,
        *,
        values: Mapping[str, str] | None = None,
        operator: _Operator | bool | None = None,
        operator_name: str = "python",
        environment: Mapping[str, str] | None = None,
        restore_command: str | None = None,
        progress: _Progress | None = None,
    ) -> RunStanding: ...
    def runs(self) -> builtins.list[str]: ...
    def run_journal(self, run: str) -> builtins.list[dict[str, Any]]: ...
    def run_report(self, run: str, *, form: Literal["dict", "markdown", "html"] = "dict") -> dict[str, Any] | str: ...
    def collect_evidence(
        self,
        connection: str | Connection | None = None,
        *,
        password: str | None = None,
        label: str | None = None,
        tables: Sequence[str] | None = None,
        queries: Mapping[str, str] | None = None,
        programs: Mapping[str, Sequence[str]] | None = None,
        environment: Mapping[str, str] | None = None,
        files: Sequence[_StrPath] | None = None,
        backups: Sequence[str] | None = None,
        operator_name: str = "python",
        progress: _Progress | None = None,
    ) -> dict[str, Any]: ...
    def evidence(self) -> builtins.list[dict[str, Any]]: ...
    def verify_evidence(
        self,
        evidence: str,
        *,
        public_key: str | None = None,
        operator_name: str = "python",
        progress: _Progress | None = None,
    ) -> dict[str, Any]: ...
    def export_evidence(
        self, evidence: str, folder: _StrPath, *, operator_name: str = "python", progress: _Progress | None = None
    ) -> dict[str, Any]: ...
    def note_evidence(self, evidence: str, note: str, *, operator_name: str = "python") -> dict[str, Any]: ...
    def run_drill(
        self,
        scenario: str,
        *,
        scratch: _StrPath,
        run_as: str | tuple[int, int] | None = None,
        jobs: int = 1,
        checks: Sequence[SqlCheck] | None = None,
        roles: Sequence[str] | None = None,
        restore_command: str | None = None,
        environment: Mapping[str, str] | None = None,
        rto: _Span | None = None,
        rpo: _Span | None = None,
        runbook: str | None = None,
        values: Mapping[str, str] | None = None,
        with_programs: bool = False,
        operator_name: str = "python",
        progress: _Progress | None = None,
    ) -> dict[str, Any]: ...
    def record_drill(
        self,
        scenario: str,
        *,
        rto_took: _Span | None = None,
        rpo_lost: _Span | None = None,
        findings: Sequence[str] | None = None,
        note: str | None = None,
        at: datetime | None = None,
        rto: _Span | None = None,
        rpo: _Span | None = None,
        operator_name: str = "python",
    ) -> dict[str, Any]: ...
    def drills(self) -> builtins.list[dict[str, Any]]: ...
    def history(self, job: str | None = None, *, limit: int = 50) -> builtins.list[dict[str, Any]]: ...
    def check_figures(
        self, connection: str | Connection, figures: Sequence[Figure], *, password: str | None = None, backups: int = 5
    ) -> dict[str, Any]: ...
    def summary(self, *, days: int = 7, form: Literal["dict", "text"] = "dict") -> dict[str, Any] | str: ...
    def drills_due(self) -> builtins.list[dict[str, Any]]: ...
    def forecast(self) -> dict[str, Any] | None: ...
    def observe(
        self,
        connection: str | Connection | None = None,
        *,
        password: str | None = None,
        max_age: _Span | None = None,
        rto: _Span | None = None,
        rpo: _Span | None = None,
        folders: Sequence[_StrPath] | None = None,
        form: Literal["dict", "metrics", "html"] = "dict",
    ) -> dict[str, Any] | str: ...
    def status(self) -> Status: ...
    def hold(self, backup: str | datetime, reason: str) -> None: ...
    def release(self, backup: str | datetime) -> None: ...
    def thaw(
        self,
        backup: str,
        *,
        days: int = 7,
        tier: Literal["expedited", "standard", "bulk"] = "standard",
        progress: _Progress | None = None,
    ) -> ThawReport: ...
    def epochs(self) -> builtins.list[Epoch]: ...
    def add_slot(
        self,
        name: str,
        *,
        passphrase: str | None = None,
        recipients: Sequence[str] | None = None,
        command: Sequence[str] | None = None,
        work_factor: int | None = None,
    ) -> None: ...
    def rotate_slot(
        self,
        name: str,
        *,
        passphrase: str | None = None,
        recipients: Sequence[str] | None = None,
        command: Sequence[str] | None = None,
        work_factor: int | None = None,
    ) -> None: ...
    def remove_slot(self, name: str) -> None: ...
    def begin_epoch(
        self,
        *,
        passphrase: str | None = None,
        recipients: Sequence[str] | None = None,
        command: Sequence[str] | None = None,
        work_factor: int | None = None,
    ) -> str: ...
    def begin_run_epoch(
        self,
        *,
        recipients: Sequence[str] | None = None,
        command: Sequence[str] | None = None,
    ) -> None: ...

def check_integrity(
    connection: str | Connection,
    *,
    password: str | None = None,
    databases: Sequence[str] | None = None,
    quick: bool = False,
    statement_timeout: _Span | None = None,
    checks: Sequence[SqlCheck] | None = None,
    progress: _Progress | None = None,
) -> IntegrityReport: ...
def ha_cluster(patroni: Patroni, *, max_lag: int = 16777216) -> dict[str, Any]: ...
def ha_switchover(
    patroni: Patroni,
    *,
    leader: str | None = None,
    candidate: str | None = None,
    max_lag: int = 1048576,
    limit: _Span | None = None,
    dry_run: bool = False,
) -> dict[str, Any]: ...
def ha_failover(
    patroni: Patroni,
    *,
    leader: str | None = None,
    candidate: str | None = None,
    max_lag: int = 1048576,
    limit: _Span | None = None,
    dry_run: bool = False,
    even_if_well: bool = False,
) -> dict[str, Any]: ...
def ha_pause(patroni: Patroni, paused: bool = True, *, limit: _Span | None = None) -> dict[str, Any]: ...
def ha_reinitialize(patroni: Patroni, member: str, *, limit: _Span | None = None) -> dict[str, Any]: ...
def encrypt(
    src: _Readable,
    dst: _Writable,
    *,
    key: FileKey | Repository | aio.Repository,
    name: str = "",
    codec: str = "zstd:3",
    progress: _Progress | None = None,
) -> FileReport: ...
def decrypt(
    src: _Readable,
    dst: _Writable,
    *,
    key: FileKey | Repository | aio.Repository,
    name: str = "",
    progress: _Progress | None = None,
) -> FileReport: ...
def openssl_encrypt_unauthenticated(
    src: _Readable,
    dst: _Writable,
    passphrase: str,
    *,
    kdf: _OpensslKdf = "pbkdf2",
    iterations: int | None = None,
    progress: _Progress | None = None,
) -> FileReport: ...
def openssl_decrypt_unauthenticated(
    src: _Readable,
    dst: _Writable,
    passphrase: str,
    *,
    kdf: _OpensslKdf | None = None,
    iterations: int | None = None,
    progress: _Progress | None = None,
) -> FileReport: ...
def wrap_key(
    key: FileKey,
    *,
    passphrase: str | None = None,
    recipients: Sequence[str] | None = None,
    command: Sequence[str] | None = None,
    work_factor: int | None = None,
) -> bytes: ...
def unwrap_key(
    id: str,
    wrapped: bytes,
    *,
    passphrase: str | None = None,
    identity: str | bytes | None = None,
    identity_passphrase: str | None = None,
    command: Sequence[str] | None = None,
) -> FileKey: ...
def verify_exported_evidence(
    folder: _StrPath, *, public_key: str | None = None, progress: _Progress | None = None
) -> dict[str, Any]: ...

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
