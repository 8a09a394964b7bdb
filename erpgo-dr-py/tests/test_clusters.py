"""Whole clusters and their write-ahead log: a server that archives by this package, and back to any moment."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

import erpgo_dr
import erpgo_dr.aio
from conftest import PASSPHRASE, QUICK, Postgres, give_to_postgres, make_cluster, programs, serve, wait

SUM = "SELECT count(*), sum(amount), md5(string_agg(note, '' ORDER BY id)) FROM orders"
NOW = """SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US+00:00')"""
SEGMENT = 16 << 20
UNKNOWN = "20260102T030405Z-00000000"

ARCHIVE = """
import sys, erpgo_dr
repository = erpgo_dr.Repository.open({place!r}, passphrase={passphrase!r})
sys.exit(0 if repository.wal_push(sys.argv[1]).is_complete else 1)
"""
# Python ends with 1 when anything goes wrong, which PostgreSQL would take for the end of the log.
FETCH = """
import sys, erpgo_dr
repository = erpgo_dr.Repository.open({place!r}, passphrase={passphrase!r})
sys.exit(0 if repository.wal_fetch(sys.argv[1], sys.argv[2]).found else 3)
"""


@dataclass(frozen=True)
class Archiving:
    """A server that archives its log into a repository, through `wal_push`."""

    server: Postgres
    repository: erpgo_dr.Repository
    restore_command: str

    @property
    def data(self) -> Path:
        return self.server.folder / "data"

    def archive(self) -> str:
        """Ends the segment, and waits until it is archived."""
        name = self.server.sql("SELECT pg_walfile_name(pg_switch_wal())")
        archived = f"SELECT coalesce(last_archived_wal >= '{name}', false) FROM pg_stat_archiver"
        wait(f"{name} in the archive", lambda: self.server.sql(archived) == "t", 120)
        return name

    def archived(self, count: int) -> list[Path]:
        """Segments that lie in the data directory and are archived, oldest first."""
        done = (self.data / "pg_wal/archive_status").glob("*.done")
        names = sorted(path.stem for path in done if len(path.stem) == 24)
        while len(names) < count:
            self.server.sql("SELECT pg_logical_emit_message(true, 'x', repeat('x', 1000))")
            names = sorted({*names, self.archive()})
        return [self.data / "pg_wal" / name for name in names[:count]]


@pytest.fixture(scope="module")
def archiving(scratch: Path) -> Iterator[Archiving]:
    home = scratch / "archiving"
    home.mkdir()
    place = home / "place"
    repository = erpgo_dr.Repository.init(str(place), programs=[programs()], **QUICK)
    package = Path(erpgo_dr.__file__).parents[1]
    for name, text in (("archive.py", ARCHIVE), ("fetch.py", FETCH)):
        (home / name).write_text(text.format(place=str(place), passphrase=PASSPHRASE))
    give_to_postgres(home)
    python = f"PYTHONPATH={package} PYTHONDONTWRITEBYTECODE=1 {sys.executable}"
    fetch = f"{python} {home}/fetch.py %f %p || {{ [ $? -eq 3 ] && exit 1; exit 255; }}"
    settings = {"archive_mode": "on", "archive_command": f"{python} {home}/archive.py %p"}
    with serve(make_cluster(scratch / "wal"), **settings, summarize_wal="on", wal_keep_size="1GB") as server:
        server.create("erp", 20_000)
        made = Archiving(server, repository, fetch)
        # What lies before the first backup.
        made.archive()
        made.archived(2)
        yield made


def _is_primary(server: Postgres) -> bool:
    return server.sql("SELECT pg_is_in_recovery()") == "f"


