"""explain: what it says of borders is what the engine says, under every model."""

from __future__ import annotations

import io
import json
import re
from itertools import pairwise
from pathlib import Path
from random import Random
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from program import EXHIBITS, ROOT, RunProgram, exhibit

from vmatrace import abi
from vmatrace.commands.explain import advice, as_json, as_table, borders, elsewhere, words
from vmatrace.commands.explain.borders import NOTHING, TOUCHING, state_at
from vmatrace.commands.explain.elsewhere import (
    APART,
    ELSEWHERE,
    GONE,
    ONE,
    RELEASES,
    Elsewhere,
    predecessors,
)
from vmatrace.commands.explain.lives import KINDS
from vmatrace.commands.explain.question import (
    DELIBERATE,
    Account,
    BorderAccount,
    Overview,
    deliberate,
    explain,
    overview,
)
from vmatrace.commands.explain.survey import Survey
from vmatrace.engine.merge import Blocker, blockers
from vmatrace.engine.syscalls.protection import mprotect
from vmatrace.event import Event
from vmatrace.kernels import KERNELS, Kernel, get_kernel
from vmatrace.replayer.alike import can_see
from vmatrace.replayer.run import Replay, replay
from vmatrace.search import generate
from vmatrace.trace.file import Trace, load_trace

PRE, POST = get_kernel("pre-patch"), get_kernel("post-patch")
#: Exhibits that take longest, replayed under two models but not under all.
_LONG = ("ksm-many-maps", "max-map-count-mmap", "max-map-count-split", "max-map-count-mremap")
SHORT = [name for name in EXHIBITS if not name.startswith(_LONG)]


def load(name: str) -> Trace:
    return load_trace(ROOT / exhibit(name))


def written(events: str, **header: str) -> Trace:
    head = "".join(f"{key}: {value}\n" for key, value in header.items())
    lines = "".join(f"  - {line.strip()}\n" for line in events.strip().splitlines())
    return load_trace(f"vmatrace: 1\n{head}events:\n{lines}".encode(), "inline.yaml")


def _random(index: int) -> Trace:
    calls = generate.generate("apart", index, 60)
    return Trace("random", "", lambda: iter(calls), files=generate.files())


def of(borders: list[BorderAccount]) -> dict[tuple[str, int], BorderAccount]:
    return {(border.pid, border.address): border for border in borders}


@pytest.mark.parametrize("kernel", [PRE, POST], ids=lambda kernel: kernel.name)
def test_every_border_of_every_exhibit_is_the_one_that_replay_reports(
    kernel: Kernel, run: RunProgram
) -> None:
    replayed = run("replay", "traces", "-k", kernel.name, "--format", "json").out.splitlines()
    for line in replayed:
        result = json.loads(line)
        told = of(overview(load_trace(result["path"]), kernel, models=False).borders)
        borders = {(p["pid"], b["address"]): b for p in result["processes"] for b in p["borders"]}
        assert told.keys() == borders.keys(), result["path"]
        for key, border in borders.items():
            account = told[key]
            below, above = account.today.flags
            attempt = account.attempt
            assert [b.code for b in blockers(account.today.mask)] == border["reasons"]
            assert list(abi.vm_flag_codes(below | above)) == border["flags"]
            assert below & above == 0
            line_of = attempt.event.line if attempt is not None and attempt.event else None
            assert border["refused_in_line"] in (None, line_of), result["path"]


@pytest.mark.parametrize("name", SHORT)
def test_what_other_models_make_of_a_border_is_what_their_replays_show(name: str) -> None:
    """By address alone, so only where every event returns the same under both models."""
    trace = load(name)
    told = overview(trace, POST)
    expected = [step.result for step in Replay(trace, POST).steps()]
    for model in KERNELS.values():
        here = Replay(trace, model)
        if [step.result for step in here.steps()] != expected:
            continue
        layouts = {p.pid: p.layout for p in here.result.processes}
        for border in told.borders:
            assert border.answer is not None
            at = border.address
            around = [m for m in layouts[border.pid] if m.start <= at and at <= m.end]
            if any(m.start < at < m.end for m in around):
                state = ONE
            else:
                state = APART if len(around) == 2 else GONE
            assert border.answer.verdicts[model.name].state == state, (model.name, hex(at))


