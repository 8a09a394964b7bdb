"""Callbacks that raise, Ctrl-C, cancelled tasks: the exception arrives, and the repository is as it was."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import erpgo_dr
import erpgo_dr.aio
from conftest import PASSPHRASE, QUICK, Postgres


class Enough(Exception):
    """Not one of the library's."""


@pytest.fixture(scope="module", autouse=True)
def large(postgres: Postgres) -> None:
    postgres.create("large", 400_000)


def _objects(place: Path) -> set[str]:
    folders = (place / "dumps", place / "backups", place / "state" / "leases")
    return {str(path) for folder in folders for path in folder.rglob("*") if path.is_file()}


def _raise_midway(phase: str, done: int, total: int | None) -> None:
    if done > 1_000_000:
        raise Enough


def test_an_exception_of_a_callback_ends_a_backup(
    postgres: Postgres, repository: erpgo_dr.Repository, tmp_path: Path
) -> None:
    with pytest.raises(Enough):
        repository.backup(postgres.url("large"), progress=_raise_midway)
    assert repository.list() == [] and _objects(tmp_path / "repository") == set()
    assert repository.backup(postgres.url("erp")).is_complete


def test_callbacks_run_in_the_calling_thread_while_others_go_on(
    postgres: Postgres, repository: erpgo_dr.Repository
) -> None:
    threads, counts, stop = set(), [0], threading.Event()

    def count() -> None:
        while not stop.is_set():
            counts[0] += 1

    def progress(phase: str, done: int, total: int | None) -> None:
        threads.add(threading.current_thread())

    counter = threading.Thread(target=count)
    before = 0
    try:
        counter.start()
        before = counts[0]
        repository.backup(postgres.url("large"), verify=None, progress=progress)
        during = counts[0] - before
    finally:
        stop.set()
        counter.join()
    assert threads == {threading.main_thread()}
    # A call that held the interpreter would let the other thread count a few times between callbacks at most.
    assert during > 100_000


def test_ctrl_c_ends_a_backup(postgres: Postgres, tmp_path: Path) -> None:
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
    repository.backup({postgres.url("large")!r}, progress=progress)
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


def test_a_cancelled_task_cleans_up_before_it_ends(postgres: Postgres, tmp_path: Path) -> None:
    place = tmp_path / "repository"

    async def main() -> None:
        repository = await erpgo_dr.aio.Repository.init(str(place), programs=[postgres.programs], **QUICK)
        midway = asyncio.Event()

        def progress(phase: str, done: int, total: int | None) -> None:
            if done > 1_000_000:
                midway.set()

        task = asyncio.create_task(repository.backup(postgres.url("large"), progress=progress))
        await midway.wait()
        assert _objects(place)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert _objects(place) == set()
        with pytest.raises(Enough):
            await repository.backup(postgres.url("large"), progress=_raise_midway)
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
