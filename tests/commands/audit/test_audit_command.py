"""audit: what looks alike in a snapshot is what the engine could not tell apart by sight."""

from __future__ import annotations

import json
import sys
from io import BytesIO, TextIOWrapper
from pathlib import Path

import pytest
from program import EXHIBITS, ROOT, RunProgram, exhibit

from vmatrace import abi
from vmatrace.commands.audit import question, words
from vmatrace.commands.audit.question import LIKELY, POSSIBLE, Audit, by_cause, running
from vmatrace.commands.audit.snapshot import read
from vmatrace.engine import merge
from vmatrace.kernels import KERNELS, Kernel, get_kernel
from vmatrace.layout import LayoutError, smaps_text
from vmatrace.replayer.run import replay
from vmatrace.trace.file import load_trace

PRE, POST = get_kernel("pre-patch"), get_kernel("post-patch")
RW = "rd wr mr mw me ac"


def record(
    page: int, pages: int = 1, codes: str = RW, perms: str = "rw-p", anonymous: int = 0,
    offset: int = 0, inode: int = 0, name: str = "",
) -> str:  # fmt: skip
    """One record of smaps at 0x10000000 + *page* pages."""
    start = 0x10000000 + 4096 * page
    device = "fe:00" if inode else "00:00"
    return (
        f"{start:08x}-{start + 4096 * pages:08x} {perms} {offset:08x} {device} {inode} {name}\n"
        f"Size:   {4 * pages} kB\nRss:    {anonymous} kB\nAnonymous:   {anonymous} kB\n"
        f"THPeligible:    0\nVmFlags: {codes} sd \n"
    )


def look(*records: str, kernel: Kernel | None = POST) -> Audit:
    return question.audit(read("".join(records)), kernel, 65530)


def causes(found: Audit) -> dict[str, str]:
    (run,) = found.runs
    return dict(run.causes)


# --- what is alike ------------------------------------------------------------------------------


@pytest.mark.parametrize("kernel", [PRE, POST], ids=lambda kernel: kernel.name)
def test_of_every_exhibit_the_apart_are_those_that_the_engine_cannot_tell_by_sight(
    kernel: Kernel,
) -> None:
    """What is equal to the engine looks alike, and what looks alike differs in nothing visible."""
    visible = merge.FLAGS | merge.NAME | merge.SPECIAL
    for name in EXHIBITS:
        trace = load_trace(ROOT / exhibit(name))
        for process in replay(trace, kernel).processes:
            snapshot = read(smaps_text(process.layout))
            found = question.audit(snapshot, kernel, 65530)
            alike = {m.start for run in found.runs for m in run.mappings[1:]}
            for border in process.borders:
                if border.mask == 0:
                    assert border.address in alike, (name, hex(border.address))
                if border.address in alike:
                    assert not border.mask & visible, (name, hex(border.address))


@pytest.mark.parametrize(
    ("second", "apart"),
    [
        (record(1), True),
        (record(2), False),
        (record(1, perms="r--p", codes="rd mr mw me ac"), False),
        (record(1, codes=RW + " lo"), False),
        (record(1, codes=RW + " gu"), True),
        (record(1, name="[anon:x]"), False),
        (record(1, name="[heap]"), True),
        (record(1, inode=7, name="/a", offset=4096), False),
    ],
)
def test_two_are_alike_if_they_touch_and_nothing_visible_differs(second: str, apart: bool) -> None:
    assert bool(look(record(0), second).savable) is apart


def test_a_file_has_to_go_on_where_it_ended() -> None:
    first = record(0, 2, inode=7, name="/a")
    assert look(first, record(2, inode=7, name="/a", offset=8192)).savable == 1
    assert look(first, record(2, inode=7, name="/a", offset=4096)).savable == 0
    assert look(first, record(2, inode=8, name="/a", offset=8192)).savable == 0


def test_special_mappings_are_counted_and_never_saved() -> None:
    found = look(record(0, codes="rd mr de io"), record(1, codes="rd mr de io"))
    assert (found.savable, found.special) == (0, 1)


