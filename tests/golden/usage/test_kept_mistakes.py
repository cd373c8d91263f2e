"""What command lines that cannot be are told. ``pytest --update-golden`` rewrites the file.

The file has each command line (of exit status 2), and what standard error says of it.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest
from program import RunProgram

KEPT: Final = Path(__file__).parent / "mistakes.txt"
T: Final = "traces/ksm-adjacent-anon.yaml"
S: Final = "tests/golden/audit/mixed.smaps"
LINES: Final = [line for line in KEPT.read_text(encoding="utf-8").splitlines() if line[:2] == "$ "]


def told(run: RunProgram, line: str) -> str:
    words = line[2:].replace("TRACE", T).replace("SMAPS", S).split()
    done = run(*words[1:], columns=100)
    assert (done.out, done.status) == ("", 2), line
    text = re.sub(r"(?m)^(Usage:|Try ).*\n(\n(?=Error))?", "", done.err)
    return f"{line}\n{text.strip()}\n\n"


def test_mistakes_are_told(run: RunProgram, request: pytest.FixtureRequest) -> None:
    made = "".join(told(run, line) for line in LINES)
    if request.config.getoption("--update-golden"):
        KEPT.write_text(made, encoding="utf-8")
    assert made == KEPT.read_text(encoding="utf-8"), "rewrite with: pytest --update-golden"
