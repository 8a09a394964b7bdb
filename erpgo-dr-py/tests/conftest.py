"""Real servers for the tests. A server that is missing is an error: no test is skipped."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import erpgo_dr

ROOT = Path(__file__).resolve().parents[2]
PASSPHRASE = "correct horse battery staple"
# scrypt at its least work: these are no secrets.
QUICK: dict[str, Any] = {"passphrase": PASSPHRASE, "work_factor": 1}


def _environment() -> dict[str, str]:
    text = subprocess.run([ROOT / "scripts/env"], check=True, capture_output=True, text=True).stdout
    pairs = (line.split("=", 1) for line in text.splitlines())
    return {name: "".join(shlex.split(value)) for name, value in pairs}


ENVIRONMENT = _environment()


def wait(what: str, ready: Callable[[], bool], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < end, f"{what} does not come up"
        time.sleep(0.05)


@dataclass(frozen=True)
class Postgres:
    """A server of our own, behind a socket."""

    programs: Path
    folder: Path

    def url(self, database: str = "postgres") -> str:
        return f"postgresql:///{database}?host={self.folder}&user=postgres"

    def sql(self, text: str, database: str = "postgres") -> str:
        command = [str(self.programs / "psql"), "-XAtq", "-v", "ON_ERROR_STOP=1", "-d", self.url(database), "-c", text]
        environment = {"PATH": "/usr/bin:/bin", "LC_ALL": "C"}
        return subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout.strip()

    def create(self, database: str, rows: int) -> None:
        self.sql(f"CREATE DATABASE {database}")
        fill = "SELECT n, n * 1.25, md5(n::text) || md5((n + 1)::text)"
        table = "CREATE TABLE orders (id int PRIMARY KEY, amount numeric, note text)"
        self.sql(f"{table}; INSERT INTO orders {fill} FROM generate_series(1, {rows}) AS n", database)


@pytest.fixture(scope="session")
def scratch() -> Iterator[Path]:
    """A folder that the account postgres can enter, with a path short enough for a socket."""
    folder = Path(tempfile.mkdtemp(prefix="edr-", dir="/tmp"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def programs() -> Path:
    """The folder of PostgreSQL 17's programs."""
    found = Path(ENVIRONMENT["POSTGRES_17_BIN"])
    assert (found / "postgres").exists(), "PostgreSQL 17 is missing: run scripts/setup"
    return found


def unprivileged(folder: Path) -> dict[str, Any]:
    """How PostgreSQL's programs run: never as root."""
    account = {"user": "postgres", "group": "postgres", "extra_groups": []} if os.geteuid() == 0 else {}
    return {"cwd": folder, "stdout": subprocess.DEVNULL, **account}


def give_to_postgres(folder: Path) -> None:
    """Lets the account of the servers own a folder and all that is in it."""
    if os.geteuid() == 0:
        for path in (folder, *folder.rglob("*")):
            shutil.chown(path, "postgres", "postgres")


def make_cluster(folder: Path) -> Path:
    """Makes a folder, and a data directory in it."""
    folder.mkdir()
    give_to_postgres(folder)
    data = folder / "data"
    initdb = [str(programs() / "initdb"), "-D", str(data), "-U", "postgres", "-A", "trust", "--no-sync"]
    subprocess.run([*initdb, "-E", "UTF8", "--locale=C"], check=True, **unprivileged(folder))
    return data


@contextlib.contextmanager
def serve(data: Path, **settings: str) -> Iterator[Postgres]:
    """Runs a server on a data directory, with its socket in the folder around it."""
    folder = data.parent
    options = {"listen_addresses": "", "unix_socket_directories": str(folder), "fsync": "off", **settings}
    command = [str(programs() / "postgres"), "-D", str(data)]
    command += [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
    with folder.with_suffix(".log").open("a") as log:
        server = subprocess.Popen(command, stderr=log, **unprivileged(folder))
    try:
        ready = [str(programs() / "pg_isready"), "-q", "-h", str(folder)]
        wait("PostgreSQL", lambda: subprocess.run(ready).returncode == 0)
        yield Postgres(programs(), folder)
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(timeout=20)


@pytest.fixture(scope="session")
def postgres(scratch: Path) -> Iterator[Postgres]:
    with serve(make_cluster(scratch / "pg")) as made:
        made.create("erp", 20_000)
        yield made


def ports(count: int) -> list[int]:
    """Takes free ports of which 10000 more is a port too."""
    found: list[int] = []
    for port in range(15_000 + os.getpid() % 4_000, 40_000):
        with socket.socket() as one, socket.socket() as other:
            try:
                one.bind(("127.0.0.1", port))
                other.bind(("127.0.0.1", port + 10_000))
            except OSError:
                continue
        found.append(port)
        if len(found) == count:
            return found
    raise AssertionError("no free ports")


@dataclass(frozen=True)
class S3:
    """An S3 server with a bucket."""

    endpoint: str

    def options(self) -> Any:
        return {"endpoint": self.endpoint, "region": "us-east-1", "access_key": "AK", "secret_key": "SK"}


@pytest.fixture(scope="session")
def s3(scratch: Path) -> Iterator[S3]:
    weed = ENVIRONMENT["WEED"]
    assert weed, "SeaweedFS is missing: run scripts/setup"
    master, volume, filer, port, admin = ports(5)
    folder = scratch / "weed"
    folder.mkdir()
    command = [weed, "-logtostderr", "mini", "-master.telemetry=false", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"]
    command += ["-webdav=false", "-admin.ui=false", "-s3.port.iceberg=0", "-s3.port.lance=0", f"-dir={folder}"]
    command += [f"-master.port={master}", f"-volume.port={volume}", f"-filer.port={filer}", f"-s3.port={port}"]
    command += [f"-admin.port={admin}"]
    environment = {**os.environ, "AWS_ACCESS_KEY_ID": "AK", "AWS_SECRET_ACCESS_KEY": "SK"}
    with (scratch / "weed.log").open("w") as log:
        server = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)

    def answers(method: str, url: str, data: bytes | None = None) -> bool:
        try:
            with urllib.request.urlopen(urllib.request.Request(url, data, method=method), timeout=5) as answer:
                return int(answer.status) < 300
        except OSError:
            return False

    try:
        wait("SeaweedFS", lambda: answers("GET", f"http://127.0.0.1:{port}/healthz"))
        wait("SeaweedFS", lambda: answers("PUT", f"http://127.0.0.1:{filer}/ready", b"x"))
        assert answers("POST", f"http://127.0.0.1:{filer}/buckets/backups/")
        yield S3(f"http://127.0.0.1:{port}")
    finally:
        # After SIGTERM it takes up to 16 seconds, and nobody needs its data.
        server.kill()
        server.wait()
        # It makes sockets there whatever TMPDIR says, and a kill leaves them.
        for number in (master, volume, filer, port, admin):
            for twin in (number, number + 10_000):
                for left in Path("/tmp").glob(f"seaweedfs-*-{twin}.sock"):
                    left.unlink(missing_ok=True)


@pytest.fixture
def repository(postgres: Postgres, tmp_path: Path) -> erpgo_dr.Repository:
    return erpgo_dr.Repository.init(str(tmp_path / "repository"), programs=[postgres.programs], **QUICK)