def test_back_to_just_before_a_wrong_update(archiving: Archiving, scratch: Path) -> None:
    server, repository = archiving.server, archiving.repository
    phases: list[tuple[str, int, int | None]] = []
    full = repository.backup_cluster(server.url(), label="full", progress=lambda *update: phases.append(update))
    assert full.is_complete and full.kind == "physical" and "erp" in full.databases and full.damaged_pages == ()
    assert (full.base, full.changes, full.timeline) == (None, None, 1) and full.files > 900
    assert full.verdict is not None and full.verdict.level == "mac"
    assert {phase for phase, _, _ in phases} == {"backup", "verify"}

    server.sql("UPDATE orders SET amount = 0 WHERE id = 1", "erp")
    at_backup = server.sql(SUM, "erp")
    second = repository.backup_cluster(server.url(), data_directory=archiving.data, changes="auto")
    assert second.is_complete and (second.base, second.changes) == (full.id, "summaries")
    assert second.read_bytes < full.read_bytes / 4 and second.added_bytes < full.added_bytes / 4
    details = repository.show(second.id)
    assert details.manifest.physical is not None and details.manifest.physical.base == full.id
    assert details.manifest.physical.pages is not None
    assert details.manifest.physical.pages.key not in repr(details)
    assert {entry.kind for entry in repository.list()} == {"physical"}

    server.sql("DELETE FROM orders WHERE id = 2", "erp")
    before, moment = server.sql(SUM, "erp"), datetime.fromisoformat(server.sql(NOW))
    server.sql("UPDATE orders SET amount = -1, note = 'wrong'", "erp")
    archiving.archive()
    healthy = repository.wal_check(server.url(), verify=True)
    assert healthy.is_healthy, healthy.findings
    assert healthy.server is not None and healthy.server.archive_mode == "on" and healthy.verified >= 3
    assert healthy.lag_bytes is not None and healthy.lag_bytes < SEGMENT

    folder = scratch / "restored"
    folder.mkdir()
    give_to_postgres(folder)
    data, command = folder / "data", archiving.restore_command
    restored = repository.restore_cluster(data, target_time=moment, restore_command=command)
    assert (restored.backup, restored.data_directory) == (second.id, str(data))
    assert (restored.target.type, restored.target.time) == ("time", moment)
    assert restored.written_bytes == restored.bytes and restored.removed == 0 and restored.files == second.files
    assert restored.stop_lsn == second.stop_lsn and restored.server_version.startswith("17")
    with serve(data) as copy:
        wait("the end of recovery", lambda: _is_primary(copy), 120)
        assert copy.sql(SUM, "erp") == before != server.sql(SUM, "erp")
        assert copy.sql("SHOW archive_mode") == "off"
        for delta in (False, True):
            with pytest.raises(erpgo_dr.RefusedError):
                repository.restore_cluster(data, delta=delta)

    difference = repository.compare_cluster(data, second.id)
    assert 0 < difference.bytes < restored.bytes / 2 and difference.files > 0 and difference.removed
    again = repository.restore_cluster(data, second.id, delta=True, immediate=True, backup_manifest=True)
    assert again.target.type == "immediate" and again.written_bytes < restored.bytes / 2
    assert again.removed >= len(difference.removed)
    assert (data / "backup_manifest").exists()
    with serve(data) as copy:
        wait("the end of recovery", lambda: _is_primary(copy), 120)
        assert copy.sql(SUM, "erp") == at_backup

    dump = repository.backup(server.url("erp"))
    third = repository.backup_cluster(server.url(), changes="full", fast_checkpoint=True, verify=None)
    assert third.base is None and third.verdict is None
    assert repository.restore("latest", server.url(), target="erp_dump").backup == dump.id
    with pytest.raises(erpgo_dr.InvalidError):
        repository.restore_cluster(folder / "dump", dump.id)
    with pytest.raises(erpgo_dr.InvalidError):
        repository.restore(third.id, server.url(), target="erp_files")

    keep_all = erpgo_dr.RetentionPolicy.keep_all()
    assert repository.prune(keep_all, dry_run=True, keep_wal=True).wal == ()
    plan = repository.wal_prune(dry_run=True)
    (old,) = plan.clusters
    assert plan.dry_run and old.files >= 2 and old.before == full.start_lsn
    assert repository.prune(keep_all, dry_run=True).wal == plan.clusters
    pruned = repository.wal_prune()
    assert pruned.clusters == plan.clusters and pruned.is_complete
    assert repository.wal_prune().clusters == () and repository.wal_check().is_healthy
    (cluster,) = repository.wal_list()
    assert cluster.system_identifier == old.system_identifier
    assert cluster.timelines[0].ranges[0].first > healthy.clusters[0].timelines[0].ranges[0].first


