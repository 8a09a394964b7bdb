"""What the agent did, as Python reads it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import erpgo_dr
import erpgo_dr.aio
import pytest


def test_a_repository_without_an_agent_has_no_history(repository: erpgo_dr.Repository) -> None:
    assert repository.history() == []
    summary, text = repository.summary(days=3), repository.summary(form="text")
    assert isinstance(summary, dict) and summary["jobs"] == [] and summary["status"]["latest_proven"] is None
    assert isinstance(text, str) and "NO PROVEN BACKUP" in text
    assert repository.history("backup", limit=3) == []
    with pytest.raises(erpgo_dr.InvalidError, match="Not A Job"):
        repository.history("Not A Job")


def test_the_same_for_asyncio(tmp_path: Path) -> None:
    async def go() -> None:
        repository = await erpgo_dr.aio.Repository.init(str(tmp_path / "r"), passphrase="x", work_factor=1)
        assert await repository.history() == []

    asyncio.run(go())