@pytest.mark.parametrize("name", SHORT)
def test_models_taken_for_alike_leave_the_same_layouts(name: str) -> None:
    trace = load(name)
    uses = Survey(Replay(trace, POST)).uses
    groups: dict[frozenset[str], list[Kernel]] = {}
    for kernel in KERNELS.values():
        groups.setdefault(kernel.relevant(uses), []).append(kernel)
    for group in groups.values():
        layouts = [{p.pid: p.layout for p in replay(trace, k).processes} for k in group]
        assert all(a == b for a, b in pairwise(layouts)), [k.name for k in group]


def test_the_table_of_what_matters_spares_replays() -> None:
    trace = written("a = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0)")
    uses = Survey(Replay(trace, POST)).uses
    # merge-unfaulted-target and fill-next-first, which can always make one
    assert len({kernel.relevant(uses) for kernel in KERNELS.values()}) == 3


def test_each_model_with_changes_has_the_one_before_it() -> None:
    pairs = {after.name: before.name for before, after in predecessors()}
    assert pairs["6.17"] == "6.16"
    assert pairs["6.7"] == "6.6"
    assert pairs["next"] == RELEASES[-1]
    assert pairs["series-v2"] == "post-patch"
    assert set(pairs) == {k.name for k in KERNELS.values() if k.changes} - {"6.4"}


def test_a_cause_switched_alone_makes_the_difference() -> None:
    trace = load("ksm-adjacent-anon")
    for border in overview(trace, PRE).borders:
        assert border.answer is not None
        found = {(c.before, c.after): c for c in border.answer.causes}
        assert set(found) == {("6.16", "6.17"), ("6.17", "pre-patch")}
        for cause in found.values():
            ((feature, _),) = cause.features
            assert feature.name == "ksm-before-merge"
            one = PRE.with_features([feature.name])
            assert len(replay(trace, one).processes[0].layout) == 1


def test_features_that_work_only_together_are_named_together() -> None:
    (first, *_) = overview(load("mremap-multi-vma-gap"), POST).borders
    assert first.answer is not None
    (cause,) = (c for c in first.answer.causes if c.after == "6.17")
    assert {f.name for f, _ in cause.features} == {"mremap-multi-vma", "mremap-checks-first"}


def test_a_border_is_found_where_a_model_puts_it() -> None:
    """Before 6.7 the block is not aligned to 2 MiB; its two halves are neighbours all the same."""
    trace = written(
        """
        mmap(NULL, 4096, PROT_READ, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0)
        a = mmap(NULL, 0x400000, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0)
        mprotect(a + 0x200000, 0x200000, PROT_NONE)
        """
    )
    where = {k: Survey(Replay(trace, get_kernel(k))).labels["a"] for k in ("6.4", "6.17")}
    assert where["6.4"] != where["6.17"]
    (border,) = (b for b in overview(trace, POST).borders if b.above.perms == "---p")
    assert border.answer is not None
    assert {v.state for v in border.answer.verdicts.values()} == {APART}
    mapping = border.answer.verdicts["6.4"].mapping
    assert mapping is not None
    assert mapping.start == where["6.4"] + 0x200000


@pytest.mark.parametrize("name", SHORT)
def test_a_border_is_as_old_as_looking_at_every_step_says(name: str) -> None:
    _look_at_every_step(load(name))


@settings(max_examples=100)
@given(st.integers(0, 10_000))
def test_a_border_of_a_random_program_is_as_old_as_every_step_says(index: int) -> None:
    calls = generate.generate("borders", index, 60)
    _look_at_every_step(Trace("random", "", lambda: iter(calls), files=generate.files()))


