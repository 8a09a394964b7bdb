"""Encrypting and decrypting file-like objects, in our format and in openssl's."""

from __future__ import annotations

import asyncio
import io
import os
import random
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

import erpgo_dr
import erpgo_dr.aio
from conftest import QUICK

PLAIN = random.Random(1).randbytes(3_000_000) + b"erp" * 1_000_000
KEY = erpgo_dr.FileKey.generate()


class ShortReads:
    """Gives less than it is asked for, in other types than bytes."""

    def __init__(self, data: bytes) -> None:
        self.file, self.random = io.BytesIO(data), random.Random(2)

    def read(self, size: int) -> bytes | bytearray | memoryview:
        data = self.file.read(self.random.randint(1, size))
        return (data, bytearray(data), memoryview(data))[self.random.randrange(3)]


class ShortWrites:
    """Takes less than it is given, and says so."""

    def __init__(self) -> None:
        self.data, self.random = bytearray(), random.Random(3)

    def write(self, data: bytes) -> int:
        taken = data[: self.random.randint(1, len(data))]
        self.data += taken
        return len(taken)


def _sealed(**options: Any) -> bytes:
    target = io.BytesIO()
    erpgo_dr.encrypt(io.BytesIO(PLAIN), target, key=KEY, **options)
    return target.getvalue()


@pytest.mark.parametrize("codec", ["zstd:3", "gzip", "none"])
def test_round_trip_with_short_reads_and_writes(codec: str) -> None:
    sealed, opened = ShortWrites(), ShortWrites()
    report = erpgo_dr.encrypt(ShortReads(PLAIN), sealed, key=KEY, name="a file", codec=codec)
    assert (report.plaintext_bytes, report.stored_bytes) == (len(PLAIN), len(sealed.data))
    back = erpgo_dr.decrypt(ShortReads(bytes(sealed.data)), opened, key=KEY, name="a file")
    assert opened.data == PLAIN and back == report