async def _backup(server: Postgres, place: Path) -> None:
    repository = await erpgo_dr.aio.Repository.init(str(place), programs=[server.programs], **QUICK)
    first = await repository.backup_cluster(server.url())
    second = await repository.backup_cluster(server.url(), changes="compare")
    assert second.is_complete and (second.base, second.changes) == (first.id, "comparison")
    third = await repository.receive_cluster(server.url(), scratch=place.parent)
    assert third.is_complete and third.base == second.id and third.added_bytes < first.added_bytes / 4
    listed, archived = await asyncio.gather(repository.list(), repository.wal_list())
    assert [entry.id for entry in listed] == [first.id, second.id, third.id] and archived == []


def test_a_restored_server_runs_and_is_measured(archiving: Archiving, scratch: Path) -> None:
    server, repository = archiving.server, archiving.repository
    made = repository.backup_cluster(server.url(), verify=None)
    server.sql("UPDATE orders SET amount = 7 WHERE id = 3", "erp")
    moment = datetime.fromisoformat(server.sql(NOW))
    # A moment is reached when something later comes.
    server.sql("UPDATE orders SET amount = 8 WHERE id = 3", "erp")
    archiving.archive()
    folder = scratch / "started"
    folder.mkdir()
    give_to_postgres(folder)
    settings = {"unix_socket_directories": str(folder), "listen_addresses": ""}
    phases: set[str] = set()
    restored = repository.restore_cluster(
        folder / "data",
        made.id,
        target_time=moment,
        restore_command=archiving.restore_command,
        start=True,
        start_timeout=120,
        settings=settings,
        progress=lambda phase, done, total: phases.add(phase),
    )
    started = restored.started
    assert started is not None and started.stop_command is not None
    try:
        assert (started.state, started.host, started.warnings) == ("promoted", str(folder), ())
        assert started.replayed_at is not None and started.replayed_at <= moment
        assert started.rto_seconds >= restored.seconds + started.start_seconds + started.replay_seconds
        assert "replay" in phases
    finally:
        assert os.system(f"{started.stop_command} > /dev/null") == 0
    with pytest.raises(erpgo_dr.NotFoundError, match="ends before the target"):
        repository.restore_cluster(
            folder / "data", made.id, delta=True, target_lsn="FF/0", restore_command="false", start=True, settings=settings
        )
    with pytest.raises(erpgo_dr.InvalidError):
        repository.restore_cluster(folder / "other", made.id, immediate=True, inclusive=False)