@settings(max_examples=60)
@given(st.integers(0, 10_000), st.integers(1, 3))
def test_in_a_window_around_an_address_is_what_there_is_without_one(index: int, kept: int) -> None:
    calls = generate.generate("window", index, 60)
    trace = Trace("random", "", lambda: iter(calls), files=generate.files())
    places = [
        (process.pid, address)
        for process in replay(trace, POST).processes
        for mapping in process.layout
        for address in (mapping.start, mapping.end)
    ]

    def told() -> list[str]:
        texts = []
        for pid, address in places:
            out = io.StringIO()
            as_json.write(out, explain(trace, POST, "", address, pid, models=False))
            texts.append(out.getvalue())
        return texts

    everywhere = told()
    with mock.patch.multiple(borders, _KEPT=kept, _MOST=2 * kept):
        assert told() == everywhere


def test_a_border_that_comes_into_the_window_from_afar_is_known() -> None:
    """What is asked about merges with its neighbour, whose other border was not watched."""
    anonymous = "MAP_PRIVATE|MAP_ANONYMOUS|MAP_FIXED, -1, 0"
    trace = written(
        f"""\
mmap(0x10000000, 0x1000, PROT_EXEC, {anonymous})
mmap(0x10001000, 0x1000, PROT_READ, {anonymous})
mmap(0x10002000, 0x1000, PROT_NONE, {anonymous})
mmap(0x10003000, 0x1000, PROT_READ, {anonymous})
mprotect(0x10002000, 0x1000, PROT_READ)
"""
    )
    (border,) = overview(trace, POST, models=False).borders
    assert border.address == 0x10001000
    with mock.patch.multiple(borders, _KEPT=1, _MOST=2):
        account = explain(trace, POST, "", 0x10003000, models=False)
    assert account.lower is not None
    life, wanted = account.lower.life, border.life
    assert life.since is not None
    assert wanted.since is not None
    assert (life.since.nth, life.was, life.placed) == (wanted.since.nth, wanted.was, True)


def _look_at_every_step(trace: Trace) -> None:
    told = overview(trace, POST, "main", models=False).borders
    here = Replay(trace, POST)
    main = here.process("main")
    states = {b.address: state_at(main, b.address) for b in told}
    since: dict[int, int | None] = dict.fromkeys(states)
    was = dict.fromkeys(states, NOTHING)
    for step in here.steps():
        if step.mm is not here.live("main") or step.event.name == "exit_group":
            continue
        for at, state in states.items():
            now = state_at(step.mm, at)
            if now != state or step.event.name == "execve":
                was[at] = NOTHING if step.event.name == "execve" else state
                states[at], since[at] = now, step.index
    for border in told:
        moment = border.life.since
        assert states[border.address] == TOUCHING
        assert (moment.nth if moment is not None else None) == since[border.address], border.address
        assert border.life.was == was[border.address]


@pytest.mark.parametrize("kernel", [PRE, POST], ids=lambda kernel: kernel.name)
def test_two_that_are_alike_merge_when_the_advice_is_followed(kernel: Kernel) -> None:
    followed = 0
    for name in EXHIBITS:
        trace = load(name)
        survey = Survey(Replay(trace, kernel))
        for process in survey.result.processes:
            mm = survey.mms[process.pid]
            alike = [b.address for b in process.borders if b.mask == 0]
            for at in alike[:3]:
                above = mm.vmas.at(at)
                assert above is not None
                below = above.prev
                if above.start != at or below is None or mm.between(below, above):
                    continue  # following the advice at another border changed this one
                if (below.flags | above.flags) & abi.VM_SEALED:
                    continue  # nobody may follow it there
                start, end, was = below.start, above.end, above.flags & abi.VM_ACCESS_FLAGS
                assert mprotect(mm, start, end - start, was ^ abi.PROT_EXEC) == 0
                assert mprotect(mm, start, end - start, was) == 0
                whole = mm.vmas.at(at)
                assert whole is not None
                assert whole.start < at, (name, hex(at))
                followed += 1
    assert followed > 3


def test_every_reason_and_every_change_has_its_words() -> None:
    assert set(advice.ACTIONS) == set(Blocker)
    assert set(as_table.CHANGES) == set(KINDS)
    assert set(as_table.PURPOSES) == set(DELIBERATE)
    assert set(advice.FLAG_ACTIONS) <= set(abi.VM_FLAG_CODES)
    assert set(words.STATES) == {ONE, APART, ELSEWHERE, GONE}


