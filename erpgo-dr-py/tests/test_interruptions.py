"""Callbacks that raise, Ctrl-C, cancelled tasks: the exception arrives, and the repository is as it was."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import erpgo_dr
import erpgo_dr.aio
from conftest import PASSPHRASE, QUICK, Postgres


class Enough(Exception):
    """Not one of the library's."""


DATABASES = ["large", "waits"]


@pytest.fixture(scope="module")
def held(postgres: Postgres) -> Iterator[str]:
    """A backup of DATABASES that writes much, and then waits for a lock until it is interrupted."""
    postgres.create("large", 100_000)
    postgres.create("waits", 1)
    command = [str(postgres.programs / "psql"), "-XAtq", "-d", postgres.url("waits")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as session:
        assert session.stdin is not None and session.stdout is not None
        session.stdin.write("BEGIN; LOCK TABLE orders; SELECT 'locked';\n")
        session.stdin.flush()
        assert session.stdout.readline() == "locked\n"
        yield postgres.url("large")
        session.stdin.close()


def _objects(place: Path) -> set[str]:
    folders = (place / "dumps", place / "backups", place / "state" / "leases")
    return {str(path) for folder in folders for path in folder.rglob("*") if path.is_file()}


def _raise_midway(phase: str, done: int, total: int | None) -> None:
    if done > 1_000_000:
        raise Enough


def test_an_exception_of_a_callback_ends_a_backup(
    held: str, postgres: Postgres, repository: erpgo_dr.Repository, tmp_path: Path
) -> None:
    with pytest.raises(Enough):
        repository.backup(held, databases=DATABASES, progress=_raise_midway)
    assert repository.list() == [] and _objects(tmp_path / "repository") == set()
    assert repository.backup(postgres.url("erp")).is_complete


def test_callbacks_run_in_the_calling_thread(postgres: Postgres, repository: erpgo_dr.Repository) -> None:
    threads = set()

    def progress(phase: str, done: int, total: int | None) -> None:
        threads.add(threading.current_thread())

    repository.backup(postgres.url("erp"), progress=progress)
    assert threads == {threading.main_thread()}


def test_other_threads_go_on_meanwhile(postgres: Postgres, repository: erpgo_dr.Repository) -> None:
    postgres.create("locked", 1)
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = 'locked' AND wait_event_type = 'Lock'"
    released = threading.Event()

    # The backup waits for a lock that only the other thread lets go of, once it has seen the backup wait. Where the
    # call keeps the interpreter to itself, the server ends the lock, and nobody has released it.
    with subprocess.Popen([postgres.programs / "psql", "-XAtq", "-d", postgres.url("locked")], stdin=-1, stdout=-1, text=True) as session:
        assert session.stdin is not None and session.stdout is not None
        session.stdin.write("SET idle_in_transaction_session_timeout = '20s'; BEGIN; LOCK TABLE orders; SELECT 'locked';\n")
        session.stdin.flush()
        assert session.stdout.readline() == "locked\n"

        def release() -> None:
            while postgres.sql(waiting) == "0":
                time.sleep(0.05)
            released.set()
            assert session.stdin is not None
            session.stdin.close()

        thread = threading.Thread(target=release, daemon=True)
        thread.start()
        # Without a callback: nothing but letting go of the interpreter lets the other thread run.
        assert repository.backup(postgres.url("locked"), verify=None).is_complete
        assert released.is_set()
        thread.join()


def test_ctrl_c_ends_a_backup(held: str, postgres: Postgres, tmp_path: Path) -> None:
    place = tmp_path / "repository"
    erpgo_dr.Repository.init(str(place), **QUICK)
    script = f"""
import erpgo_dr
repository = erpgo_dr.Repository.open({str(place)!r}, passphrase={PASSPHRASE!r}, programs=[{str(postgres.programs)!r}])
said = []
def progress(phase, done, total):
    if done > 1_000_000 and not said:
        said.append(print("midway", flush=True))
try:
    repository.backup({held!r}, databases={DATABASES!r}, progress=progress)
except KeyboardInterrupt:
    print("interrupted", flush=True)
    raise SystemExit(7)
"""
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "midway\n"
        process.send_signal(signal.SIGINT)
        assert process.stdout.read() == "interrupted\n"
        assert process.wait(timeout=30) == 7
    assert _objects(place) == set()
    repository = erpgo_dr.Repository.open(str(place), passphrase=PASSPHRASE, programs=[postgres.programs])
    assert repository.list() == [] and repository.verify().passed
    assert repository.backup(postgres.url("erp")).is_complete


def test_a_cancelled_task_cleans_up_before_it_ends(held: str, postgres: Postgres, tmp_path: Path) -> None:
    place = tmp_path / "repository"

    async def main() -> None:
        repository = await erpgo_dr.aio.Repository.init(str(place), programs=[postgres.programs], **QUICK)
        midway = asyncio.Event()

        def progress(phase: str, done: int, total: int | None) -> None:
            if done > 1_000_000:
                midway.set()

        task = asyncio.create_task(repository.backup(held, databases=DATABASES, progress=progress))
        await midway.wait()
        assert _objects(place)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert _objects(place) == set()
        with pytest.raises(Enough):
            await repository.backup(held, databases=DATABASES, progress=_raise_midway)
        assert await repository.list() == [] and _objects(place) == set()

    asyncio.run(main())


def test_ctrl_c_in_a_read_arrives_unchanged() -> None:
    class Source:
        def read(self, size: int) -> bytes:
            os.kill(os.getpid(), signal.SIGINT)
            return b"x" * size

    class Target:
        def write(self, data: bytes) -> None:
            pass

    with pytest.raises(KeyboardInterrupt):
        erpgo_dr.encrypt(Source(), Target(), key=erpgo_dr.FileKey.generate())
