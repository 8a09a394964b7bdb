"""The whole path, sync and by asyncio: to a folder and to S3, and back."""

from __future__ import annotations

import asyncio
import pickle
import subprocess
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

import erpgo_dr
import erpgo_dr.aio
from conftest import PASSPHRASE, QUICK, S3, Postgres

SUM = "SELECT count(*), sum(amount), md5(string_agg(note, '' ORDER BY id)) FROM orders"


def test_sync_to_a_folder_and_s3(postgres: Postgres, s3: S3, tmp_path: Path, scratch: Path) -> None:
    place = str(tmp_path / "repository")
    replicas = [("s3://backups/sync", s3.options())]
    made = erpgo_dr.Repository.init(place, replicas=replicas, programs=[postgres.programs], **QUICK)
    phases: list[tuple[str, int, int | None]] = []
    report = made.backup(
        postgres.url("erp"), label="first", verify="contents", progress=lambda *update: phases.append(update)
    )
    assert report.is_complete and report.missed == () and report.databases == ("erp",)
    assert report.verdict is not None and report.verdict.level == "contents"
    assert {phase for phase, _, _ in phases} == {"backup", "verify"}
    assert all(done <= total for _, done, total in phases[-1:] if total is not None)

    opened = erpgo_dr.Repository.open(
        place, passphrase=PASSPHRASE, replicas=replicas, programs=[postgres.programs], threads=1
    )
    assert opened.id == made.id and "s3://backups/sync" in opened.location
    (backup,) = opened.list()
    assert (backup.id, backup.label, backup.scope, backup.databases) == (report.id, "first", "full", ("erp",))
    assert backup.proven == "contents" and not backup.is_locked
    assert timedelta() <= datetime.now(timezone.utc) - backup.created < timedelta(minutes=5)
    assert pickle.loads(pickle.dumps(backup)) == backup
    assert backup.to_dict()["candidate"]["id"] == report.id and "first" in repr(backup)

    details = opened.show("latest")
    tables = {table.name: table.rows for table in details.manifest.contents.databases[0].tables}
    assert tables == {"orders": 20_000}
    assert details.manifest.contents.server.version_num // 10_000 == 17
    assert opened.verify([report.id]).passed and opened.verify(["latest"]).verdicts[0].backup == report.id
    assert opened.verify(level="scrub", record=False).passed

    checks = [erpgo_dr.SqlCheck(name="rows", database="erp", query="SELECT count(*) = 20000 FROM orders")]
    verdict = opened.restore_test("latest-proven", scratch=scratch, checks=checks)
    assert verdict.passed and verdict.level == "restore" and verdict.restore_seconds is not None
    status = opened.status()
    assert status.is_healthy and status.rto_seconds == verdict.restore_seconds
    assert status.latest_proven is not None and status.latest_proven.proven == "restore"

    restored = opened.restore("latest-proven", postgres.url(), target="erp_sync")
    assert restored.backup == report.id and restored.databases == ("erp_sync",)
    assert postgres.sql(SUM, "erp_sync") == postgres.sql(SUM, "erp")
    with pytest.raises(erpgo_dr.RefusedError):
        opened.restore(backup.created + timedelta(seconds=1), postgres.url(), target="erp_sync")

    repaired = opened.repair(deep=True)
    assert repaired.is_healthy and repaired.plan.actions == () and repaired.report is not None
    elsewhere = erpgo_dr.Repository.open("s3://backups/sync", storage_options=s3.options(), passphrase=PASSPHRASE)
    assert [entry.id for entry in elsewhere.list()] == [report.id]

    opened.hold("latest", "the lawyers")
    opened.release("latest")
    opened.hold(report.id, "the auditors")
    second = opened.backup(postgres.url("erp"), verify="mac")
    policy = erpgo_dr.RetentionPolicy.keep_last(1)
    plan = opened.prune(policy, dry_run=True)
    assert plan.dry_run and plan.removed == ()
    opened.release(report.id)
    pruned = opened.prune(policy)
    assert [gone.id for gone in pruned.removed] == [report.id]
    assert [entry.id for entry in opened.list()] == [second.id]