@pytest.mark.parametrize("kernel", [PRE, POST], ids=lambda kernel: kernel.name)
def test_a_newer_kernel_is_advised_only_where_the_newest_makes_them_one(kernel: Kernel) -> None:
    advised = 0
    for name in ("mseal-munmap-leaves-split", "ksm-adjacent-anon", "anon-vma-unfaulted-left"):
        for border in overview(load(name), kernel).borders:
            assert border.answer is not None
            said = [text for text in advice.advice(border) if text.startswith("run a kernel")]
            advised += len(said)
            if said:
                assert border.answer.verdicts[RELEASES[-1]].state == ONE
    assert bool(advised) is (kernel is PRE)


def test_models_are_named_in_spans_of_releases() -> None:
    assert words.spans(KERNELS) == "every model"
    later = KERNELS.keys() - {"6.4", "6.5", "pre-patch", "series-v2"}
    assert words.spans(later) == "6.6 and later, post-patch"
    assert words.spans(later - {"next"}) == f"6.6 to {RELEASES[-1]}, post-patch, converted"
    assert words.spans(["6.4", "6.5", "6.12", "pre-patch"]) == ("6.4 to 6.5, 6.12, pre-patch")


@pytest.mark.parametrize(
    "name", ["ksm-adjacent-anon", "file-private-and-shared", "mprotect-cascade"]
)
def test_borders_that_a_model_does_away_with_are_not_taken_for_wanted(name: str) -> None:
    for border in overview(load(name), PRE).borders:
        assert border.answer is not None
        if ONE in {v.state for v in border.answer.verdicts.values()} or not border.today.mask:
            assert deliberate(border) is None


# --- stories ------------------------------------------------------------------------------------


def test_the_neighbour_taken_out_of_ksm_is_said_to_have_taken_the_new_memory_along() -> None:
    """Measured: one VMA without mg before the series, two after it."""
    (border,) = overview(load("ksm-unmergeable-neighbour"), POST).borders
    assert border.answer is not None
    assert border.answer.verdicts["6.12"].state == ONE
    assert border.answer.verdicts["6.18"].state == APART
    assert "KSM never looked at the new memory" in advice.lost_ksm(border.answer)
    for border in overview(load("ksm-adjacent-anon"), PRE).borders:
        assert advice.lost_ksm(border.answer) == ""


def test_history_tells_what_made_the_vma_and_counts_what_repeats() -> None:
    trace = written(
        """
        a = mmap(0x10000000, 4096, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS|MAP_FIXED, -1, 0)
        munmap(a, 4096)
        mmap(a, 4096, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS|MAP_FIXED, -1, 0)
        mmap(a+4096, 4096, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS|MAP_FIXED, -1, 0)
        mmap(a+8192, 4096, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS|MAP_FIXED, -1, 0)
        fault(a, 1, PROT_WRITE)
        madvise(a, 12288, MADV_MERGEABLE)
        mprotect(a+8192, 4096, PROT_NONE)
        munmap(a+4096, 4096)
        """
    )
    account = explain(trace, POST, "a", 0x10000000)
    told = [(c.kinds, c.times, c.last.event.line if c.last else 0) for c in account.history]
    assert told == [
        (("mapped",), 1, 5),
        (("grew",), 2, 7),
        (("written",), 1, 8),
        (("flags",), 1, 9),
        (("split",), 1, 10),
        (("shrank",), 1, 11),
    ]
    assert account.history[3].set == abi.VM_MERGEABLE
    assert account.before is not None
    assert account.anon == "own"


def test_a_child_knows_what_its_parent_went_through() -> None:
    trace = written(
        """
        a = mmap(0x10000000, 4096, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS|MAP_FIXED, -1, 0)
        mmap(a+4096, 4096, PROT_READ, MAP_PRIVATE|MAP_ANONYMOUS|MAP_FIXED, -1, 0)
        child = fork()
        munmap(a, 8192)
        """
    )
    account = explain(trace, POST, "a", 0x10000000, "child")
    assert [c.kinds for c in account.history] == [("mapped",), ("forked",)]
    assert account.upper is not None
    assert account.upper.life.since is not None
    assert account.upper.life.since.event.line == 4
    assert account.upper.attempt is not None
    gone = explain(trace, POST, "a", 0x10000000)
    assert gone.mapping is None
    assert gone.history[-1].kinds == ("unmapped",)
    assert gone.before is not None


