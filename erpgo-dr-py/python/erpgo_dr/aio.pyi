# The same names as in __init__.pyi, to be awaited.
import builtins
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, final

from typing_extensions import Self

import erpgo_dr

from . import (
    _OpensslKdf,
    _Operator,
    _Progress,
    _Readable,
    _Span,
    _StorageOptions,
    _StrPath,
    _Writable,
    Backup,
    BackupDetails,
    BackupReport,
    BisectReport,
    ClusterBackupReport,
    ClusterDifference,
    ClusterRestoreReport,
    Connection,
    Epoch,
    FileKey,
    Figure,
    FileReport,
    IntegrityReport,
    Patroni,
    PruneReport,
    RepairReport,
    RestoreReport,
    RetentionPolicy,
    RunStanding,
    SqlCheck,
    Status,
    ThawReport,
    Verdict,
    VerifyReport,
    WalCheckReport,
    WalCluster,
    WalFetchReport,
    WalPruneReport,
    WalPushReport,
    WalStreamReport,
)
from ._reports import Scope as _Scope

@final
class Repository:
    def __init__(self) -> None: ...
    @property
    def id(self) -> str: ...
    @property
    def location(self) -> str: ...
    @classmethod
    async def init(
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
    async def open(
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
    async def unlock(
        self,
        *,
        passphrase: str | None = None,
        identity: str | bytes | None = None,
        identity_passphrase: str | None = None,
        command: Sequence[str] | None = None,
    ) -> None: ...
    async def backup(
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
    async def list(self) -> builtins.list[Backup]: ...
    async def show(self, backup: str | datetime) -> BackupDetails: ...
    async def verify(
        self,
        backups: Sequence[str | datetime] | None = None,
        *,
        level: Literal["scrub", "mac", "contents"] = "mac",
        record: bool = True,
        progress: _Progress | None = None,
    ) -> VerifyReport: ...
    async def restore_test(
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
    async def bisect(
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
    async def restore(
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
    async def restore_file(
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
    async def import_file(
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
    async def backup_cluster(
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
    async def receive_cluster(
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
    async def restore_cluster(
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
    async def compare_cluster(
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
    async def wal_push(self, path: _StrPath, *, system: int | None = None, spool: _StrPath | None = None) -> WalPushReport: ...
    async def wal_fetch(self, name: str, path: _StrPath, *, system: int | None = None) -> WalFetchReport: ...
    async def wal_stream(
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
    async def wal_list(self, *, system: int | None = None) -> builtins.list[WalCluster]: ...
    async def wal_check(
        self,
        connection: str | Connection | None = None,
        *,
        password: str | None = None,
        system: int | None = None,
        verify: bool = False,
    ) -> WalCheckReport: ...
    async def wal_prune(self, *, dry_run: bool = False, progress: _Progress | None = None) -> WalPruneReport: ...
    async def prune(
        self,
        policy: RetentionPolicy,
        *,
        dry_run: bool = False,
        grace: _Span | None = None,
        keep_wal: bool = False,
        progress: _Progress | None = None,
    ) -> PruneReport: ...
    async def repair(
        self,
        *,
        deep: bool = False,
        dry_run: bool = False,
        progress: _Progress | None = None,
    ) -> RepairReport: ...
    async def run_runbook(
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
    async def resume_run(
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
    async def undo_run(
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
    async def runs(self) -> builtins.list[str]: ...
    async def run_journal(self, run: str) -> builtins.list[dict[str, Any]]: ...
    async def run_report(
        self, run: str, *, form: Literal["dict", "markdown", "html"] = "dict"
    ) -> dict[str, Any] | str: ...
    async def collect_evidence(
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
    async def evidence(self) -> builtins.list[dict[str, Any]]: ...
    async def verify_evidence(
        self,
        evidence: str,
        *,
        public_key: str | None = None,
        operator_name: str = "python",
        progress: _Progress | None = None,
    ) -> dict[str, Any]: ...
    async def export_evidence(
        self, evidence: str, folder: _StrPath, *, operator_name: str = "python", progress: _Progress | None = None
    ) -> dict[str, Any]: ...
    async def note_evidence(self, evidence: str, note: str, *, operator_name: str = "python") -> dict[str, Any]: ...
    async def run_drill(
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
    async def record_drill(
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
    async def drills(self) -> builtins.list[dict[str, Any]]: ...
    async def history(self, job: str | None = None, *, limit: int = 50) -> builtins.list[dict[str, Any]]: ...
    async def check_figures(
        self, connection: str | Connection, figures: Sequence[Figure], *, password: str | None = None, backups: int = 5
    ) -> dict[str, Any]: ...
    async def summary(self, *, days: int = 7, form: Literal["dict", "text"] = "dict") -> dict[str, Any] | str: ...
    async def drills_due(self) -> builtins.list[dict[str, Any]]: ...
    async def forecast(self) -> dict[str, Any] | None: ...
    async def observe(
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
    async def status(self) -> Status: ...
    async def hold(self, backup: str | datetime, reason: str) -> None: ...
    async def release(self, backup: str | datetime) -> None: ...
    async def thaw(
        self,
        backup: str,
        *,
        days: int = 7,
        tier: Literal["expedited", "standard", "bulk"] = "standard",
        progress: _Progress | None = None,
    ) -> ThawReport: ...
    async def epochs(self) -> builtins.list[Epoch]: ...
    async def add_slot(
        self,
        name: str,
        *,
        passphrase: str | None = None,
        recipients: Sequence[str] | None = None,
        command: Sequence[str] | None = None,
        work_factor: int | None = None,
    ) -> None: ...
    async def rotate_slot(
        self,
        name: str,
        *,
        passphrase: str | None = None,
        recipients: Sequence[str] | None = None,
        command: Sequence[str] | None = None,
        work_factor: int | None = None,
    ) -> None: ...
    async def remove_slot(self, name: str) -> None: ...
    async def begin_epoch(
        self,
        *,
        passphrase: str | None = None,
        recipients: Sequence[str] | None = None,
        command: Sequence[str] | None = None,
        work_factor: int | None = None,
    ) -> str: ...
    async def begin_run_epoch(
        self,
        *,
        recipients: Sequence[str] | None = None,
        command: Sequence[str] | None = None,
    ) -> None: ...

async def check_integrity(
    connection: str | Connection,
    *,
    password: str | None = None,
    databases: Sequence[str] | None = None,
    quick: bool = False,
    statement_timeout: _Span | None = None,
    checks: Sequence[SqlCheck] | None = None,
    progress: _Progress | None = None,
) -> IntegrityReport: ...
async def ha_cluster(patroni: Patroni, *, max_lag: int = 16777216) -> dict[str, Any]: ...
async def ha_switchover(
    patroni: Patroni,
    *,
    leader: str | None = None,
    candidate: str | None = None,
    max_lag: int = 1048576,
    limit: _Span | None = None,
    dry_run: bool = False,
) -> dict[str, Any]: ...
async def ha_failover(
    patroni: Patroni,
    *,
    leader: str | None = None,
    candidate: str | None = None,
    max_lag: int = 1048576,
    limit: _Span | None = None,
    dry_run: bool = False,
    even_if_well: bool = False,
) -> dict[str, Any]: ...
async def ha_pause(patroni: Patroni, paused: bool = True, *, limit: _Span | None = None) -> dict[str, Any]: ...
async def ha_reinitialize(patroni: Patroni, member: str, *, limit: _Span | None = None) -> dict[str, Any]: ...
async def encrypt(
    src: _Readable,
    dst: _Writable,
    *,
    key: FileKey | Repository | erpgo_dr.Repository,
    name: str = "",
    codec: str = "zstd:3",
    progress: _Progress | None = None,
) -> FileReport: ...
async def decrypt(
    src: _Readable,
    dst: _Writable,
    *,
    key: FileKey | Repository | erpgo_dr.Repository,
    name: str = "",
    progress: _Progress | None = None,
) -> FileReport: ...
async def openssl_encrypt_unauthenticated(
    src: _Readable,
    dst: _Writable,
    passphrase: str,
    *,
    kdf: _OpensslKdf = "pbkdf2",
    iterations: int | None = None,
    progress: _Progress | None = None,
) -> FileReport: ...
async def openssl_decrypt_unauthenticated(
    src: _Readable,
    dst: _Writable,
    passphrase: str,
    *,
    kdf: _OpensslKdf | None = None,
    iterations: int | None = None,
    progress: _Progress | None = None,
) -> FileReport: ...
async def wrap_key(
    key: FileKey,
    *,
    passphrase: str | None = None,
    recipients: Sequence[str] | None = None,
    command: Sequence[str] | None = None,
    work_factor: int | None = None,
) -> bytes: ...
async def unwrap_key(
    id: str,
    wrapped: bytes,
    *,
    passphrase: str | None = None,
    identity: str | bytes | None = None,
    identity_passphrase: str | None = None,
    command: Sequence[str] | None = None,
) -> FileKey: ...
async def verify_exported_evidence(
    folder: _StrPath, *, public_key: str | None = None, progress: _Progress | None = None
) -> dict[str, Any]: ...

__all__ = (
    "check_integrity",
    "Repository",
    "decrypt",
    "encrypt",
    "ha_cluster",
    "ha_failover",
    "ha_pause",
    "ha_reinitialize",
    "ha_switchover",
    "openssl_decrypt_unauthenticated",
    "openssl_encrypt_unauthenticated",
    "unwrap_key",
    "verify_exported_evidence",
    "wrap_key",
)
