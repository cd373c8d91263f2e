"""*What changed, by example*: each program parts its two kernels, and no kind is left out."""

from __future__ import annotations

import re
import sys

import pytest
from program import ROOT

from vmatrace.event import Event
from vmatrace.kernels import FEATURES, get_kernel
from vmatrace.search.conditions import parse
from vmatrace.search.goals import Goal
from vmatrace.trace.file import load_trace

sys.path.insert(0, str(ROOT / "tests" / "bench"))
import changes

PAGE = (ROOT / "docs" / "reference" / "changes-by-example.md").read_text(encoding="utf-8")
PAIRS = [f"{older} and {newer}" for older, newer in changes.PAIRS]


def sections(text: str) -> dict[str, str]:
    """What stands under each heading of a pair."""
    _, *found = re.split(r"^## (.+)$", text, flags=re.M)
    return dict(zip(found[::2], found[1::2], strict=True))


def programs(text: str) -> list[str]:
    return re.findall(r"^```yaml\n(.*?)^```$", text, re.M | re.S)


def assert_parts(program: str, older: str, newer: str) -> None:
    """The two do something else at its last call, and not before."""
    trace = load_trace(program.encode())
    events = [item for item in trace.items() if isinstance(item, Event)]
    goal = Goal(parse("differs"), [get_kernel(older), get_kernel(newer)])
    assert goal.reach(trace, events) == len(events), program


def test_the_page_has_each_pair() -> None:
    assert list(sections(PAGE)) == PAIRS


@pytest.mark.parametrize("pair", PAIRS)
def test_each_program_of_the_page_parts_its_pair(pair: str) -> None:
    text = sections(PAGE)[pair]
    causes = re.findall(r"^### (.+)$", text, re.M)
    assert {name for cause in causes for name in cause.split(", ")} <= FEATURES.keys()
    assert len(programs(text)) == len(causes) > 0
    for program in programs(text):
        assert_parts(program, *pair.split(" and "))
    (count,) = re.findall(r": (\d+) kinds in", text)
    assert len(re.findall(r"^\* ", text, re.M)) == int(count)


@pytest.mark.parametrize("pair", changes.PAIRS)
def test_every_kind_of_a_hunt_is_written_down(pair: tuple[str, str]) -> None:
    total = changes.hunted(*pair, None, 120)
    text = "\n".join(changes.section(*pair, total))
    for find in total.finds:
        assert f"* {changes.kind(find, *pair)}" in text
        assert f"### {', '.join(find.causes)}\n" in text
    for program in programs(text):
        assert_parts(program, *pair)