def test_those_that_ksm_alone_separates_are_counted_apart() -> None:
    found = look(record(0), record(1, codes=RW + " mg"), record(2), record(3, codes=RW + " lo mg"))
    assert (found.savable, found.by_ksm, found.mergeable) == (0, 2, 2)


def test_a_row_of_alike_ones_is_one_run_and_saves_all_but_one() -> None:
    found = look(*(record(i) for i in range(5)), *(record(i) for i in (7, 8)))
    assert [run.savable for run in found.runs] == [4, 1]
    assert [len(group) for group in by_cause(found.runs).values()] == [2]


# --- causes -------------------------------------------------------------------------------------


def test_mg_on_both_before_the_series_is_its_fingerprint() -> None:
    two = record(0, codes=RW + " mg"), record(1, codes=RW + " mg")
    assert causes(look(*two, kernel=PRE))["flag-set-late"] == LIKELY
    assert "flag-set-late" not in causes(look(*two, kernel=POST))
    assert causes(look(*two, kernel=None))["flag-set-late"] == POSSIBLE


def test_a_driver_with_the_old_hook_gets_the_flag_late_even_with_the_series() -> None:
    of = {"codes": "rd mr mw me mg", "inode": 7, "name": "/a", "perms": "r--p"}
    found = look(record(0, **of), record(1, offset=4096, **of))  # type: ignore[arg-type]
    assert causes(found)["flag-set-late"] == POSSIBLE
    assert causes(found)["opened-twice"] == LIKELY


def test_memory_written_to_on_both_sides_has_two_anon_vmas() -> None:
    assert causes(look(record(0, anonymous=4), record(1, anonymous=4)))["faulted-apart"] == LIKELY
    assert causes(look(record(0, anonymous=4), record(1)))["faulted-apart"] == POSSIBLE


def test_only_older_kernels_refuse_a_pair_of_which_one_was_written_to() -> None:
    two = record(0, anonymous=4), record(1)
    assert causes(look(*two, kernel=get_kernel("6.15")))["one-faulted"] == LIKELY
    assert "one-faulted" not in causes(look(*two, kernel=get_kernel("6.16")))


def test_shared_memory_has_no_anon_vma() -> None:
    of = {"codes": "rd wr sh mr mw me ms", "perms": "rw-s", "inode": 9, "name": "/dev/shm/x"}
    found = look(record(0, **of), record(1, offset=4096, **of))  # type: ignore[arg-type]
    assert not {"faulted-apart", "forked", "page-offset", "flag-set-late"} & set(causes(found))


def test_every_cause_has_its_words() -> None:
    assert set(words.SENTENCES) == set(words.BRIEFLY) == set(question.CAUSES)
    assert set(words.ACTIONS) < set(question.CAUSES)


# --- reading ------------------------------------------------------------------------------------


def test_leaving_the_counters_out_changes_nothing_and_keeps_the_line_of_an_error() -> None:
    text = record(0) + record(1, anonymous=8)
    assert [m.faulted for m in read(text).layout] == [False, True]
    with pytest.raises(LayoutError) as caught:
        read(text + "nonsense\n")
    assert caught.value.line == 13


def test_vsyscall_is_no_vma() -> None:
    found = look(record(0), "ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0 [vsyscall]\n")
    assert found.vmas == 1


@pytest.mark.parametrize(
    ("release", "model"),
    [
        ("6.18.44", "6.18.44"),
        ("6.18.1-arch1-1", "6.18.1"),
        ("6.12.117+deb13-amd64", "6.12.117"),
        ("6.4.0-rc1", "6.4"),
        ("7.2.0", "7.2"),
        ("99.1.0", [n for n in KERNELS if n[0].isdigit()][-1]),
        ("5.15.0-91-generic", None),
        ("unknown", None),
    ],
)
def test_a_running_release_is_its_model_or_the_newest(release: str, model: str | None) -> None:
    found = running(release)
    assert (found.name if found else None) == model


