"""*What changed, by example*: each program parts its two kernels, and no kind is left out."""

from __future__ import annotations

import re
import sys

import pytest
from program import ROOT

from vmatrace.event import Event
from vmatrace.kernels import FEATURES, get_kernel
from vmatrace.search.finds import Ground
from vmatrace.search.goals import Goal
from vmatrace.trace.file import load_trace

sys.path.insert(0, str(ROOT / "tests" / "bench"))
import changes

PAGE = (ROOT / "docs" / "reference" / "changes-by-example.md").read_text(encoding="utf-8")
every = pytest.mark.parametrize("which", changes.HUNTS, ids=lambda which: which.title)


def sections(text: str) -> dict[str, str]:
    """What stands under each heading of a pair."""
    _, *found = re.split(r"^## (.+)$", text, flags=re.M)
    return dict(zip(found[::2], found[1::2], strict=True))


def programs(text: str) -> list[str]:
    return re.findall(r"^```text\n(.*?)^```$", text, re.M | re.S)


def assert_parts(program: str, which: changes.Hunt) -> None:
    """What is hunted for is there after its last call, and not before."""
    trace = load_trace(program.encode())
    events = [item for item in trace.items() if isinstance(item, Event)]
    ground = Ground(get_kernel(which.older), get_kernel(which.newer), "", worse=which.worse)
    goal = Goal(ground.condition, [ground.older, ground.newer])
    assert goal.reach(trace, events) == len(events), program


def test_the_page_has_each_hunt() -> None:
    assert list(sections(PAGE)) == [which.title for which in changes.HUNTS]


@every
def test_each_program_of_the_page_shows_what_was_hunted(which: changes.Hunt) -> None:
    text = sections(PAGE)[which.title]
    causes = re.findall(r"^### (.+)$", text, re.M)
    assert {name for cause in causes for name in cause.split(", ")} <= FEATURES.keys()
    assert len(programs(text)) == len(causes)
    for program in programs(text):
        assert_parts(program, which)
    (count,) = re.findall(r": (\d+) kinds in", text)
    assert len(re.findall(r"^\* ", text, re.M)) == int(count)


def test_that_the_series_can_cost_a_vma_is_on_the_page() -> None:
    (program,) = programs(sections(PAGE)["pre-patch and post-patch: what is worse"])
    assert "MADV_UNMERGEABLE" in program


@every
def test_every_kind_of_a_hunt_is_written_down(which: changes.Hunt) -> None:
    total = changes.hunted(which, None, 120)
    text = "\n".join(changes.section(which, total))
    for find in total.finds:
        assert f"* {changes.kind(find, which)}" in text
        assert f"### {', '.join(find.causes)}\n" in text
    for program in programs(text):
        assert_parts(program, which)