async def _story(postgres: Postgres, s3: S3) -> None:
    repository = await erpgo_dr.aio.Repository.init(
        "s3://backups/async", storage_options=s3.options(), programs=[postgres.programs], **QUICK
    )
    loop, seen = asyncio.get_running_loop(), []

    def progress(phase: str, done: int, total: int | None) -> None:
        assert asyncio.get_running_loop() is loop
        seen.append(phase)

    report = await asyncio.create_task(repository.backup(postgres.url("erp"), progress=progress))
    assert report.is_complete and set(seen) == {"backup", "verify"}
    listed, status, verified = await asyncio.gather(repository.list(), repository.status(), repository.verify())
    assert [entry.id for entry in listed] == [report.id] and status.backups == 1 and verified.passed
    restored = await repository.restore("latest", postgres.url(), target="erp_async", jobs=2)
    assert restored.databases == ("erp_async",)
    assert postgres.sql(SUM, "erp_async") == postgres.sql(SUM, "erp")
    await repository.hold(report.id, "because")
    policy = erpgo_dr.RetentionPolicy.keep_within(timedelta())
    pruned = await repository.prune(policy)
    assert pruned.removed == () and "on hold" in pruned.decisions[0].reasons


def test_asyncio_to_s3(postgres: Postgres, s3: S3) -> None:
    asyncio.run(_story(postgres, s3))


def test_a_legacy_file_is_restored_and_adopted(
    postgres: Postgres, repository: erpgo_dr.Repository, tmp_path: Path
) -> None:
    dump, file = tmp_path / "dump", tmp_path / "full_backup_20260102_030405.sql.enc"
    subprocess.run([postgres.programs / "pg_dump", "-Fc", "-d", postgres.url("erp"), "-f", dump], check=True)
    with dump.open("rb") as plain, file.open("wb") as sealed:
        erpgo_dr.openssl_encrypt_unauthenticated(plain, sealed, "old secret", kdf="md5")
    with pytest.raises(erpgo_dr.LockedError):
        repository.import_file(file, passphrase="wrong")
    report = repository.import_file(file, passphrase="old secret")
    with pytest.raises(erpgo_dr.AlreadyExistsError, match=report.id):
        repository.import_file(file, passphrase="old secret")
    (backup,) = repository.list()
    assert report.kind == backup.kind == "import"
    assert backup.created == datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc)
    restored = repository.restore_file(file, postgres.url(), passphrase="old secret", target="erp_file")
    assert restored.backup is None and postgres.sql(SUM, "erp_file") == postgres.sql(SUM, "erp")


def test_slots_and_epochs(postgres: Postgres, repository: erpgo_dr.Repository, tmp_path: Path) -> None:
    place = str(tmp_path / "repository")
    person = erpgo_dr.generate_identity()
    repository.add_slot("person", recipients=[person.recipient])
    with pytest.raises(erpgo_dr.AlreadyExistsError):
        repository.add_slot("person", recipients=[person.recipient])
    repository.rotate_slot("passphrase", passphrase="another", work_factor=1)
    with pytest.raises(erpgo_dr.LockedError):
        erpgo_dr.Repository.open(place, passphrase=PASSPHRASE)
    first = repository.backup(postgres.url("erp"), verify=None)
    locked = erpgo_dr.Repository.open(place)
    assert locked.list()[0].is_locked and locked.list()[0].databases is None
    locked.unlock(identity=person.secret)
    assert locked.list()[0].databases == ("erp",)
    epoch = repository.begin_epoch(recipients=[person.recipient])
    old, new = sorted(repository.epochs(), key=lambda found: found.id == epoch)
    assert (old.active, old.role, new.active, new.role) == (False, "root", True, "successor")
    assert new.previous == old.id and [slot.name for slot in new.slots] == ["recipients"]
    repository.remove_slot("passphrase")
    second = repository.backup(postgres.url("erp"), verify=None)
    reopened = erpgo_dr.Repository.open(place, identity=person.secret.encode(), programs=[postgres.programs])
    assert {verdict.backup for verdict in reopened.verify().verdicts} == {first.id, second.id}
    assert person.secret not in repr(person) + repr(repository)
