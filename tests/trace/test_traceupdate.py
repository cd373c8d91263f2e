"""Expectations rewritten in a trace's text: they hold then, and nothing else has changed."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vmatrace import abi
from vmatrace.commands.check.question import check, update
from vmatrace.event import EXPECTED_COUNTS
from vmatrace.kernels import KERNELS
from vmatrace.trace.file import load_trace
from vmatrace.trace.update import replace

HEAD = "vmatrace: 1\nprocess: {ksm: true}\nevents:\n"
FIRST = (
    "  - a = mmap(0x10000000, 4*PAGE_SIZE, PROT_READ, MAP_PRIVATE|MAP_ANONYMOUS|MAP_FIXED, -1, 0)\n"
)
PAGES = 8

# --- random traces --------------------------------------------------------------------------------

pages = st.integers(0, PAGES - 1)
lengths = st.integers(1, 3)


@st.composite
def calls(draw: st.DrawFn) -> str:
    place = f"a + {draw(pages)}*PAGE_SIZE, {draw(lengths)}*PAGE_SIZE"
    prot = draw(st.sampled_from(["PROT_READ", "PROT_READ|PROT_WRITE", "PROT_NONE"]))
    return draw(
        st.sampled_from([
            f"mmap({place}, {prot}, MAP_PRIVATE|MAP_ANONYMOUS|MAP_FIXED, -1, 0)",
            f"mmap({place}, {prot}, MAP_SHARED|MAP_FIXED, 3</tmp/a b>, 0)",
            f"mprotect({place}, {prot})", f"munmap({place})",
        ])
    )  # fmt: skip


@st.composite
def addresses(draw: st.DrawFn) -> tuple[str, str]:
    """Spellings of the start and the end of a range."""
    start = draw(pages)
    ends = start, start + draw(lengths)
    number = [hex(0x10000000 + page * 4096) for page in ends]
    label = [f"a + {page}*PAGE_SIZE" if page else "a" for page in ends]
    one, two = (draw(st.sampled_from(pair)) for pair in zip(number, label, strict=True))
    return one, two


perms = st.sampled_from(["r--p", "rw-p", "---p", "r--s"])


@st.composite
def mappings(draw: st.DrawFn, keys: tuple[str, ...]) -> list[tuple[str, str]]:
    """The fields of an expected mapping, which are most likely wrong."""
    start, end = draw(addresses())
    codes = draw(st.lists(st.sampled_from(sorted(abi.CODE_TO_VM_FLAG)), min_size=1, max_size=3))
    values = {
        "start": start, "end": end, "perms": draw(perms),
        "offset": draw(st.sampled_from(["0", "0x1000", "4096"])),
        "name": draw(st.sampled_from(['""', "/x", "'it''s'", '"[heap]"'])),
        "flags": draw(st.sampled_from([" ".join(codes), f"[{', '.join(codes)}]"])),
    }  # fmt: skip
    return [(key, values[key]) for key in keys]


@st.composite
def maps_lines(draw: st.DrawFn) -> str:
    start = 0x10000000 + draw(pages) * 4096
    name = draw(st.sampled_from(["", "                  /x", " [heap]"]))
    line = f"{start:08x}-{start + 4096 * draw(lengths):08x} {draw(perms)} 00000000 00:00 0{name}"
    return f'"{line}"' if "[" in name or draw(st.booleans()) else line


@st.composite
def lists(draw: st.DrawFn, flow: bool) -> str:
    """The text of ``maps`` behind its colon; of a block list, with the line break before it."""
    chosen = draw(st.sets(st.sampled_from(["perms", "offset", "name", "flags"])))
    keys = ("start", "end", *sorted(chosen))
    items = draw(st.lists(st.one_of(mappings(keys), maps_lines()), max_size=5))
    braces = [
        item if isinstance(item, str) else "{" + ", ".join(f"{k}: {v}" for k, v in item) + "}"
        for item in items
    ]
    if flow or not items:
        separator = draw(st.sampled_from([", ", ",\n         "]))
        return f" [{separator.join(braces)}]"
    written = ""
    for item, brace in zip(items, braces, strict=True):
        comment = draw(st.sampled_from(["", "  # that - is: it"]))
        if not isinstance(item, str) and draw(st.booleans()):
            brace = f"{comment}\n            ".join(f"{k}: {v}" for k, v in item)
        above = draw(st.sampled_from(["", "\n          # above - it"]))
        written += f"{above}\n          - {brace}{comment}"
    # A comment at the end is not the list's.
    return re.sub(r"  # that - is: it\Z", "", written)


@st.composite
def counts(draw: st.DrawFn, flow: bool) -> str:
    number = draw(st.integers(0, 12))
    bound = f"{draw(st.sampled_from(['<', '<=', '==']))}{draw(st.sampled_from(['', ' ']))}{number}"
    least = f">= {number}"
    return " " + draw(
        st.sampled_from(
            [str(number), hex(number), bound, f"'{bound}'", f'"{least}"', f"'{least} '"]
        )
    )


@st.composite
def expectations(draw: st.DrawFn, ons: list[str]) -> list[str]:
    """An expectation in pieces: those with odd numbers are its values."""
    flow = draw(st.booleans())
    on = draw(st.sampled_from(ons))
    keys = draw(st.lists(st.sampled_from([*EXPECTED_COUNTS, "maps"]), min_size=1, unique=True))
    values = [draw(lists(flow) if key == "maps" else counts(flow)) for key in keys]
    pieces = [
        "  - expect: {" + on if flow else "  - expect:  # here\n" + f"      {on}\n" * bool(on)
    ]
    for key, value in zip(keys, values, strict=True):
        if flow:
            pieces[-1] += "" if pieces[-1].endswith("{") else ", "
            pieces += [pieces.pop() + f"{key}:", value, ""]
        else:
            comment = draw(st.sampled_from(["", "  # why: it is"])) if key != "maps" else ""
            pieces += [pieces.pop() + f"      {key}:", value, f"{comment}\n"]
    pieces[-1] += "}\n" if flow else "\n" * draw(st.integers(0, 1))
    return pieces


@st.composite
def traces(draw: st.DrawFn) -> list[str]:
    """A trace in pieces: those with odd numbers are values of expectations."""
    pieces = [HEAD + FIRST]
    # Of one model each, so that no two disagree.
    ons = draw(st.sampled_from([[""], ["on: pre-patch", "on: post-patch"], ["on: '<6.5'"]]))
    for entry in draw(st.lists(st.one_of(calls(), expectations(ons)), min_size=1, max_size=6)):
        if isinstance(entry, str):
            pieces[-1] += f"  - {entry}\n"
        else:
            pieces += [pieces.pop() + entry[0], *entry[1:]]
    if draw(st.booleans()):
        pieces[-1] = pieces[-1].rstrip("\n")
    crlf = draw(st.booleans())
    return [piece.replace("\n", "\r\n") if crlf else piece for piece in pieces]


@settings(max_examples=150)
@given(traces())
def test_what_is_rewritten_holds_and_all_else_is_as_it_was(pieces: list[str]) -> None:
    data = "".join(pieces).encode()
    done = update("t.yaml", data)
    assert done.problems == []
    assert check(load_trace(done.data, "t.yaml")).failed == 0
    again = update("t.yaml", done.data)
    assert (again.rewritten, again.data) == (0, done.data)
    kept = "(.*?)".join(map(re.escape, pieces[::2]))
    values = re.fullmatch(kept, done.data.decode(), re.DOTALL)
    assert values is not None
    changed = sum(new != old for new, old in zip(values.groups(), pieces[1::2], strict=True))
    assert changed == done.rewritten


# --- one by one -----------------------------------------------------------------------------------


def rewritten(expected: str, *more: str, head: str = HEAD + FIRST) -> str:
    """*expected*, one or more items after one mapping of four pages, as it is rewritten."""
    done = update("t.yaml", (head + expected).encode())
    assert [problem.message for problem in done.problems] == []
    assert done.data.decode().startswith(head)
    return done.data.decode().removeprefix(head)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("3", "1"),
        ("0x3", "0x1"),
        ("0o3", "0o1"),
        ("<1", "<2"),
        ('"<=   0"', '"<=   1"'),
        ("'> 7'", "'> 0'"),
        ("'>= 7'", "'>= 1'"),
        ("== 7", "== 1"),
        ('"== \\x37"', '"== 1"'),
        ("'!= 7'", "'!= 7'"),
    ],
)
def test_a_count_keeps_its_base_its_operator_and_its_quotes(before: str, after: str) -> None:
    for form in ("  - expect: {{vmas: {}}} # c\n", "  - expect:\n      vmas:  {}  # c\n"):
        assert rewritten(form.format(before)) == form.format(after)


BLOCK = """\
  - expect:
      maps:    # the layout
        # the text
        - {start: a, end: a + PAGE_SIZE, perms: r--p}    # first
        # the hole
        - {start: a + 2*PAGE_SIZE, end: a + 3*PAGE_SIZE, perms: r--p, flags: rd}
      vmas: 2  # two