def test_the_transaction_that_broke_the_data_is_named(archiving: Archiving, scratch: Path) -> None:
    server, repository = archiving.server, archiving.repository
    good = repository.backup_cluster(server.url())
    server.sql("CREATE TABLE money AS SELECT 100 AS amount; INSERT INTO money VALUES (1)")
    wrong = "UPDATE money SET amount = 101 WHERE amount = 100"
    broken = int(server.sql(f"WITH broken AS ({wrong} RETURNING pg_current_xact_id() AS number) SELECT number FROM broken"))
    server.sql("INSERT INTO money VALUES (2)")
    bad = repository.backup_cluster(server.url())
    server.sql("INSERT INTO money VALUES (3)")
    archiving.archive()
    check = "SELECT count(*) = 1 FROM money WHERE amount = 100"
    with pytest.raises(erpgo_dr.InvalidError, match="missing"):
        repository.bisect(check, database="postgres", scratch=scratch)
    phases: set[str] = set()
    found = repository.bisect(
        check,
        database="postgres",
        scratch=scratch,
        missing="good",
        restore_command=archiving.restore_command,
        progress=lambda *update: phases.add(update[0]),
    )
    assert found.outcome == "transaction" and found.transaction is not None, found.message
    assert found.transaction.transaction == broken and str(broken) in found.message
    assert found.good is not None and found.good.backup == good.id and found.bad is not None and found.bad.backup == bad.id
    assert found.restore is not None and found.restore.backup == good.id and not found.restore.inclusive
    assert found.restore.target.lsn == found.transaction.lsn and found.restore.timeline == "current"
    assert {probe.verdict for probe in found.probes} == {"good", "bad"} and "restore" in phases
    assert list(scratch.glob("pg-??????")) == []


def test_what_is_wrong_with_a_server(archiving: Archiving) -> None:
    server = archiving.server
    server.create("wrong", 10)
    server.sql(
        "CREATE TABLE item (n int CONSTRAINT item_order REFERENCES orders); "
        "SET session_replication_role = replica; INSERT INTO item VALUES (3), (77)",
        "wrong",
    )
    checks = [erpgo_dr.SqlCheck(name="few", database="wrong", query="SELECT count(*) < 5 FROM orders")]
    found = erpgo_dr.check_integrity(server.url(), databases=["wrong"], quick=True, statement_timeout=60, checks=checks)
    assert not found.passed and [(one.kind, one.constraint, one.count) for one in found.findings] == [
        ("orphans", "item_order", 1),
        ("failed-check", "few", None),
    ]
    assert found.findings[0].samples[0].endswith(", n=77") or found.findings[0].samples == ("n=77",), found.findings[0]
    assert "CREATE EXTENSION amcheck" in found.not_checked[0].reason and found.checked.foreign_keys == 1
    with pytest.raises(erpgo_dr.NotFoundError):
        erpgo_dr.check_integrity(server.url(), databases=["nowhere"])
    again = asyncio.run(erpgo_dr.aio.check_integrity(server.url(), databases=["postgres"], quick=True))
    assert again.databases == ("postgres",) and again.data_checksums is False


def test_figures_are_compared_with_those_of_backups(postgres: Postgres, tmp_path: Path) -> None:
    postgres.create("figures", 50)
    repository = erpgo_dr.Repository.init(str(tmp_path / "repository"), programs=[postgres.programs], **QUICK)
    figures = [erpgo_dr.Figure(name="orders", database="figures", query="SELECT count(*) FROM orders", max_change=0.1)]
    report = repository.backup(postgres.url("figures"), figures=figures)
    contents = repository.show(report.id).manifest.contents
    assert [(one.name, one.value) for one in contents.databases[0].figures] == [("orders", "50")]
    postgres.sql("DELETE FROM orders WHERE id <= 10", "figures")
    compared = repository.check_figures(postgres.url("figures"), figures)["figures"][0]
    assert (compared["now"], compared["earlier"][0]["value"], compared["change"]) == ("40", "50", -0.2)
    assert "-20.0 %" in compared["finding"]


def test_asyncio(postgres: Postgres, tmp_path: Path) -> None:
    asyncio.run(_backup(postgres, tmp_path / "repository"))


async def _cancelled(server: Postgres, place: Path) -> None:
    repository = await erpgo_dr.aio.Repository.init(str(place), programs=[server.programs], **QUICK)
    begun = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_backup_start%' AND pid <> pg_backend_pid()"
    # The server takes minutes for the checkpoint of what is dirty.
    task = asyncio.create_task(repository.backup_cluster(server.url(), fast_checkpoint=False))
    await asyncio.sleep(0)
    wait("the beginning of a backup", lambda: server.sql(begun) != "0")
    task.cancel()
    done, _ = await asyncio.wait([task], timeout=60)
    assert done == {task} and task.cancelled()
    assert await repository.list() == []
    assert (await repository.backup_cluster(server.url())).is_complete