def test_a_log_without_lines_is_told_by_the_number_of_the_event() -> None:
    lines = [
        Event("mmap", (0x10000000, 4096, 3, 0x32, -1, 0), "mmap(…)"),
        Event("mmap", (0x10001000, 4096, 1, 0x32, -1, 0), "mmap(…)"),
    ]
    trace = Trace("log", "log", lambda: iter(lines))
    (border,) = overview(trace, POST).borders
    assert border.life.since is not None
    assert as_table.when(border.life.since.event, border.life.since.nth) == "event 2"
    assert border.attempt is not None
    assert as_table.when(border.attempt.event) == "mmap(…)"


# --- on the command line ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("trace", "arguments", "said"),
    [
        ("several-processes", ["b"], "no label 'b'"),
        ("several-processes", ["aa"], "no label 'aa' (did you mean 'a'?)"),
        ("several-processes", ["child"], "(expected --pid child)"),
        ("several-processes", ["a", "--pid", "chld"], "(did you mean 'child'?)"),
        ("several-processes", ["a", "--pid", "grandchild"], "it ended in line 32: exit_group(0)"),
        ("several-processes", ["a-0x100000000"], "which is no address"),
        ("several-processes", ["a+"], "address 'a+': expected an address"),
        ("several-processes", ["0x1ffffffffffffffff"], "address '0x1ffffffffffffffff': the value"),
        ("several-processes", ["a", "-k", "6.99"], "unknown kernel '6.99'"),
    ],
)
def test_a_question_that_has_no_answer_says_why(
    trace: str, arguments: list[str], said: str, run: RunProgram
) -> None:
    done = run("explain", exhibit(trace), *arguments)
    assert (done.status, done.out) == (2, "")
    assert said in done.err


@pytest.mark.parametrize("address", ["0", "0xffffffffffffffff", "0x7ffffffff000", "0d4096"])
def test_beyond_everything_there_is_a_hole(address: str, run: RunProgram) -> None:
    done = run("explain", exhibit("ksm-adjacent-anon"), address)
    assert done.status == 1
    assert "nothing is mapped there" in done.out
    assert "nothing ever was" in done.out
    assert "nearest" in done.out


@pytest.mark.parametrize(
    "address",
    [
        "10003000", "0x10003000", "010003000", "10003000-10004000", "0X10003000-0x10004000",
        "0d268447744", "a + 3*PAGE_SIZE", "a+12288",
    ],
)  # fmt: skip
def test_an_address_is_what_tables_and_traces_write(address: str, run: RunProgram) -> None:
    done = run("explain", exhibit("ksm-adjacent-anon"), address, "-k", "6.12", "--no-models")
    assert done.status == 0
    assert "10003000 in main" in done.out
    told = run("explain", exhibit("ksm-adjacent-anon"), address, "--no-models", "--format", "json")
    assert json.loads(told.out)["address"] == 0x10003000


def test_what_a_table_prints_can_be_pasted(run: RunProgram) -> None:
    table = run("replay", exhibit("ksm-many-maps"), "-k", "6.12").out
    places = re.findall(r"^  ([0-9a-f]+-[0-9a-f]+) ", table, re.MULTILINE)
    assert len(places) > 2
    for place in places[:4]:
        done = run("explain", exhibit("ksm-many-maps"), place, "--no-models", "-k", "6.12")
        assert done.status == 0
        assert f"{place.split('-')[0]} in main" in done.out


