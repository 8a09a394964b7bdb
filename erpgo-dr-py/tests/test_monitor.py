"""What is known, for those who watch."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

import erpgo_dr
import erpgo_dr.aio
import pytest
from conftest import Postgres


def test_all_that_is_known_is_told(postgres: Postgres, repository: erpgo_dr.Repository, tmp_path: Path) -> None:
    backup = repository.backup(postgres.url("erp"))
    facts = repository.observe(postgres.url("erp"), rpo=timedelta(minutes=5), folders=[tmp_path])
    assert isinstance(facts, dict) and facts["problems"] == []
    assert [one["id"] for one in facts["backups"]] == [backup.id]
    assert facts["objectives"]["rpo_objective_seconds"] == 300 and facts["disks"][0]["free_bytes"] > 0
    metrics = repository.observe(form="metrics")
    assert isinstance(metrics, str) and "\nerpgo_dr_healthy 1.0\n" in metrics
    page = repository.observe(form="html")
    assert isinstance(page, str) and "One could restore right now." in page
    with pytest.raises(erpgo_dr.InvalidError, match="form"):
        repository.observe(form="picture")  # type: ignore[arg-type]


def test_the_same_for_asyncio(tmp_path: Path) -> None:
    async def go() -> None:
        repository = await erpgo_dr.aio.Repository.init(str(tmp_path / "r"), passphrase="x", work_factor=1)
        facts = await repository.observe()
        assert isinstance(facts, dict) and facts["backups"] == []

    asyncio.run(go())