def test_a_cancelled_backup_ends(postgres: Postgres, tmp_path: Path) -> None:
    postgres.create("dirty", 20_000)
    asyncio.run(_cancelled(postgres, tmp_path / "repository"))


def test_wal_goes_there_and_comes_back(
    archiving: Archiving, repository: erpgo_dr.Repository, tmp_path: Path
) -> None:
    first, second, third = archiving.archived(3)
    with pytest.raises(erpgo_dr.InvalidError):
        # Of which cluster nothing says.
        repository.wal_fetch(first.name, tmp_path / "fetched")
    with pytest.raises(erpgo_dr.NotFoundError):
        repository.wal_fetch(first.name, tmp_path / "fetched", system=1)
    pushed = repository.wal_push(first)
    assert (pushed.name, pushed.outcome, pushed.bytes, pushed.ahead) == (first.name, "archived", SEGMENT, ())
    assert pushed.is_complete and 0 < pushed.stored_bytes < SEGMENT
    assert repository.wal_push(str(first), system=pushed.system_identifier).outcome == "identical"
    fetched = repository.wal_fetch(first.name, tmp_path / "fetched")
    assert fetched.found and fetched.bytes == SEGMENT
    assert (tmp_path / "fetched").read_bytes() == first.read_bytes()
    absent = repository.wal_fetch(second.name, tmp_path / "absent")
    assert not absent.found and not (tmp_path / "absent").exists()

    repository.wal_push(third)
    gap = repository.wal_check()
    (timeline,) = gap.clusters[0].timelines
    assert not gap.is_healthy and second.name in gap.findings[0] and gap.server is None and gap.lag_bytes is None
    assert timeline.gaps == (erpgo_dr.WalSegments(first=second.name, last=second.name, segments=1),)
    assert [piece.first for piece in timeline.ranges] == [first.name, third.name] and timeline.segments == 2
    assert timeline.newest_archived is not None
    assert timedelta() <= datetime.now(timezone.utc) - timeline.newest_archived < timedelta(minutes=10)
    repository.wal_push(second)
    assert repository.wal_check(verify=True).verified == 3 and repository.wal_check().is_healthy
    # No backup of this cluster is here, so all of its log stays.
    assert repository.wal_prune().clusters == ()

    changed = bytearray(second.read_bytes())
    changed[-1] ^= 1
    (tmp_path / "pg_wal").mkdir()
    (tmp_path / "pg_wal" / second.name).write_bytes(changed)
    with pytest.raises(erpgo_dr.ErpgoDrError) as caught:
        repository.wal_push(tmp_path / "pg_wal" / second.name)
    assert caught.value.kind == "already-exists" and second.name in str(caught.value)


def test_what_is_ready_goes_along(archiving: Archiving, repository: erpgo_dr.Repository, tmp_path: Path) -> None:
    folder, spool = tmp_path / "pg_wal", tmp_path / "spool"
    (folder / "archive_status").mkdir(parents=True)
    first, second, third = (Path(shutil.copy(path, folder)) for path in archiving.archived(3))
    for path in (first, second, third):
        (folder / "archive_status" / f"{path.name}.ready").touch()
    pushed = repository.wal_push(first, spool=spool)
    assert pushed.outcome == "archived" and pushed.ahead == (second.name, third.name) and pushed.ahead_error is None
    (folder / "archive_status" / f"{first.name}.ready").unlink()
    assert repository.wal_push(second, spool=spool).outcome == "pushed-ahead"
    assert repository.wal_list()[0].timelines[0].segments == 3


