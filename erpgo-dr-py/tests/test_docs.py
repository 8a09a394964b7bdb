"""The examples of docs/python.md, run as they stand there, and what it says of exceptions."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import erpgo_dr
from conftest import ROOT, Postgres

TEXT = (ROOT / "docs/python.md").read_text()


def test_examples_run(postgres: Postgres, tmp_path: Path, scratch: Path) -> None:
    examples = re.findall(r"^```python\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)
    assert len(examples) == 15
    names: dict[str, Any] = {
        "PLACE": str(tmp_path / "place"),
        "DATABASE": postgres.url("erp"),
        "SERVER": postgres.url(),
        "PROGRAMS": postgres.programs,
        "SCRATCH": scratch,
        "RESTORED": tmp_path / "restored",
    }
    for example in examples:
        exec(compile(example, "docs/python.md", "exec"), names)
    assert postgres.sql("SELECT count(*) FROM orders", "erp_again") == "20000"
    assert names["restored"].backup == names["taken"].id and (tmp_path / "restored/recovery.signal").exists()
    # Of the functions for PostgreSQL, which the examples do not call.
    postgres.sql("SELECT pg_logical_emit_message(true, 'x', 'x')")
    name = postgres.sql("SELECT pg_walfile_name(pg_switch_wal())")
    assert names["archive"](postgres.folder / "data/pg_wal" / name) == 0
    assert names["fetch"](name, tmp_path / "fetched") == 0 and names["fetch"]("00000009" + name[8:], tmp_path / "none") == 3


def test_every_exception_is_in_the_table() -> None:
    named = set(re.findall(r"^\| `(\w+)`", TEXT, re.MULTILINE))
    assert named == {name for name in erpgo_dr.__all__ if name.endswith("Error")} - {"ErpgoDrError"}
