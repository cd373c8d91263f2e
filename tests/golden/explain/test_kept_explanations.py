"""What `vmatrace explain` prints, kept in files. ``pytest --update-golden`` rewrites them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from program import RunProgram, check_golden, exhibit

from vmatrace.kernels import KERNELS

HERE = Path(__file__).parent
FEW = ("6.16", "6.17", "pre-patch", "post-patch")
CASES: dict[str, tuple[str, ...]] = {
    "ksm-unmergeable-neighbour.txt": (exhibit("ksm-unmergeable-neighbour"), "a+PAGE_SIZE"),
    "ksm-unmergeable-neighbour.json": (
        exhibit("ksm-unmergeable-neighbour"), "a", "--format", "json"
    ),
    "ksm-adjacent-anon.txt": (exhibit("ksm-adjacent-anon"), "0x10003000", "-k", "pre-patch"),
    "ksm-many-maps.all.txt": (exhibit("ksm-many-maps"), "all", "-k", "pre-patch"),
    "ksm-both-sides-faulted.all.txt": (exhibit("ksm-both-sides-faulted"), "all"),
    "several-processes.all.json": (
        exhibit("several-processes"), "all", "--no-models", "--format", "json"
    ),
    "fork-source-vma.all.txt": (exhibit("fork-source-vma"), "all"),
    "file-opened-twice.all.txt": (exhibit("file-opened-twice"), "all"),
    "reasons.all.txt": ("tests/golden/explain/reasons.yaml", "all"),
    "hole.txt": (exhibit("several-processes"), "a-1"),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_explanation_is_what_is_kept(
    name: str, run: RunProgram, request: pytest.FixtureRequest
) -> None:
    done = run("explain", *CASES[name], columns=80)
    assert (done.status, done.err) == (int(name == "hole.txt"), "")
    out = done.out
    if name.endswith(".json"):
        few = _few_models(json.loads(out))
        out = json.dumps(few, ensure_ascii=False, separators=(",", ":")) + "\n"
    check_golden(HERE / name, out, request.config.getoption("--update-golden"))


def _few_models(value: Any) -> Any:
    """*value* with few of the models by which something is listed: a new one changes no file."""
    if isinstance(value, list):
        return [_few_models(x) for x in value]
    if isinstance(value, dict):
        return {k: _few_models(v) for k, v in value.items() if k not in KERNELS or k in FEW}
    return value


def test_every_kept_explanation_has_a_case() -> None:
    assert {p.name for p in HERE.iterdir() if p.suffix in (".txt", ".json")} == set(CASES)