"""


def test_vmas_that_are_one_keep_the_spelling_of_both_ends() -> None:
    expected = BLOCK.replace("3*PAGE", "4*PAGE")
    assert rewritten(expected) == """\
  - expect:
      maps:    # the layout
        # the text
        - {start: a, end: a + 4*PAGE_SIZE, perms: r--p}    # first
        # the hole
      vmas: 1  # two
"""  # fmt: skip


def test_a_vma_that_is_several_is_spelled_as_its_neighbour() -> None:
    split = HEAD + FIRST + "  - mprotect(a + PAGE_SIZE, PAGE_SIZE, PROT_NONE)\n"
    assert rewritten(BLOCK, head=split) == """\
  - expect:
      maps:    # the layout
        # the text
        - {start: a, end: a + PAGE_SIZE, perms: r--p}    # first
        - {start: a + PAGE_SIZE, end: a + 2*PAGE_SIZE, perms: ---p}
        # the hole
        - {start: a + 2*PAGE_SIZE, end: a + 4*PAGE_SIZE, perms: r--p, flags: rd mr mw me mg}
      vmas: 3  # two
"""  # fmt: skip


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("{start: 0x10000000, end: 1}", "{start: 0x10000000, end: 0x10004000}"),
        ("{start: 0x1000, end: a + 4*PAGE_SIZE, name: /x}",
         '{start: 0x10000000, end: a + 4*PAGE_SIZE, name: ""}'),
        ("{start: a, end: a + PAGE_SIZE, flags: [rd], offset: 7}",
         "{start: a, end: a + 4*PAGE_SIZE, flags: [rd, mr, mw, me, mg], offset: 0}"),
        ("10000000-10001000 rw-p 00001000 08:01 7   /x", "10000000-10004000 r--p 00000000 00:00 0"),
        ("'10000000-10001000 rw-p 00000000 00:00 0'", "'10000000-10004000 r--p 00000000 00:00 0'"),
        ("{start: 0x1000, end: 0x2000}, {start: 0x10000000, end: 0x20000000}, {start: a, end: a}",
         "{start: 0x10000000, end: 0x10004000}"),
    ],
)  # fmt: skip
def test_a_mapping_keeps_its_keys_and_their_form(before: str, after: str) -> None:
    form = "  - expect: {{maps: [ {} ]}}\n"
    before = before.replace("end: 1}", "end: 0x10001000}")
    assert rewritten(form.format(before)) == form.format(after)


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_a_new_item_has_the_line_break_of_the_file(newline: str) -> None:
    def spelled(text: str) -> bytes:
        return text.replace("\n", newline).encode()

    split = HEAD + FIRST + "  - mprotect(a + PAGE_SIZE, PAGE_SIZE, PROT_NONE)\n  - expect:\n"
    split += "      maps:\n"
    items = [
        "      - {start: a, end: a + PAGE_SIZE, perms: r--p}\n",
        "      - {start: a + PAGE_SIZE, end: a + 2*PAGE_SIZE, perms: ---p}\n",
        "      - {start: a + 2*PAGE_SIZE, end: a + 4*PAGE_SIZE, perms: r--p}\n",
    ]
    whole = spelled(split + "".join(items))
    for kept in ([0, 1], [0], [0, 2]):
        done = update("t.yaml", spelled(split + "".join(items[i] for i in kept)))
        assert done.data == whole, kept


def test_flags_that_are_the_same_in_another_order_stay_as_they_are() -> None:
    form = "  - expect: {{maps: [{{start: a, end: a + {}, perms: r--p, flags: {}}}]}}\n"
    for flags in ("me mg rd mw mr", "[me, mg, rd, mw, mr]"):
        assert rewritten(form.format("PAGE_SIZE", flags)) == form.format("4*PAGE_SIZE", flags)


def test_a_layout_that_is_gone_is_an_empty_list() -> None:
    gone = HEAD + FIRST + "  - munmap(a, 4*PAGE_SIZE)\n"
    assert rewritten(BLOCK, head=gone) == "  - expect:\n      maps: []\n      vmas: 0  # two\n"
    assert rewritten("  - expect: {maps: [{start: a, end: a}]}", head=gone) == (
        "  - expect: {maps: []}"
    )


def test_names_are_quoted_where_yaml_needs_it() -> None:
    heap = "vmatrace: 1\nmaps: |\n  1000-2000 rw-p 00000000 00:00 0 [heap]\nevents:\n"
    name = "{{start: 0x1000, end: 0x2000, name: {}}}"
    for form in ("  - expect: {{maps: [{}]}}\n", "  - expect:\n      maps:\n      - {}\n"):
        assert rewritten(form.format(name.format("x")), head=heap) == form.format(
            name.format('"[heap]"')
        )
    block = (
        "  - expect:\n      maps:\n      - start: 0x1000\n        end: 0x2000\n        name:{}\n"
    )
    assert rewritten(block.format(""), head=heap) == block.format(' "[heap]"')


def test_text_of_any_script_before_a_value_moves_nothing() -> None:
    form = "  - expect: {{maps: [{{start: a, end: a + 4*PAGE_SIZE, name: {}}}], vmas: {}}}  # 😀\n"
    assert rewritten(form.format('"日本😀é"', 3)) == form.format('""', 1)


def test_a_byte_order_mark_stays() -> None:
    data = b"\xef\xbb\xbf" + (HEAD + FIRST + "  - expect: {vmas: 7}").encode()
    assert update("t.yaml", data).data == data.replace(b"7}", b"1}")


def test_a_byte_order_mark_moves_nothing_in_its_line() -> None:
    form = '\ufeff{"vmatrace": 1, "events": [{"expect": {"vmas": %d}}]}'
    assert update("t.yaml", (form % 3).encode()).data == (form % 0).encode()


def test_json_is_yaml_too() -> None:
    form = '{"vmatrace": 1, "events": [{"expect": {"vmas": %d, "maps": [%s]}}], "kernel": "6.4"}'
    done = update("t.yaml", (form % (3, '{"start": "0x1000", "end": "0x2000"}')).encode())
    assert done.data.decode() == form % (0, "")


# --- what cannot be -------------------------------------------------------------------------------

TWO = HEAD + FIRST + (
    "  - mmap(a + 4*PAGE_SIZE, PAGE_SIZE, PROT_READ, MAP_PRIVATE|MAP_ANONYMOUS|MAP_FIXED, -1, 0)\n"
)  # fmt: skip


@pytest.mark.parametrize(
    ("expected", "reason"),
    [
        ("on: [pre-patch, post-patch], vmas: 7", "2 under pre-patch, 1 under post-patch (expected"),
        ("on: [pre-patch, post-patch], vmas: 2", "it holds under pre-patch, not under post-patch"),
        ("on: [pre-patch, post-patch], maps: []", "the layouts under pre-patch, post-patch differ"),
        ("merges: '> 5', on: pre-patch", "no number that '>' holds for"),
        ("vmas: '!= 1'", "no number that '!=' holds for"),
    ],
)
def test_what_cannot_be_made_to_hold_is_a_problem_and_changes_nothing(
    expected: str, reason: str
) -> None:
    data = (
        TWO + f"  - expect: {{{expected}}}\n  - expect: {{on: post-patch, mergeable: 9}}\n"
    ).encode()
    done = update("t.yaml", data)
    assert (done.data, done.rewritten) == (data, 0)
    (problem,) = done.problems
    assert problem.line == 6
    assert reason in str(problem)


def test_a_bound_is_raised_until_it_holds_under_every_model() -> None:
    form = "  - expect: {{vmas: '<= {}'}}\n"
    done = update("t.yaml", (TWO + form.format(0)).encode(), [*KERNELS.values()])
    assert done.data.decode() == TWO + form.format(2)


def test_a_model_that_is_not_asked_for_still_counts() -> None:
    data = (TWO + "  - expect: {on: [pre-patch, post-patch], vmas: 2}\n").encode()
    assert update("t.yaml", data, [KERNELS["post-patch"]]).problems


# --- the file -------------------------------------------------------------------------------------


def test_a_file_is_replaced_at_once_and_keeps_its_mode(tmp_path: Path) -> None:
    file, link = tmp_path / "a.yaml", tmp_path / "link.yaml"
    file.write_bytes(b"old")
    file.chmod(0o640)
    link.symlink_to(file)
    with file.open("rb") as reader:
        replace(str(link), b"new")
        assert reader.read() == b"old"
    assert link.is_symlink()
    assert (file.read_bytes(), file.stat().st_mode & 0o777) == (b"new", 0o640)
    assert sorted(os.listdir(tmp_path)) == ["a.yaml", "link.yaml"]


def test_a_file_that_cannot_be_replaced_stays_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "a.yaml"
    file.write_bytes(b"old")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space"):
        replace(str(file), b"new")
    assert file.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a.yaml"]