def test_nothing_that_was_altered_comes_out() -> None:
    sealed = _sealed(name="a")
    flipped = bytearray(sealed)
    flipped[len(sealed) // 2] ^= 1
    for damaged in (bytes(flipped), sealed[:-1], sealed[: len(sealed) // 2], sealed + b"x"):
        target = io.BytesIO()
        with pytest.raises(erpgo_dr.IntegrityError):
            erpgo_dr.decrypt(io.BytesIO(damaged), target, key=KEY, name="a")
        assert PLAIN.startswith(target.getvalue())
    with pytest.raises(erpgo_dr.IntegrityError):
        erpgo_dr.decrypt(io.BytesIO(sealed), io.BytesIO(), key=KEY, name="b")
    with pytest.raises(erpgo_dr.LockedError):
        erpgo_dr.decrypt(io.BytesIO(sealed), io.BytesIO(), key=erpgo_dr.FileKey.generate(), name="a")


def test_exceptions_of_files_arrive_unchanged() -> None:
    error = ZeroDivisionError("mine")

    class Broken:
        def read(self, size: int) -> bytes:
            raise error

        def write(self, data: bytes) -> int:
            raise error

    for source, target in ((Broken(), io.BytesIO()), (io.BytesIO(PLAIN), Broken())):
        with pytest.raises(ZeroDivisionError) as caught:
            erpgo_dr.encrypt(source, target, key=KEY)
        assert caught.value is error
    with pytest.raises(ZeroDivisionError) as caught:
        erpgo_dr.decrypt(io.BytesIO(_sealed()), Broken(), key=KEY)
    assert caught.value is error
    with pytest.raises(TypeError):
        erpgo_dr.encrypt(io.StringIO("text"), io.BytesIO(), key=KEY)  # type: ignore[arg-type]
    with pytest.raises(AttributeError):
        erpgo_dr.encrypt(object(), io.BytesIO(), key=KEY)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        erpgo_dr.encrypt(io.BytesIO(), io.BytesIO(), key="secret")  # type: ignore[arg-type]


def test_memory_is_bounded() -> None:
    script = """
import erpgo_dr
class Source:
    left = 600
    def read(self, size):
        self.left -= 1
        return bytes(1 << 20) if self.left >= 0 else b""
class Target:
    def write(self, data): pass
erpgo_dr.encrypt(Source(), Target(), key=erpgo_dr.FileKey.generate(), codec="none")
# Not ru_maxrss, which begins with the memory of the process that forked.
(peak,) = (line for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(int(peak.split()[1]) // 1024)
"""
    run = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert int(run.stdout) < 150


def test_a_key_is_wrapped_and_unwrapped() -> None:
    person = erpgo_dr.generate_identity()
    wrapped = erpgo_dr.wrap_key(KEY, recipients=[person.recipient])
    key = erpgo_dr.unwrap_key(KEY.id, wrapped, identity=person.secret)
    target = io.BytesIO()
    erpgo_dr.decrypt(io.BytesIO(_sealed()), target, key=key)
    assert target.getvalue() == PLAIN
    with pytest.raises(erpgo_dr.LockedError):
        erpgo_dr.unwrap_key(KEY.id, wrapped, identity=erpgo_dr.generate_identity().secret)
    with pytest.raises(erpgo_dr.InvalidError):
        erpgo_dr.wrap_key(KEY)


def test_a_repository_is_a_key(tmp_path: Path) -> None:
    repository = erpgo_dr.Repository.init(str(tmp_path), **QUICK)
    sealed, opened = io.BytesIO(), io.BytesIO()
    erpgo_dr.encrypt(io.BytesIO(PLAIN), sealed, key=repository)
    sealed.seek(0)
    with pytest.raises(erpgo_dr.LockedError):
        erpgo_dr.decrypt(sealed, opened, key=erpgo_dr.Repository.open(str(tmp_path)))
    sealed.seek(0)
    erpgo_dr.decrypt(sealed, opened, key=repository)
    assert opened.getvalue() == PLAIN


def test_files_of_asyncio_are_called_in_a_thread() -> None:
    threads, sealed, opened = set(), io.BytesIO(), io.BytesIO()

    class Source(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            threads.add(threading.current_thread() is threading.main_thread())
            return super().read(size)

    async def main() -> None:
        await erpgo_dr.aio.encrypt(Source(PLAIN), sealed, key=KEY)
        sealed.seek(0)
        await erpgo_dr.aio.decrypt(sealed, opened, key=KEY)

    asyncio.run(main())
    assert opened.getvalue() == PLAIN and threads == {False}


KDFS: list[tuple[Any, list[str], int | None]] = [
    ("pbkdf2", ["-pbkdf2"], None),
    ("pbkdf2", ["-pbkdf2", "-iter", "77"], 77),
    ("sha256", ["-md", "sha256"], None),
    ("md5", ["-md", "md5"], None),
]


def _openssl(*arguments: str, data: bytes) -> bytes:
    command = ["openssl", "enc", "-aes-256-cbc", "-pass", "env:SECRET", *arguments]
    environment = {**os.environ, "SECRET": "hunter2"}
    return subprocess.run(command, input=data, check=True, capture_output=True, env=environment).stdout


@pytest.mark.parametrize(("kdf", "flags", "iterations"), KDFS)
def test_openssl_reads_ours_and_we_read_its(kdf: Any, flags: list[str], iterations: int | None) -> None:
    ours = ShortWrites()
    erpgo_dr.openssl_encrypt_unauthenticated(ShortReads(PLAIN), ours, "hunter2", kdf=kdf, iterations=iterations)
    assert _openssl("-d", *flags, data=bytes(ours.data)) == PLAIN
    theirs, opened = _openssl("-salt", *flags, data=PLAIN), ShortWrites()
    erpgo_dr.openssl_decrypt_unauthenticated(ShortReads(theirs), opened, "hunter2", kdf=kdf, iterations=iterations)
    assert opened.data == PLAIN


def test_the_derivation_of_openssl_is_found_out() -> None:
    sql, opened = b"-- PostgreSQL database dump\nSELECT 1;\n" * 50, io.BytesIO()
    sealed = _openssl("-md", "md5", data=b"--\n" + sql)
    erpgo_dr.openssl_decrypt_unauthenticated(io.BytesIO(sealed), opened, "hunter2")
    assert opened.getvalue() == b"--\n" + sql
    with pytest.raises(erpgo_dr.LockedError):
        erpgo_dr.openssl_decrypt_unauthenticated(io.BytesIO(sealed), io.BytesIO(), "wrong")
    with pytest.raises(erpgo_dr.IntegrityError):
        erpgo_dr.openssl_decrypt_unauthenticated(io.BytesIO(sealed[:-3]), io.BytesIO(), "hunter2", kdf="md5")
