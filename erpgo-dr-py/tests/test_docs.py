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
    assert len(examples) == 8
    names: dict[str, Any] = {
        "PLACE": str(tmp_path / "place"),
        "DATABASE": postgres.url("erp"),
        "SERVER": postgres.url(),
        "PROGRAMS": postgres.programs,
        "SCRATCH": scratch,
    }
    for example in examples:
        exec(compile(example, "docs/python.md", "exec"), names)
    assert postgres.sql("SELECT count(*) FROM orders", "erp_again") == "20000"


def test_every_exception_is_in_the_table() -> None:
    named = set(re.findall(r"^\| `(\w+)`", TEXT, re.MULTILINE))
    assert named == {name for name in erpgo_dr.__all__ if name.endswith("Error")} - {"ErpgoDrError"}
