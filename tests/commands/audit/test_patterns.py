"""What fills a map: each VMA of one pattern, and each pattern told by what makes it."""

from __future__ import annotations

import csv
import io
import json
import re
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from program import RunProgram
from test_groups import layouts

from vmatrace.commands.audit import patterns
from vmatrace.commands.audit.patternwords import PATTERNS
from vmatrace.commands.audit.snapshot import read
from vmatrace.commands.whatif import rewritings
from vmatrace.layout import Mapping
from vmatrace.schema import reports

RW = "rd wr mr mw me ac"
K = 1 << 10
M = 1 << 20


class Text:
    """A smaps text that grows upwards."""

    def __init__(self, at: int = 0x7F0000000000) -> None:
        self.at = at
        self.text = ""

    def add(
        self, size: int, perms: str = "rw-p", codes: str = RW, name: str = "", *, gap: int = 0,
        inode: int = 0, offset: int = 0,
    ) -> Text:  # fmt: skip
        """One VMA of *size* bytes, *gap* bytes above the last."""
        self.at += gap
        device = "fe:00" if inode else "00:00"
        self.text += (
            f"{self.at:x}-{self.at + size:x} {perms} {offset:08x} {device} {inode} {name}\n"
        )
        self.text += f"Anonymous: 4 kB\nVmFlags: {codes} \n"
        self.at += size
        return self

    def none(self, size: int, **more: int) -> Text:
        """Inaccessible anonymous memory."""
        return self.add(size, "---p", "mr mw me", **more)  # type: ignore[arg-type]

    def patterns(self) -> dict[str, int]:
        """How many VMAs each pattern has."""
        return {use.name: use.vmas for use in patterns.patterns(read(self.text).layout)}


def test_a_guard_page_below_each_stack() -> None:
    text = Text()
    for _ in range(5):
        text.none(4 * K).add(8 * M)
    assert text.patterns() == {"thread-stacks": 10}
    java = Text()
    for _ in range(5):
        java.none(16 * K).add(1008 * K)
    assert java.patterns() == {"thread-stacks": 10}


@pytest.mark.parametrize(
    ("guard", "stack", "found"),
    [
        (64 * 4 * K, 16 * 4 * K, {"thread-stacks": 6}),
        (65 * 4 * K, 16 * 4 * K, {"reserve-and-commit": 6}),
        (4 * K, 15 * 4 * K, {"guard-pages": 6}),
        (4 * K, 256 * M, {"thread-stacks": 6}),
        (4 * K, 256 * M + 4 * K, {"guard-pages": 6}),
        (64 * 4 * K, 15 * 4 * K, {"guard-pages": 6}),
    ],
)
def test_a_stack_and_its_guard_have_their_sizes(
    guard: int, stack: int, found: dict[str, int]
) -> None:
    text = Text()
    for _ in range(3):
        text.none(guard).add(stack)
    text.add(4 * K, gap=1 << 32)  # so small are pages
    assert text.patterns() == {**found, "single": 1}


@pytest.mark.parametrize(
    ("gap", "found"),
    [
        (64 * M, {"holes": 4}),
        (64 * M + 4 * K, {"single": 4}),
    ],
)
def test_a_hole_has_a_limit(gap: int, found: dict[str, int]) -> None:
    text = Text().add(4 * K)
    for _ in range(3):
        text.add(4 * K, gap=gap)
    assert text.patterns() == found


@pytest.mark.parametrize(("pieces", "name"), [(2, "files"), (3, "file-pieces")])
def test_pieces_of_a_file_are_some(pieces: int, name: str) -> None:
    text = Text()
    for i in range(pieces):
        text.add(4 * K, "r--p", "rd mr mw me", "/data/db", inode=3, offset=64 * K * i, gap=4 * K)
    assert text.patterns() == {name: pieces}


@pytest.mark.parametrize(("pieces", "name"), [(7, "single"), (8, "scattered")])
def test_scattered_pieces_are_many(pieces: int, name: str) -> None:
    text = Text()
    for _ in range(pieces):
        text.add(256 * K, gap=1 << 32)
    assert text.patterns() == {name: pieces}