def test_a_word_of_hex_digits_is_a_label_first(tmp_path: Path, run: RunProgram) -> None:
    trace = tmp_path / "words.yaml"
    anon = "4096, PROT_READ, MAP_PRIVATE|MAP_ANONYMOUS|MAP_FIXED, -1, 0)"
    trace.write_text(
        f"vmatrace: 1\nevents:\n  - deadbeef = mmap(0x10000000, {anon}\n"
        f"  - mmap(0xfeedb000, {anon}\n"
    )
    assert "10000000 in main" in run("explain", str(trace), "deadbeef").out
    assert "feedb000 in main" in run("explain", str(trace), "feedb000").out
    assert run("explain", str(trace), "feed").status == 2


def test_a_decimal_number_is_told_from_hexadecimal(run: RunProgram) -> None:
    done = run("explain", exhibit("ksm-adjacent-anon"), "268447744")
    assert done.status == 1
    assert "268447744 in main: nothing is mapped there" in done.out
    assert "0d268447744 is 10003000, in 10000000-10008000" in done.out


def test_of_a_hole_is_said_what_was_there_and_which_call_took_it(
    tmp_path: Path, run: RunProgram
) -> None:
    trace = tmp_path / "hole.yaml"
    trace.write_text(
        "vmatrace: 1\nevents:\n"
        "  - mmap(0x10000000, 12288, PROT_READ, MAP_PRIVATE|MAP_ANONYMOUS|MAP_FIXED, -1, 0)\n"
        "  - munmap(0x10001000, 4096)\n"
    )
    done = run("explain", str(trace), "0x10001800")
    assert "10001800 in main: nothing is mapped there" in done.out
    assert "10000000-10003000 was there until line 4: munmap(0x10001000, 4096)" in done.out
    assert "10000000-10001000 anonymous, ends 2K below" in done.out
    assert "10002000-10003000 anonymous, starts 2K above" in done.out
    told = json.loads(run("explain", str(trace), "0x10001800", "--format", "json").out)
    assert told["vma"] is None
    assert told["history"][0]["last"]["line"] == 4


def test_many_borders_stay_readable(tmp_path: Path, run: RunProgram) -> None:
    trace = tmp_path / "many.yaml"
    calls = "".join(
        f"  - mmap({0x10000000 + 4096 * i:#x}, 4096, PROT_READ, "
        "MAP_PRIVATE|MAP_ANONYMOUS|MAP_FIXED, -1, 0)\n"
        for i in range(1001)
    )
    trace.write_text("vmatrace: 1\nprocess: {ksm: true}\nevents:\n" + calls)
    asked = ("explain", str(trace), "all", "-k", "pre-patch")
    done = run(*asked, columns=80)
    assert "1000 borders" in done.out
    assert len(done.out.splitlines()) < 40
    assert len(json.loads(run(*asked, "--no-models", "--format", "json").out)["borders"]) == 1000


@pytest.mark.parametrize("name", EXHIBITS)
def test_every_exhibit_can_be_told_of_at_80_columns(name: str, run: RunProgram) -> None:
    done = run("explain", exhibit(name), "all", "--no-models", columns=80)
    assert done.status == 0
    paths = [line for line in done.out.splitlines() if len(line) > 80]
    assert paths == []


def test_the_answer_is_a_value() -> None:
    trace = load("ksm-adjacent-anon")
    assert isinstance(explain(trace, PRE, "a", 0x10000000), Account)
    assert isinstance(overview(trace, PRE), Overview)


@pytest.mark.parametrize("result", ["-1 ENOENT", "0"])
def test_a_program_that_could_not_be_executed_changes_no_memory(
    run: RunProgram, tmp_path: Path, result: str
) -> None:
    """Only one that was executed leaves nothing at the address."""
    mapping = "{}, PROT_READ, MAP_PRIVATE|MAP_ANONYMOUS|MAP_FIXED, -1, 0)".format
    lines = [
        f"mmap({mapping('0x10000, 4096')}", f"mmap({mapping('0x11000, 4096')}",
        "mprotect(0x11000, 4096, PROT_NONE)", f'"execve(\\"./b\\") = {result}"',
    ]  # fmt: skip
    path = tmp_path / "t.yaml"
    said = []
    for count in (3, 4):
        events = "".join(f"  - {line}\n" for line in lines[:count])
        path.write_text(f"vmatrace: 1\nname: t\nevents:\n{events}", encoding="utf-8")
        said.append(run("explain", str(path), "0x11000", "--kernel", "6.18", "--no-models").out)
    assert "mprotect(0x11000, 4096, PROT_NONE)" in said[0]
    assert (said[0] == said[1]) == (result != "0")