def test_errors(repository: erpgo_dr.Repository, postgres: Postgres, tmp_path: Path) -> None:
    target, url = tmp_path / "restored", "postgresql:///x?host=/nowhere&user=postgres"
    wrong: list[Any] = [
        lambda: repository.backup_cluster(url, changes="some"),  # type: ignore[arg-type]
        lambda: repository.restore_cluster(target, "no id"),
        lambda: repository.restore_cluster(target, target_lsn="nowhere"),
        lambda: repository.restore_cluster(target, target_xid=1, immediate=True),
        lambda: repository.restore_cluster(target, target_time=datetime(2026, 1, 1)),
        lambda: repository.restore_cluster(target, timeline=0),
        lambda: repository.restore_cluster(target, timeline="newest"),  # type: ignore[arg-type]
        lambda: repository.restore_cluster(target, action="wait"),  # type: ignore[arg-type]
        lambda: repository.wal_fetch("nonsense", target),
    ]
    for call in wrong:
        with pytest.raises(erpgo_dr.InvalidError):
            call()
    assert not target.exists()
    with pytest.raises(erpgo_dr.InputOutputError):
        repository.wal_push(tmp_path / "nonsense")
    for call in (lambda: repository.backup_cluster(url), lambda: repository.wal_check(url)):
        with pytest.raises(erpgo_dr.UnavailableError):
            call()
    with pytest.raises(erpgo_dr.ErpgoDrError) as caught:
        repository.backup_cluster(postgres.url(), data_directory=tmp_path)
    assert "pg_control" in str(caught.value) or str(tmp_path) in str(caught.value)
    made = repository.backup_cluster(postgres.url(), verify=None)
    yesterday = datetime.now(timezone.utc) - timedelta(days=1)
    early: list[Any] = [{"backup": UNKNOWN}, {"target_lsn": "0/1"}, {"target_time": yesterday}]
    for options in early:
        with pytest.raises(erpgo_dr.NotFoundError):
            repository.restore_cluster(target, **options)
    locked = erpgo_dr.Repository.open(str(tmp_path / "repository"))
    with pytest.raises(erpgo_dr.LockedError):
        locked.restore_cluster(target, made.id)
    assert not target.exists()


def test_the_log_is_received_as_it_is_written(archiving: Archiving, tmp_path: Path) -> None:
    server, repository = archiving.server, archiving.repository
    server.sql("CREATE TABLE streamed AS SELECT generate_series(1, 1000) AS n")
    until = server.sql("SELECT pg_current_wal_lsn()")
    # Neither a slot nor a segment that is whole is needed.
    report = repository.wal_stream(server.url(), tmp_path / "incoming", until=until)
    assert report.is_complete and report.archived is not None and report.connections == 1
    tail = repository.wal_list()[0].timelines[0].tail_end
    assert tail is None or tail == report.archived

    asked: list[None] = []

    def stop() -> bool:
        asked.append(None)
        return len(asked) > 1

    stopped = repository.wal_stream(server.url(), tmp_path / "incoming", slot="erpgo", create_slot=True, stop=stop)
    assert stopped.is_complete and len(asked) == 2
    with pytest.raises(erpgo_dr.NotFoundError):
        repository.wal_stream(server.url(), tmp_path / "incoming", slot="missing", until=until)
    with pytest.raises(erpgo_dr.InvalidError):
        repository.wal_stream(server.url(), tmp_path / "incoming", until="nowhere")


async def _stream_cancelled(archiving: Archiving, folder: Path) -> None:
    place = str(archiving.server.folder.parent / "archiving" / "place")
    repository = await erpgo_dr.aio.Repository.open(place, passphrase=PASSPHRASE)
    task = asyncio.create_task(repository.wal_stream(archiving.server.url(), folder))
    streaming = "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'"
    for _ in range(1200):
        if archiving.server.sql(streaming) == "1":
            break
        await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    wait("the server sees it go", lambda: archiving.server.sql(streaming) == "0", 60)


def test_a_stream_ends_with_its_task(archiving: Archiving, tmp_path: Path) -> None:
    asyncio.run(_stream_cancelled(archiving, tmp_path / "incoming"))
