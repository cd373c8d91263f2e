"""What is shown of samples while they are taken: counts, a curve in one line, a forecast, cuts."""

from __future__ import annotations

import io

import pytest

from vmatrace.commands.audit.patterns import PATTERNS
from vmatrace.commands.audit.snapshot import read
from vmatrace.commands.audit.watch import live
from vmatrace.commands.audit.watch.as_table import write_state
from vmatrace.commands.audit.watch.ratchet import Ratchet
from vmatrace.commands.audit.watch.samples import IN_MEMORY, About, Sample, Samples
from vmatrace.render.paper import Paper


def sample(at: float, vmas: int) -> Sample:
    return Sample(at, 0.1, vmas, 0, 1000, {})


def shown(
    width: int | None, samples: list[Sample], ratchets: list[Ratchet], name: str = "db"
) -> str:
    out = io.StringIO()
    write_state(Paper(out, width), About(7, name, 1, "6.18"), samples, ratchets)
    return out.getvalue()


UNEVEN = [sample(100, 10), sample(110, 200), sample(111, 100), sample(120, 400), sample(140, 300)]
HEAD = """\
7 db  kernel 6.18  5 samples in 40 s
300 VMAs, 30% of 1000: leaves 700
peak 400, 20 s before the last sample
"""
#: Half of the highest from a quarter of the time on, all of it from the middle on.
CURVE = "▁" * 19 + "▄" + "▂" * 18 + "█" * 37 + "▆ 400\n"
FORECAST = "+7.2 VMAs/s (-35.5 to 50.0 with 95%); the limit perhaps never, at the earliest\n"


def test_samples_and_their_ratchets() -> None:
    ratchets = [Ratchet(name, 20 - n, n, 0) for n, name in enumerate(PATTERNS[:8])]
    assert shown(80, UNEVEN, ratchets) == (
        f"{HEAD}{CURVE}{FORECAST}in 5.3 s (95%)\n"
        """
came  healed  unmapped  still there  cuts of
  20       0         0           20  stacks, each above a guard page
  19       1         0           18  guard pages between small pieces
  18       2         0           16  arenas of glibc's malloc
  17       3         0           14  memory reserved, and committed in pieces
  16       4         0           12  pages of generated code
  15       5         0           10  pieces of differing protection
  and 2 more patterns (--format json has them all)
a ratchet: stacks, each above a guard page, 20 cuts came and none went
"""
    )


def test_a_pattern_whose_cuts_go_is_no_ratchet() -> None:
    holes = PATTERNS.index("holes")
    names = PATTERNS[holes : holes + 4]
    cuts = [(3, 1, 0), (3, 0, 1), (3, 1, 2), (1, 0, 0)]
    ratchets = [Ratchet(name, *each) for name, each in zip(names, cuts, strict=True)]
    text = shown(120, UNEVEN, ratchets)
    rows = [line.split()[:4] for line in text.splitlines()[7:11]]
    assert rows == [[*map(str, each), str(each[0] - each[1] - each[2])] for each in cuts]
    assert "more pattern" not in text
    assert [line for line in text.splitlines() if line.startswith("a ratchet")] == [
        "a ratchet: files mapped in pieces, 1 cut came and none went"
    ]
    assert "and 1 more pattern (" in shown(80, UNEVEN, [Ratchet("holes", 1, 1, 0)] * 7)
    assert "more pattern" not in shown(80, UNEVEN, [Ratchet("holes", 1, 1, 0)] * 6)


def test_the_curve_is_as_wide_as_the_paper_and_no_wider_than_80() -> None:
    narrow = shown(40, UNEVEN, [])
    assert narrow.splitlines()[3] == "▁" * 9 + "▄" * 9 + "█" * 17 + "▆ 400"
    assert shown(200, UNEVEN, []).splitlines()[3] + "\n" == CURVE
    assert shown(None, UNEVEN, []).splitlines()[3] + "\n" == CURVE


def test_a_curve_has_a_level_for_each_eighth() -> None:
    samples = [sample(100 + i, vmas) for i, vmas in enumerate([0, 1, 100, 101, 200, 450, 799, 800])]
    assert " ▁▁▂▂▅██ 800" in shown(12, samples, []).splitlines()
    out = io.TextIOWrapper(io.BytesIO(), "ascii")
    write_state(Paper(out, 12), About(7, "db", 1, "6.18"), samples, [])
    out.seek(0)
    assert " ..::+@@ 800" in out.read().splitlines()


def test_one_sample_has_no_curve_and_no_peak() -> None:
    assert shown(80, [sample(100, 10)], [], "") == (
        "7  kernel 6.18  1 sample in 0.0 s\n10 VMAs, 1% of 1000: leaves 990\nno forecast yet\n"
    )
    assert "peak" not in shown(80, [sample(1, 10), sample(2, 10)], [])
    over = shown(80, [sample(1, 900), sample(3, 1001)], [])
    assert "1001 VMAs, 100.1% of 1000: leaves 0\n" in over


def test_a_terminal_shows_the_state_and_how_it_ends() -> None:
    out = io.StringIO()
    with Samples(IN_MEMORY, About(7, "db", 1, "6.18")) as samples:
        for number in (1, 3):
            rows = "".join(
                f"{i * 2 + 1:x}000-{i * 2 + 2:x}000 r--p 0 00:00 0 \n" for i in range(number)
            )
            samples.add(read(rows), 100.0 + number, 0.1, 1000)
        live.write_live(Paper(out, 80), live._State(samples))
        state = io.StringIO()
        write_state(Paper(state, 80), samples.about, samples.taken, samples.cuts.ratchets())
    assert out.getvalue() == state.getvalue() + "Ctrl-C ends with a summary\n"
    assert "3 VMAs, 0.3% of 1000" in out.getvalue()


def test_samples_further_apart_than_asked_for_are_worth_a_word(
    capsys: pytest.CaptureFixture[str],
) -> None:
    live._say_stretched(0.1234, 1.234)
    assert capsys.readouterr() == (
        "",
        "vmatrace: note: reading takes 0.12 s of the kernel, so a sample is taken each 1.2 s\n",
    )