def _told(trace: Trace, kernel: Kernel, ksm: bool | None) -> str:
    out = io.StringIO()
    as_json.write(out, overview(trace, kernel, ksm=ksm))
    return out.getvalue()


def _pages(seed: int, length: int = 60) -> Trace:
    """A recorded program of calls on few pages, in which much is written to apart and meets."""
    random = Random(seed)
    protections = (3, 3, 3, 3, 1, 0)
    events: list[Event] = []
    pids = ["main"]

    def make(name: str, *args: int) -> None:
        events.append(
            Event(name, args, f"{name}({', '.join(map(hex, args))})", pid=random.choice(pids))
        )

    for _ in range(length):
        start, size = 0x10000000 + 0x1000 * random.randrange(24), 0x1000 * random.randint(1, 4)
        prot = random.choice(protections)
        if random.randrange(40) == 0:
            pids.append(f"child{len(pids)}")
            events.append(Event("fork", (), "fork()", label=pids[-1]))
        match random.randrange(12):
            case 0 | 1 | 2 | 3:
                make("mmap", start, size, prot, 0x32, -1, 0)
            case 4:
                make("mmap", 0, size, prot, 0x22, -1, 0)
            case 5:
                make("munmap", start, size)
            case 6 | 7:
                make("mprotect", start, size, prot)
            case 8:
                make("madvise", start, size, random.choice((14, 15, 16, 17)))
            case 9:
                make("brk", 0x555555559000 + 0x1000 * random.randrange(4))
            case _:
                make("fault", start, random.randint(1, size), 2)
    trace = Trace("", "pages", lambda: iter(events), recorded=True)
    steps = Replay(trace, get_kernel("6.12")).steps()
    for event, result in zip(list(events), [step.result for step in steps], strict=True):
        event.recorded = result if event.name != "fault" else None
    return trace


@settings(max_examples=150)
@given(
    st.one_of(st.integers(0, 10_000).map(_pages), st.integers(0, 10_000).map(_random)),
    st.sampled_from(sorted(KERNELS)),
    st.sampled_from([None, True]),
)
def test_who_merges_otherwise_has_what_a_replay_of_its_own_has(
    trace: Trace, kernel: str, ksm: bool | None
) -> None:
    told = _told(trace, get_kernel(kernel), ksm)
    with mock.patch.object(elsewhere, "RULES", ()):
        assert _told(trace, get_kernel(kernel), ksm) == told


def test_who_merges_otherwise_is_replayed_only_where_that_matters() -> None:
    """The test above would not notice if every model had a replay of its own."""
    lead = [Elsewhere(_pages(index), POST, None) for index in range(100)]
    for one in lead:
        for _ in one.steps():
            pass
    apart = [one.lockstep.apart for one in lead]
    seen = can_see()  # in a compiled engine each has its own
    assert (sum(one is not None and one.branches > 0 for one in apart) > 5) == seen
    assert (sum(one is None for one in apart) < 8) == seen


def test_a_border_where_models_merge_otherwise_is_looked_at_again() -> None:
    """What fits between two that were written to apart goes to the one or to the other."""
    trace = written(
        """\
a = mmap(0x10000000, 0x1000, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS|MAP_FIXED, -1, 0)
fault(a, 1, PROT_WRITE)
b = mmap(0x10002000, 0x1000, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS|MAP_FIXED, -1, 0)
fault(b, 1, PROT_WRITE)
mmap(0x10001000, 0x1000, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS|MAP_FIXED, -1, 0)
"""
    )
    for kernel in KERNELS.values():
        (border,) = overview(trace, kernel).borders
        answer = border.answer
        assert answer is not None
        assert {verdict.state for verdict in answer.verdicts.values()} == {APART, ONE}
        account = explain(trace, kernel, "", border.address)
        assert account.lower is not None
        assert account.lower.answer == answer
