"""One hierarchy of exceptions, which say what to do."""

from __future__ import annotations

import pickle
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

import erpgo_dr
from conftest import PASSPHRASE, QUICK, Postgres


def test_each_kind_is_a_class_of_one_hierarchy() -> None:
    kinds = [getattr(erpgo_dr, name) for name in erpgo_dr.__all__ if name.endswith("Error")]
    assert len(kinds) == 14 and all(issubclass(kind, erpgo_dr.ErpgoDrError) for kind in kinds)
    assert all(kind.__module__ == "erpgo_dr" and kind.__doc__ for kind in kinds)


def test_what_is_not_there(tmp_path: Path, repository: erpgo_dr.Repository) -> None:
    with pytest.raises(erpgo_dr.NotFoundError) as caught:
        erpgo_dr.Repository.open(str(tmp_path / "nowhere"))
    assert (caught.value.kind, caught.value.retryable, caught.value.causes) == ("not-found", False, ())
    assert isinstance(caught.value, LookupError) and "nowhere" in str(caught.value)
    for backup in ("latest", "latest-proven", "20260102T030405Z-00000000"):
        with pytest.raises(erpgo_dr.NotFoundError):
            repository.show(backup)
    with pytest.raises(erpgo_dr.AlreadyExistsError):
        erpgo_dr.Repository.init(str(tmp_path / "repository"), **QUICK)


def test_arguments_are_checked_before_anything_is_done(repository: erpgo_dr.Repository) -> None:
    wrong: list[Any] = [
        lambda: repository.show("no id"),
        lambda: repository.backup("keyword='value'"),
        lambda: repository.backup("host=x", codec="lzma"),
        lambda: repository.backup("host=x", scope="everything"),  # type: ignore[arg-type]
        lambda: repository.backup("host=x", databases=["a"], all_databases=True),
        lambda: repository.restore("latest", "host=x", tables=["no_schema"]),
        lambda: repository.show(datetime(2026, 1, 1)),
        lambda: repository.repair(),
        lambda: repository.add_slot("Not A Name", passphrase="x"),
        lambda: erpgo_dr.Repository.open("ftp://x"),
        lambda: erpgo_dr.Repository.open("s3://x", storage_options={"account": "unknown here"}),
        lambda: erpgo_dr.Repository.init("/nowhere"),
    ]
    for call in wrong:
        with pytest.raises(erpgo_dr.InvalidError) as caught:
            call()
        assert isinstance(caught.value, ValueError) and caught.value.kind == "invalid"
    with pytest.raises(TypeError):
        repository.backup(5)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        erpgo_dr.Repository()


def test_servers_and_keys(postgres: Postgres, repository: erpgo_dr.Repository, tmp_path: Path) -> None:
    with pytest.raises(erpgo_dr.UnavailableError) as caught:
        repository.backup("postgresql:///x?host=/nowhere&user=postgres")
    assert caught.value.retryable and caught.value.causes and caught.value.causes[-1] in str(caught.value)
    with pytest.raises(erpgo_dr.LockedError):
        erpgo_dr.Repository.open(str(tmp_path / "repository"), passphrase="wrong")
    locked = erpgo_dr.Repository.open(str(tmp_path / "repository"), programs=[postgres.programs])
    with pytest.raises(erpgo_dr.LockedError):
        locked.backup(postgres.url("erp"))
    with pytest.raises(erpgo_dr.NotFoundError):
        repository.backup(postgres.url("erp"), databases=["missing"])


def test_secrets_are_not_shown() -> None:
    connection = erpgo_dr.Connection("db", port=5433, user="u", password="hunter2", database="erp", connect_timeout=3)
    assert "hunter2" not in repr(connection) and "u@db:5433/erp" in repr(connection)
    assert erpgo_dr.Connection.parse("postgresql://u:hunter2@db").user == "u"
    with pytest.raises(erpgo_dr.InvalidError) as caught:
        erpgo_dr.Connection.parse("postgresql://u:hunter2@db:port")
    assert "hunter2" not in str(caught.value)
    with pytest.raises(erpgo_dr.InvalidError) as caught:
        erpgo_dr.Repository.open("az://x", storage_options={"secret_key": "hunter2"})
    assert "hunter2" not in str(caught.value) and PASSPHRASE not in str(caught.value)


def test_exceptions_can_be_pickled() -> None:
    error = erpgo_dr.BusyError("busy", kind="busy", retryable=True, causes=("a", "b"))
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), again.kind, again.retryable, str(again)) == (erpgo_dr.BusyError, "busy", True, "busy: a: b")
