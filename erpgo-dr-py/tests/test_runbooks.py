"""Runbooks: planned, run, resumed and taken back, with questions that Python answers."""

from __future__ import annotations

import asyncio
import re
import threading
from pathlib import Path
from typing import Any

import erpgo_dr
import erpgo_dr.aio
import pytest
from conftest import Postgres

STEPS = """
name = "mine"
title = "Mine"
[variables]
folder = { type = "path" }
server = { type = "server" }
token = { type = "secret" }
count = { type = "integer", optional = true }
[[steps]]
id = "count"
title = "Count"
sql = { on = "server", query = "SELECT count(*) FROM orders" }
store = "count"
[[steps]]
id = "write"
title = "Write"
write-file = { path = "{{ folder }}/count", text = "{{ count }} {{ token }}" }
[[steps]]
id = "decide"
title = "Decide"
confirm = { question = "Go on?", word = "GO" }
[[steps]]
id = "go"
title = "Go"
command = { run = ["test", "-e", "{{ folder }}/go"] }
undo = { command = { run = ["true"] } }
"""


def test_a_run_is_resumed_and_taken_back(postgres: Postgres, repository: erpgo_dr.Repository, tmp_path: Path) -> None:
    values = {"folder": str(tmp_path), "server": postgres.url("erp"), "token": "s3cr3t-token"}
    asked: list[dict[str, Any]] = []

    def operator(question: dict[str, Any]) -> tuple[str, str]:
        asked.append(question)
        return "yes", "as agreed"

    plan = erpgo_dr.plan_runbook(STEPS, values={"folder": str(tmp_path)})
    assert plan.missing == ("server", "token") and [step.id for step in plan.steps] == ["count", "write", "decide", "go"]
    environment = {"PATH": "/usr/bin:/bin"}
    standing = repository.run_runbook(STEPS, values=values, operator=operator, environment=environment)
    assert (standing.ending, standing.step, standing.is_complete) == ("stopped", "go", False)
    assert asked == [{"step": "decide", "kind": {"is": "confirm", "word": "GO"}, "text": "Go on?"}]
    assert (tmp_path / "count").read_text() == "20000 s3cr3t-token"
    journal = repository.run_journal(standing.run)
    assert [entry["number"] for entry in journal] == list(range(len(journal)))
    assert "s3cr3t" not in str(journal) and journal[0]["values"]["token"] == {"type": "secret", "withheld": True}
    with pytest.raises(erpgo_dr.InvalidError, match="token"):
        repository.resume_run(standing.run, environment=environment)
    (tmp_path / "go").touch()
    resumed = repository.resume_run(standing.run, values={"token": "s3cr3t-token"}, environment=environment)
    assert resumed.is_complete and resumed.ending == "completed" and repository.runs() == [standing.run]
    token = {"token": "s3cr3t-token"}
    held = repository.undo_run(standing.run, values=token, environment=environment)
    assert (held.ending, held.step) == ("undo-stopped", "count") and not (tmp_path / "count").exists()
    # That a statement changed nothing only people can say.
    undone = repository.undo_run(standing.run, values=token, operator=operator, environment=environment)
    assert undone.ending == "undone" and "has no way back of its own" in asked[-1]["text"]
    report, page = repository.run_report(standing.run), repository.run_report(standing.run, form="html")
    assert isinstance(report, dict) and report["ending"] == "undone" and isinstance(page, str) and "<svg" in page
    with pytest.raises(erpgo_dr.RefusedError):
        repository.undo_run(standing.run, values={"token": "s3cr3t-token"})


def test_contacts_are_told_while_the_operator_is_waited_for(
    postgres: Postgres, repository: erpgo_dr.Repository, tmp_path: Path
) -> None:
    values = {"folder": str(tmp_path), "server": postgres.url("erp"), "token": "s3cr3t-token"}
    heard: list[str] = []
    told = threading.Event()

    def answers(message: str) -> None:
        heard.append(message)
        told.set()

    def operator(_: dict[str, Any]) -> str:
        return "no" if told.wait(60) else "yes"

    levels = [(0.2, {"dba": answers})]
    standing = repository.run_runbook(STEPS, values=values, operator=operator, escalation=levels)
    assert standing.step == "decide"
    assert "at the step" in heard[0] and "STOPPED at the step decide" in heard[1] and len(heard) == 2
    report = repository.run_report(standing.run)
    assert isinstance(report, dict)
    assert [(entry["level"], entry["contact"], entry["failed"]) for entry in report["told"]] == [
        (1, "dba", None),
        (None, "dba", None),
    ]
    wrongs: list[Any] = [[(0, {})], [(-1, {"dba": answers})], [(0, {"dba": "x"})]]
    for wrong in wrongs:
        with pytest.raises(erpgo_dr.InvalidError):
            repository.run_runbook(STEPS, values=values, escalation=wrong)