def test_the_runs_of_a_pattern_are_counted_the_longest_first() -> None:
    text = Text()
    for stacks in (1, 3, 2):
        for _ in range(stacks):
            text.none(4 * K).add(8 * M)
        text.add(4 * K, "r-xp", "rd ex", "[vdso]", gap=4 * K)
        text.add(4 * K, gap=1 << 32)
        text.at += 1 << 32
    first, *others = patterns.patterns(read(text.text).layout)
    assert (first.name, first.vmas, first.bytes) == ("thread-stacks", 12, 6 * (8 * M + 4 * K))
    assert [run.vmas for run in first.runs] == [6, 4, 2]
    assert all(run.end - run.start == run.vmas // 2 * (8 * M + 4 * K) for run in first.runs)
    assert [(use.name, use.vmas) for use in others] == [("kernel", 3), ("single", 3)]


def test_alternating_pages_are_guards_of_small_pieces() -> None:
    text = Text()
    for _ in range(5):
        text.add(4 * K).none(4 * K)
    assert text.patterns() == {"guard-pages": 10}


def test_arenas_are_used_below_and_reserved_above_even_side_by_side() -> None:
    text = Text()
    for used in (132 * K, 4 * M, 12 * M):
        text.add(used).none(64 * M - used)
    assert text.patterns() == {"glibc-arenas": 6}
    assert "glibc-arenas" not in Text(0x7F0000001000).add(132 * K).none(64 * M - 132 * K).patterns()


def test_pieces_of_a_reservation() -> None:
    text = Text()
    for used in (2 * M, 8 * M, 4 * M):
        text.add(used).none(16 * M + used)
    assert text.patterns() == {"reserve-and-commit": 6}


def test_pages_of_generated_code() -> None:
    text = Text()
    for _ in range(3):
        text.add(4 * K, "r-xp", "rd ex mr mw me").add(4 * K)
    assert text.patterns() == {"jit-pages": 6}
    double = Text()
    for i in range(3):
        double.add(4 * K, "r-xs", "rd ex sh mr me ms", "/memfd:doublemapper (deleted)", inode=9,
                   offset=8 * K * i)  # fmt: skip
        double.add(4 * K, "rw-s", "rd wr sh mr mw ms", "/memfd:doublemapper (deleted)", inode=9,
                   offset=64 * K * i)  # fmt: skip
    assert double.patterns() == {"jit-pages": 6}


@pytest.mark.parametrize(
    ("perms", "codes", "name", "pattern"),
    [
        ("r--p", "rd mr mw me ac", "", "protection"),
        ("rw-p", RW, "[anon:b]", "names"),
        ("rw-p", RW + " dc", "", "dontfork"),
        ("rw-p", "rd wr mr mw me nr", "", "accounting"),
        ("rw-p", "rd wr mr mw me lo ac", "", "locked"),
        ("rw-p", RW + " mg", "", "ksm-flag"),
        ("rw-p", RW + " hg", "", "advice"),
        ("rw-p", RW + " sl", "", "advice"),
        ("rw-p", RW + " zz", "", "advice"),
        ("rw-p", RW, "", "lookalikes"),
        ("rw-p", RW + " gu", "", "lookalikes"),
    ],
)
def test_what_two_neighbours_differ_in_names_the_pattern(
    perms: str, codes: str, name: str, pattern: str
) -> None:
    text = Text()
    for _ in range(4):
        text.add(4 * K).add(4 * K, perms, codes, name)
    assert text.patterns() == {pattern: 8}


def test_holes_are_between_what_is_alike() -> None:
    text = Text().add(4 * K)
    for _ in range(4):
        text.add(4 * K, gap=4 * K)
    assert text.patterns() == {"holes": 5}
    assert Text().add(4 * K).add(4 * K, gap=4 * K).patterns() == {"single": 2}
    far = Text().add(4 * K).add(4 * K, gap=1 << 30).add(4 * K, gap=1 << 30)
    assert far.patterns() == {"single": 3}


def test_alike_pieces_far_apart_are_scattered_where_there_are_many() -> None:
    """As the pages of V8's heap, each at a random address."""
    text = Text()
    for _ in range(8):
        text.add(256 * K, gap=1 << 32)
    text.add(128 * K, gap=1 << 32)
    assert text.patterns() == {"scattered": 8, "single": 1}


def test_files_by_how_they_are_mapped() -> None:
    text = Text()
    ro = "rd mr mw me"
    for offset, perms, codes in ((0, "r--p", ro), (4 * K, "r-xp", "rd ex mr mw me")):
        text.add(4 * K, perms, codes, "/lib/x.so", inode=1, offset=offset)
    text.add(8 * K)  # its .bss
    text.add(4 * K, "r--p", ro, "/data/a", inode=2, gap=4 * K)
    for i in range(3):
        text.add(4 * K, "r--p", ro, "/data/db", inode=3, offset=64 * K * i, gap=4 * K)
    text.add(4 * K, "rw-s", "rd wr sh", "/memfd:x (deleted)", inode=4, gap=4 * K)
    text.add(4 * K, "rw-s", "rd wr sh io", "/dev/dri/card0", inode=5, gap=4 * K)
    text.add(4 * K, "r-xp", "rd ex", "[vdso]", gap=4 * K)
    assert text.patterns() == {
        "libraries": 3, "files": 1, "file-pieces": 3, "shared-memory": 1, "devices": 1, "kernel": 1,
    }  # fmt: skip


@given(layouts())
def test_patterns_have_each_vma_once_and_runs_each_pattern(layout: list[Mapping]) -> None:
    found = patterns.patterns(layout)
    assert sum(use.vmas for use in found) == len(layout)
    assert sum(use.bytes for use in found) == sum(m.end - m.start for m in layout)
    named = patterns.assigned(layout)
    for use in found:
        assert use.vmas == named.count(use.name) == sum(run.vmas for run in use.runs)
        for run in use.runs:
            inside = [i for i, m in enumerate(layout) if run.start <= m.start < run.end]
            assert [named[i] for i in inside] == [use.name] * run.vmas
            assert (layout[inside[0]].start, layout[inside[-1]].end) == (run.start, run.end)
    assert len({run.start for use in found for run in use.runs}) == sum(
        len(use.runs) for use in found
    )


def test_the_schema_knows_every_pattern() -> None:
    assert reports.PATTERNS == patterns.PATTERNS


def test_every_pattern_has_words_and_names_a_rewriting_that_is_there() -> None:
    assert set(PATTERNS) == set(patterns.PATTERNS)
    there = {module.NAME for module in rewritings.ALL}
    assert {said.rewriting for said in PATTERNS.values() if said.rewriting} <= there
    for name, said in PATTERNS.items():
        assert len(said.title) <= 45, name
        assert not said.made_by.endswith(".")
        assert not said.remedy.endswith(".")


# --- on the command line ------------------------------------------------------------------------


@pytest.fixture
def guarded(tmp_path: Path) -> Path:
    """A snapshot of 40 VMAs in guard pages, and one file with a name that drives a terminal."""
    text = Text()
    for _ in range(20):
        text.add(4 * K).none(4 * K)
    text.add(4 * K, "r--p", "rd mr mw me", "/tmp/\\033]0;x\\007=1", inode=3, gap=4 * K)
    path = tmp_path / "smaps"
    path.write_text(text.text)
    return path


def copied(path: Path) -> str:
    """The path of another file with the same text."""
    other = path.with_name("other")
    other.write_text(path.read_text())
    return str(other)


def test_a_pattern_comes_with_its_cause_remedy_and_rewriting(
    guarded: Path, run: RunProgram
) -> None:
    status, out, err = run("audit", str(guarded), "--max-map-count", "41", columns=80)
    assert (status, err) == (0, "")
    assert max(map(len, out.splitlines()[1:])) <= 80
    assert "max_map_count 41 leaves 0 (0%)" in out
    flat = " ".join(out.split())
    assert "40 97.6% 160K guard pages between small pieces" in flat
    assert "longest 40 VMAs in a row at 7f0000000000-7f0000028000 (1 run in all)" in flat
    assert "MADV_GUARD_INSTALL (6.13)" in flat
    assert "`vmatrace whatif TRACE` tries this as guards" in flat


@pytest.mark.parametrize("form", ["table", "json", "csv", "markdown", "prometheus", "svg"])
def test_names_in_a_snapshot_drive_no_terminal(guarded: Path, run: RunProgram, form: str) -> None:
    out = run("audit", str(guarded), "--format", form).out
    assert out
    assert not set(out) & {chr(code) for code in range(32) if code != 10}
    assert "\x7f" not in out


@pytest.mark.parametrize(
    ("below", "status"),
    [("0", 0), ("59", 0), ("60", 1), ("58%", 0), ("59.1%", 1), ("100%", 1), ("0%", 0)],
)
def test_less_headroom_than_asked_for_fails(
    guarded: Path, run: RunProgram, below: str, status: int
) -> None:
    done = run("audit", str(guarded), "--max-map-count", "100", "--fail-below", below)
    assert done.status == status


@pytest.mark.parametrize("below", ["", "%", "-1", "101%", "5k", "1e3", "٣", "1.5", "nan%", "\x1b"])
def test_what_is_no_headroom_is_refused(guarded: Path, run: RunProgram, below: str) -> None:
    done = run("audit", str(guarded), "--fail-below", below)
    assert (done.status, done.out) == (2, "")
    assert "is no headroom (expected a number of VMAs, such as 5000" in " ".join(done.err.split())
    assert "\x1b" not in done.err


def test_fail_below_is_not_about_lookalikes(tmp_path: Path, run: RunProgram) -> None:
    path = tmp_path / "a"
    path.write_text(Text().add(4 * K).add(4 * K).text)
    assert run("audit", str(path)).status == 1
    assert run("audit", str(path), "--fail-below", "10%").status == 0


def test_rows_of_csv_add_up(guarded: Path, run: RunProgram) -> None:
    out = run("audit", str(guarded), copied(guarded), "--format", "csv").out
    rows = list(csv.DictReader(io.StringIO(out)))
    assert sum(int(row["vmas"]) for row in rows) == 2 * 41
    assert {row["pattern"] for row in rows} == {"guard-pages", "files"}
    told = json.loads(run("audit", str(guarded), "--format", "json").out)
    for pattern in told["patterns"]:
        mine = [row for row in rows if row["pattern"] == pattern["pattern"]]
        assert sum(int(row["bytes"]) for row in mine) == 2 * pattern["bytes"]


def test_the_samples_of_a_metric_stand_together(guarded: Path, run: RunProgram) -> None:
    """As the text format of Prometheus has it: HELP, TYPE, then all samples of the name."""
    out = run("audit", str(guarded), copied(guarded), "--format", "prometheus").out
    sample = re.compile(
        r'(\w+)\{\w+="(?:[^"\\\n]|\\[\\n"])*"(?:,\w+="(?:[^"\\\n]|\\[\\n"])*")*\} \d+'
    )
    seen: list[str] = []
    for line in out.splitlines():
        if line.startswith("# HELP "):
            seen.append(line.split()[2])
        elif line.startswith("# TYPE "):
            assert line == f"# TYPE {seen[-1]} gauge"
        else:
            match = sample.fullmatch(line)
            assert match is not None, line
            assert match[1] == seen[-1]
    assert len(set(seen)) == len(seen)
    patterned = re.findall(r'^vmatrace_pattern_vmas\{.*pattern="([\w-]+)"\} (\d+)$', out, re.M)
    assert patterned == [("guard-pages", "40"), ("files", "1")] * 2


def test_a_map_of_the_largest_size_is_looked_at_within_reason() -> None:
    """A few hundred bytes for each VMA beside the layout itself: 65,530 of them are no matter."""
    layout = [Mapping((2 * i) << 12, (2 * i + 1) << 12, i % 2 * 3) for i in range(1, 20_000)]
    tracemalloc.start()
    patterns.patterns(layout)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 400 * len(layout)


def test_nothing_to_save_is_said(tmp_path: Path, run: RunProgram) -> None:
    text = Text().add(4 * K).add(4 * K, "r--p", "rd mr mw me ac", gap=M).text
    (tmp_path / "smaps").write_text(text)
    done = run("audit", str(tmp_path / "smaps"), "-k", "6.12")
    assert (done.status, done.err) == (0, "")
    assert done.out.splitlines()[-1] == "No neighbours that look alike are apart."
