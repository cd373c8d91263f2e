"""Items cut out of a list are those that YAML reads, with the same positions and errors."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmatrace.diagnostic import Source, TraceError
from vmatrace.trace import items
from vmatrace.trace.file import load_trace
from vmatrace.trace.yamlstream import MappingNode, Node, SequenceNode, position

PIECES = (
    "munmap(a, 0x1000) = 0", "brk(NULL)", "x", "xy", "a: b", "a:", "a #b", "a#b", "  ", "\t", "-",
    "- ", "'q", "q'", '"', "|", ">", "[", "]", "{", "}", ",", "&a", "*a", "!t", "%", "@", "é",
    "# c", "?", "? ", "---", "...", "expect: {vmas: 1}", "{call: 'brk(0)', pid: main}", "null", "~",
    "0x1",
)  # fmt: skip
LINES = st.one_of(
    st.just("  - munmap(0x1000, 4096) = 0"),
    st.builds(lambda indent, rest: " " * indent + rest, st.integers(0, 5), st.sampled_from(PIECES)),
    st.builds(
        lambda indent, parts: " " * indent + "- " + "".join(parts),
        st.integers(0, 4), st.lists(st.sampled_from(PIECES), max_size=3),
    ),
    st.just(""),
)  # fmt: skip
ENDS = st.sampled_from(["\n", "\n", "\n", "\r\n", "\r", ""])


def plain(node: Node | None) -> object:
    if isinstance(node, MappingNode):
        return position(node), [(plain(key), plain(value)) for key, value in node.pairs]
    if isinstance(node, SequenceNode):
        return position(node), [plain(item) for item in node.items]
    if node is None:
        return None
    end = node.end_mark.line if node.style else None
    return position(node), node.value, node.style or "", end


def events(text: str, slow: bool) -> tuple[list[object], str]:
    """Each item and what is wrong, of the trace whose events are *text*."""
    given: list[object] = []

    def noted(
        source: Source,
        start: int,
        line: int,
        column: int,
        everything: Callable[[], Iterator[Node | None]],
    ) -> Iterator[Node | None]:
        cut = items.items(source, start, line, column, everything)
        for item in everything() if slow else cut:
            given.append(plain(item))
            yield item

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vmatrace.trace.file.items", noted)
        try:
            list(load_trace(f"vmatrace: 1\nevents:\n{text}".encode(), "t").items())
        except TraceError as error:
            return given, str(error)
    return given, ""


@given(st.lists(st.tuples(LINES, ENDS), max_size=14))
def test_a_list_cut_is_a_list_read(lines: list[tuple[str, str]]) -> None:
    text = "".join(line + end for line, end in lines)
    assert events(text, slow=False) == events(text, slow=True)


def test_a_list_of_many_forms_is_read_whole() -> None:
    """Beyond every limit of the pieces: long ones, and many of them."""
    call = "  - munmap(0x1000, 4096) = 0\n"
    odd = "  - {pid: main, call: 'munmap(0x1000, 4096)'}\n"
    for text in (call * 50 + odd * 500 + call * 3, (call + odd) * 100, (call * 90 + odd) * 30):
        assert events(text, slow=False) == events(text, slow=True)
        assert len(events(text, slow=False)[0]) == text.count("\n")
