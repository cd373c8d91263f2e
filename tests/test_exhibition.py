"""Every exhibit holds under every kernel it could be shown on, and the headline is what it says."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

from vmatrace.event import Expectation
from vmatrace.kernels import KERNELS, get_kernel
from vmatrace.replayer.expectations import applies
from vmatrace.replayer.result import Result
from vmatrace.replayer.run import Replay, replay
from vmatrace.trace.file import Trace, load_trace

TRACES = sorted((Path(__file__).parent.parent / "traces").glob("*.yaml"))
#: Kernels that were recorded or booted: what they did is what exhibits are checked against.
MEASURED = (
    "6.12.117", "6.16.12", "6.17.13", "6.18.15", "6.18.44", "6.19.14", "7.0.13", "7.1.13", "7.2.12",
    "7.3.4",
)  # fmt: skip
SHOWN = (*KERNELS, *MEASURED)


@cache
def load(path: Path) -> Trace:
    return load_trace(path)


def names(path: Path) -> str:
    return path.stem


@pytest.mark.parametrize("kernel", SHOWN)
@pytest.mark.parametrize("path", TRACES, ids=names)
def test_an_exhibit_holds_under_every_kernel(path: Path, kernel: str) -> None:
    trace = load(path)
    shown = Replay(trace, get_kernel(kernel))
    result = shown.run()
    assert result.failures == []
    assert [d.event.text for d in result.divergences] == []
    expected = [x for x in trace.items() if isinstance(x, Expectation)]
    assert result.passed == sum(applies(x, shown.kernel) for x in expected)


def kernels_expected(path: Path) -> set[str]:
    """The kernels about which an exhibit expects something."""
    expected = [item for item in load(path).items() if isinstance(item, Expectation)]
    return {name for name in SHOWN if any(applies(x, get_kernel(name)) for x in expected)}


#: About the recorded kernels, because 6.17 differs or nobody measured what came before.
NOT_ABOUT_THE_SERIES = {
    "ksm-overlay", "mremap-dontunmap-beside-itself",
    "mremap-shrinking-move",
}  # fmt: skip


@pytest.mark.parametrize("path", TRACES, ids=names)
def test_an_exhibit_expects_something_before_and_after_the_series(path: Path) -> None:
    expected = kernels_expected(path)
    if path.stem in NOT_ABOUT_THE_SERIES:
        assert expected & set(MEASURED)
        assert "pre-patch" not in expected
    else:
        assert expected >= {"pre-patch", "post-patch"}


@pytest.mark.parametrize("path", TRACES, ids=names)
def test_an_exhibit_says_what_it_shows(path: Path) -> None:
    trace = load(path)
    assert trace.name == path.stem
    assert trace.description
    assert path.read_text(encoding="utf-8").startswith("# ")


def uses_ksm(path: Path) -> bool:
    trace = load(path)
    text = path.read_text(encoding="utf-8")
    return trace.process.ksm or "PR_SET_MEMORY_MERGE" in text


@pytest.mark.parametrize("path", [p for p in TRACES if not uses_ksm(p)], ids=names)
def test_without_ksm_by_default_the_series_changes_nothing(path: Path) -> None:
    layouts = [
        [[m.key() for m in p.layout] for p in replay(load(path), get_kernel(kernel)).processes]
        for kernel in ("pre-patch", "post-patch")
    ]
    assert layouts[0] == layouts[1]


# --- the headline --------------------------------------------------------------------------------


def adjacent_maps(number: int, kernel: str, fixed: bool) -> Result:
    where = ", MAP_PRIVATE|MAP_ANONYMOUS{}, -1, 0)"
    lines = [
        f"  - mmap({0x10000000 + i * 4096:#x}, 4096, PROT_READ{where.format('|MAP_FIXED')}"
        if fixed
        else f"  - mmap(NULL, 4096, PROT_READ{where.format('')}"
        for i in range(number)
    ]
    text = "vmatrace: 1\nevents:\n  - prctl(PR_SET_MEMORY_MERGE, 1, 0, 0, 0)\n" + "\n".join(lines)
    return replay(load_trace(text.encode()), get_kernel(kernel))


@pytest.mark.parametrize("fixed", [True, False], ids=["fixed", "placed"])
@pytest.mark.parametrize("number", [1, 2, 3, 8, 100, 2000])
def test_n_adjacent_maps_are_n_vmas_before_the_series_and_one_after(
    number: int, fixed: bool
) -> None:
    before = adjacent_maps(number, "pre-patch", fixed)
    after = adjacent_maps(number, "post-patch", fixed)
    assert (before.vmas, before.mergeable) == (number, number)
    assert (after.vmas, after.mergeable) == (1, 1)
    assert before.tally.only_mergeable == number - 1
    assert after.tally.only_mergeable == 0
    assert (before.tally.total, after.tally.total) == (0, number - 1)


def test_one_feature_is_the_whole_difference() -> None:
    before, after = KERNELS["pre-patch"], KERNELS["post-patch"]
    assert before.features ^ after.features == {"ksm-before-merge"}
