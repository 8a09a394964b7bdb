"""Drills: done, written down, and what they predict."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

import erpgo_dr
import erpgo_dr.aio
import pytest
from conftest import Postgres


def test_a_drill_is_scored_and_kept(postgres: Postgres, repository: erpgo_dr.Repository, scratch: Path) -> None:
    assert repository.drills() == [] and repository.forecast() is None
    with pytest.raises(erpgo_dr.NotFoundError):
        repository.run_drill("restore", scratch=scratch)
    repository.backup(postgres.url("erp"))
    drill = repository.run_drill("restore", scratch=scratch, operator_name="ann")
    assert drill["passed"] and drill["rto_met"] and drill["by"] == "ann" and not drill["by_hand"]
    slow = repository.run_drill("restore", scratch=scratch, rto=timedelta(0), rpo=3600)
    assert slow["passed"] and slow["rto_met"] is False and slow["rpo_met"] is True
    noted = repository.record_drill("region-failover", rto_took=60, findings=["DNS was not changed"])
    assert noted["by_hand"] and not noted["passed"]
    assert [one["id"] for one in repository.drills()] == [drill["id"], slow["id"], noted["id"]]
    states = {due["scenario"]: due["state"] for due in repository.drills_due()}
    assert states["restore"] == "done" and states["region-failover"] != "done"
    predicted = repository.forecast()
    assert predicted is not None and predicted["rto_seconds"] > 0
    with pytest.raises(erpgo_dr.InvalidError, match="no scenario"):
        repository.run_drill("picnic", scratch=scratch)


def test_a_runbook_is_rehearsed_on_servers_of_its_own(
    postgres: Postgres, repository: erpgo_dr.Repository, scratch: Path
) -> None:
    repository.backup(postgres.url("erp"))
    drill = repository.run_drill("application-failure", scratch=scratch)
    assert drill["passed"] and drill["runbook"] == "application-failure" and not drill["own_runbook"], drill
    assert drill["rto_met"] and drill["rpo_seconds"] == 0, drill
    outcomes = {step["id"]: step["outcome"] for step in drill["steps"]}
    assert (outcomes["health"], outcomes["restart"], outcomes["verify"]) == ("failed", "succeeded", "succeeded")
    assert repository.runs() == [], "its journal is gone with it"
    own = """
name = "elsewhere"
title = "Elsewhere"
variables.primary = { type = "server", default = "host=db.example.com" }
[[steps]]
id = "ask"
title = "Ask"
pg-ready = { on = "primary" }
"""
    with pytest.raises(erpgo_dr.RefusedError, match="db.example.com is no server of the drill"):
        repository.run_drill("application-failure", scratch=scratch, runbook=own)
    with pytest.raises(erpgo_dr.InvalidError, match="has no runbook"):
        repository.run_drill("restore", scratch=scratch, runbook=own)


def test_the_same_for_asyncio(tmp_path: Path) -> None:
    async def go() -> None:
        repository = await erpgo_dr.aio.Repository.init(str(tmp_path / "r"), passphrase="x", work_factor=1)
        await repository.record_drill("database-failure", rto_took=4, rpo_lost=0)
        [drill] = await repository.drills()
        assert drill["rto_met"] is True and drill["rpo_met"] is True

    asyncio.run(go())
