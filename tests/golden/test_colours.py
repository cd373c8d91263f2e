"""On a terminal everything that is printed has its colours, and says what a pipe says."""

from __future__ import annotations

import re

import pytest
from program import RunProgram, exhibit

ANSWERS = [
    "audit tests/golden/audit/mixed.maps -k 6.12",
    "audit tests/golden/audit/mixed.smaps",
    "check tests/golden/check/mixed.yaml -k all",
    "check tests/golden/check tests/golden/diff -k 6.12",
    f"diff {exhibit('accounting-of-written-memory')} {exhibit('max-map-count-hole')} --steps",
    f"diff {exhibit('ksm-many-maps')} --across 6.12..6.18",
    f"diff {exhibit('ksm-many-maps')} --to tests/golden/diff/snapshot.maps",
    f"explain {exhibit('ksm-both-sides-faulted')} all",
    f"explain {exhibit('several-processes')} all",
    "explain tests/golden/explain/reasons.yaml all",
    "kernels",
    "kernels --file-systems",
    "replay tests/golden/failing.yaml --steps",
    "replay tests/golden/failing.yaml --why all",
    f"report {exhibit('several-processes')} --ksm",
    f"report {exhibit('ksm-brk-growth')} {exhibit('file-opened-twice')}",
    f"whatif {exhibit('ksm-many-maps')} -k pre-patch",
]


@pytest.mark.parametrize("arguments", ANSWERS)
def test_an_answer_has_colours_and_all_of_its_words(
    arguments: str, run: RunProgram, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    plain = run(*arguments.split(), columns=80)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    coloured = run(*arguments.split(), columns=80)
    assert coloured.status == plain.status
    assert "\x1b[" in coloured.out
    shown = re.sub(r"\x1b\[[0-9;]*m", "", coloured.out)
    words = re.findall(r"[A-Za-z]{3,}", plain.out)
    assert set(words) - set(re.findall(r"[A-Za-z]{3,}", shown)) == set()
