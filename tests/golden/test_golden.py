"""What the program prints, kept in files. ``pytest --update-golden`` rewrites them."""

from __future__ import annotations

from pathlib import Path

import pytest
from program import RunProgram, check_golden, exhibit

HERE = Path(__file__).parent
FAILING = "tests/golden/failing.yaml"

#: Exhibits whose table and steps are kept under both models.
_SHOWN = (
    "ksm-adjacent-anon",
    "ksm-fill-the-hole",
    "ksm-reserve-and-commit",
    "mprotect-cascade",
    "fork-source-vma",
    "several-processes",
)
CASES: dict[str, tuple[str, ...]] = {
    **{
        f"{name}.{kernel}{suffix}.txt": (exhibit(name), "--kernel", kernel, *more)
        for name in _SHOWN
        for kernel in ("pre-patch", "post-patch")
        for suffix, more in (("", ()), (".steps", ("--steps",)))
    },
    **{
        f"ksm-adjacent-anon.{kernel}{suffix}.json": (
            exhibit("ksm-adjacent-anon"), "--kernel", kernel, "--format", "json", *more
        )
        for kernel in ("pre-patch", "post-patch")
        for suffix, more in (("", ()), (".steps", ("--steps",)))
    },
    **{
        f"{name}.{form}": (exhibit(name), "--format", form)
        for name in ("starting-layout-smaps", "several-processes")
        for form in ("maps", "smaps")
    },
    "starting-layout-smaps.txt": (exhibit("starting-layout-smaps"),),
    "two-traces.maps": (
        exhibit("ksm-adjacent-anon"), exhibit("fork-dontfork"), "--format", "maps"
    ),
    "failing.txt": (FAILING,),
    "failing.steps.txt": (FAILING, "--steps"),
    "failing.json": (FAILING, "--format", "json"),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_output_is_what_is_kept(name: str, run: RunProgram, request: pytest.FixtureRequest) -> None:
    out = run("replay", *CASES[name], columns=80).out
    check_golden(HERE / name, out, request.config.getoption("--update-golden"))


def test_wide_paper_breaks_no_line(run: RunProgram) -> None:
    """At 200 columns a backing, a call and a reason each stay on one line."""
    out = run("replay", FAILING, "--steps", columns=200).out
    assert "opened twice, and each open() is a file of its own; the page offset" in out
    assert out.count("long-name/libexample.so.1\n") >= 4


def test_every_kept_file_has_a_case() -> None:
    kept = {
        path.name for path in HERE.iterdir() if path.suffix in (".txt", ".json", ".maps", ".smaps")
    }
    assert kept == set(CASES)
