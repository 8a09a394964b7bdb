"""Evidence: collected, checked, handed out, and found altered."""

from __future__ import annotations

import asyncio
from pathlib import Path

import erpgo_dr
import erpgo_dr.aio
import pytest
from conftest import Postgres


def test_a_bundle_goes_its_way(postgres: Postgres, repository: erpgo_dr.Repository, tmp_path: Path) -> None:
    log = tmp_path / "auth.log"
    log.write_text("accepted\n")
    seen: list[str] = []
    collected = repository.collect_evidence(
        postgres.url("erp"),
        label="rehearsal",
        tables=["orders", "nowhere"],
        queries={"one": "SELECT 1 AS one"},
        programs={"words": ["/bin/echo", "two words"]},
        files=[log],
        operator_name="ann",
        progress=lambda phase, done, total: seen.append(phase),
    )
    assert collected["by"]["name"] == "ann" and set(seen) == {"evidence"}
    items = {item["name"].split("-", 1)[1]: item for item in collected["items"]}
    assert "no such table" in items["nowhere.csv"]["error"] and "error" not in items["orders.csv"]
    identifier, folder = collected["id"], tmp_path / "out"
    assert [bundle["id"] for bundle in repository.evidence()] == [identifier]
    assert repository.verify_evidence(identifier)["findings"] == []
    export = repository.export_evidence(identifier, folder, operator_name="bob")
    assert (folder / items["words.txt"]["name"]).read_text() == "two words\n"
    with pytest.raises(erpgo_dr.AlreadyExistsError):
        repository.export_evidence(identifier, folder)
    assert repository.note_evidence(identifier, "a copy went to the police")["action"] == "noted"
    checked = erpgo_dr.verify_exported_evidence(folder, public_key=export["public_key"])
    assert checked["findings"] == [] and checked["sound"] == len(items)
    (folder / items["auth.log"]["name"]).write_text("refused.\n")
    assert len(asyncio.run(erpgo_dr.aio.verify_exported_evidence(folder))["findings"]) == 1
    with pytest.raises(erpgo_dr.InvalidError):
        erpgo_dr.verify_exported_evidence(folder, public_key="00")
    with pytest.raises(erpgo_dr.NotFoundError):
        repository.verify_evidence("20200101T000000Z-00000000")
