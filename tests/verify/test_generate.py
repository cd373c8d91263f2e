"""Random programs: the same from the same seed, and readable as traces."""

from __future__ import annotations

from collections.abc import Iterable

from vmatrace import abi
from vmatrace.event import Event
from vmatrace.search.generate import FAMILIES, family, files, generate
from vmatrace.search.program import ADVICE, UNGIVEN
from vmatrace.search.shrink import consistent
from vmatrace.trace.file import Trace, load_trace
from vmatrace.trace.writer import call_text
from vmatrace.verify import exhibit


def texts(events: Iterable[Event]) -> list[tuple[str, str]]:
    return [(event.pid, call_text(event)) for event in events]


def test_a_program_depends_on_its_seed_and_number_alone() -> None:
    for index in (0, 7, 123):
        assert texts(generate("a", index)) == texts(generate("a", index))
    assert texts(generate("a", 7)) != texts(generate("b", 7))
    assert texts(generate("a", 7)) != texts(generate("a", 7 + len(FAMILIES)))


def test_every_advice_is_given_or_is_excused_by_name() -> None:
    known = {value for name, value in abi.CONSTANTS.items() if name.startswith("MADV_")}
    assert set(ADVICE) | set(UNGIVEN) == known
    assert not set(ADVICE) & set(UNGIVEN)


def test_every_family_has_its_turn() -> None:
    assert {family(i) for i in range(len(FAMILIES))} == set(FAMILIES)


def test_no_program_uses_a_process_or_a_label_before_it_is_there() -> None:
    for index in range(200):
        events = generate("order", index)
        assert consistent(events) == events


def test_a_program_written_as_a_trace_is_read_back_the_same() -> None:
    for index in range(60):
        events = generate("text", index)
        trace = Trace("t", "t", lambda: iter(()), files=files())
        text = exhibit.trace_text("again", trace, events)
        again = load_trace(text.encode())
        read = [item for item in again.items() if isinstance(item, Event)]
        assert texts(read) == texts(events)
        assert again.files == files()