def test_questions_that_nobody_answers(postgres: Postgres, repository: erpgo_dr.Repository, tmp_path: Path) -> None:
    values = {"folder": str(tmp_path), "server": postgres.url("erp"), "token": "s3cr3t-token"}
    assert repository.run_runbook(STEPS, values=values).step == "decide"
    assert repository.run_runbook(STEPS, values=values, operator=True).step == "decide"

    def raises(question: dict[str, Any]) -> str:
        raise KeyError(question["step"])

    with pytest.raises(KeyError, match="decide"):
        repository.run_runbook(STEPS, values=values, operator=raises)
    with pytest.raises(erpgo_dr.InvalidError, match="none of yes, no, again"):
        repository.run_runbook(STEPS, values=values, operator=lambda _: "maybe")
    with pytest.raises(erpgo_dr.InvalidError, match="neither a callable nor a bool"):
        repository.run_runbook(STEPS, values=values, operator="yes")  # type: ignore[arg-type]


def test_the_same_for_asyncio(postgres: Postgres, tmp_path: Path) -> None:
    values = {"folder": str(tmp_path), "server": postgres.url("erp"), "token": "s3cr3t-token"}

    async def go() -> None:
        repository = await erpgo_dr.aio.Repository.init(str(tmp_path / "r"), passphrase="x", work_factor=1)
        standing = await repository.run_runbook(STEPS, values=values, operator=lambda _: "no")
        assert standing.step == "decide"
        journal = await repository.run_journal(standing.run)
        assert journal[-1]["event"] == "finished" and await repository.runs() == [standing.run]

    asyncio.run(go())


def test_those_that_come_along_and_those_that_cannot_work(repository: erpgo_dr.Repository) -> None:
    shipped = erpgo_dr.runbooks()
    assert {"database-failure", "backup-restore", "security-breach"} < set(shipped)
    for name, text in shipped.items():
        assert erpgo_dr.check_runbook(name) == [] and f'name = "{name}"' in text
    leak = 'name = "x"\ntitle = "X"\n[variables]\ns = { type = "secret" }\n[[steps]]\nid = "a"\ntitle = "A"\n'
    faults = erpgo_dr.check_runbook(leak + 'command = { run = ["echo", "{{ s }}"] }')
    assert faults == ["step a: the secret s would be seen there"]
    with pytest.raises(erpgo_dr.InvalidError, match="TOML"):
        erpgo_dr.check_runbook("no runbook")
    with pytest.raises(erpgo_dr.InvalidError, match=re.escape("no value is given for database, server")):
        repository.run_runbook("backup-restore")
    with pytest.raises(erpgo_dr.NotFoundError):
        repository.run_journal("20200101T000000Z-00000000")


def test_runs_go_on_while_the_repository_is_away(postgres: Postgres, tmp_path: Path) -> None:
    place, spool = tmp_path / "r", tmp_path / "spool"
    values = {"folder": str(tmp_path), "server": postgres.url("erp"), "token": "s3cr3t-token"}
    erpgo_dr.Repository.init(str(place), passphrase="x", work_factor=1)
    erpgo_dr.Repository.open(str(place), passphrase="x", spool=spool)
    place.rename(tmp_path / "away")
    with pytest.raises(erpgo_dr.NotFoundError):
        erpgo_dr.Repository.open(str(place), passphrase="x")
    away = erpgo_dr.Repository.open(str(place), passphrase="x", spool=spool)
    standing = away.run_runbook(STEPS, values=values, operator=lambda _: "no")
    assert standing.step == "decide" and away.runs() == [standing.run] and not place.exists()
    (tmp_path / "away").rename(place)
    assert erpgo_dr.Repository.open(str(place), passphrase="x").runs() == []
    erpgo_dr.Repository.open(str(place), passphrase="x", spool=spool)
    assert erpgo_dr.Repository.open(str(place), passphrase="x").runs() == [standing.run]