# --- on the command line ------------------------------------------------------------------------


@pytest.fixture
def smaps(tmp_path: Path) -> Path:
    file = tmp_path / "smaps"
    file.write_text("".join(record(i, codes=RW + " mg") for i in range(3)), encoding="utf-8")
    return file


def test_the_fingerprint_is_named_with_commit_and_release(smaps: Path, run: RunProgram) -> None:
    before = run("audit", str(smaps), "-k", "6.12", columns=200)
    assert before.status == 1
    assert "fingerprint of KSM by default before 6.17, fixed by cf7e7a3503df" in before.out
    after = run("audit", str(smaps), "-k", "6.18", columns=200)
    assert after.status == 1
    assert "has the KSM series (6.17, cf7e7a3503df), so" in after.out
    assert "65530 (assumed) leaves 65527" in after.out


def test_a_limit_that_is_given_is_not_assumed(smaps: Path, run: RunProgram) -> None:
    done = run("audit", str(smaps), "--max-map-count", "2", "--format", "json")
    told = json.loads(done.out)
    assert (told["headroom"], told["max_map_count_assumed"]) == (0, False)
    assert told["savable"] == 2
    assert [len(r["vmas"]) for r in told["runs"]] == [3]


def test_a_maps_text_says_what_it_cannot_tell(tmp_path: Path, run: RunProgram) -> None:
    maps = tmp_path / "maps"
    maps.write_text("10000000-10001000 rw-p 00000000 00:00 0 \n")
    done = run("audit", str(maps))
    assert done.status == 0
    assert "without VmFlags" in done.out
    assert json.loads(run("audit", str(maps), "--format", "json").out)["mergeable"] is None


def test_without_flags_nothing_else_is_likely() -> None:
    """As of a library whose read-only data the loader has protected: VM_ACCOUNT differs."""
    maps = (
        "10000000-10001000 r--p 00000000 fe:00 7 /lib/libc.so\n"
        "10001000-10002000 r--p 00001000 fe:00 7 /lib/libc.so\n"
    )
    found = causes(question.audit(read(maps), PRE, 65530))
    assert {name for name, sure in found.items() if sure == LIKELY} == {"hidden-flags"}


def test_standard_input_is_read(monkeypatch: pytest.MonkeyPatch, run: RunProgram) -> None:
    stream = TextIOWrapper(BytesIO((record(0) + record(1)).encode()))
    monkeypatch.setattr(sys, "stdin", stream)
    done = run("audit", "-")
    assert done.status == 1
    assert done.out.startswith("<stdin>")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no mapping in it (expected the text of /proc/PID/smaps or maps)"),
        ("Size: 4 kB\n", ":1:1: error: a field before the first mapping"),
        ("Foo: 4 kB\n", ":1:1: error: a field before the first mapping"),
        ("10000000-10001000 rw-p 00000000 00:00 0\nVmFlags: zzz\n", ":2:1: error: unknown VmFlags"),
        ("\x00\xff\n", ": error: it looks like a binary file"),
    ],
)
def test_what_is_no_snapshot_is_refused(
    text: str, said: str, tmp_path: Path, run: RunProgram
) -> None:
    file = tmp_path / "bad"
    file.write_bytes(text.encode("latin-1"))
    done = run("audit", str(file))
    assert (done.status, done.out) == (2, "")
    assert said in done.err


def test_what_cannot_be_read_is_said(tmp_path: Path, run: RunProgram) -> None:
    assert "No such file" in run("audit", str(tmp_path / "none")).err
    assert "no snapshot in this directory" in run("audit", str(tmp_path)).err
    assert "no such process" in run("audit", "4194305").err
    assert run("audit", "4194305").status == 2


def test_flags_that_a_snapshot_has_are_those_of_the_kernel() -> None:
    (mapping,) = read(record(0, codes=RW + " mg")).layout
    assert mapping.vm_flags & abi.VM_MERGEABLE
