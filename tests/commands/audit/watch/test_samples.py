"""Samples in a file: what is read back is what was put in, for every sample; cuts add up."""

from __future__ import annotations

import sqlite3
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_groups import layouts

from vmatrace.commands.audit.patterns import assigned
from vmatrace.commands.audit.snapshot import Snapshot
from vmatrace.commands.audit.watch.ratchet import Cuts, Ratchet
from vmatrace.commands.audit.watch.samples import IN_MEMORY, About, Samples, open_samples
from vmatrace.diagnostic import TraceError
from vmatrace.layout import Layout, Mapping

ABOUT = About(1234, "na\x1bme", 99, "6.18.44")
series = st.lists(layouts(), min_size=1, max_size=5)


def fill(samples: Samples, found: list[Layout], first: int = 0) -> None:
    for i, layout in enumerate(found, first):
        samples.add(Snapshot(layout, True, True), 1000.0 + i, 0.25, 65530)


def exact(layout: Layout) -> list[tuple[object, ...]]:
    return [(*m.key(), m.device, m.inode, m.faulted, m.foreign, m.flags_known) for m in layout]


@settings(max_examples=50)
@given(series)
def test_every_sample_is_read_back_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, found: list[Layout]
) -> None:
    path = str(tmp_path_factory.mktemp("samples") / "x.sqlite")
    for layout in found:
        for mapping in layout[::3]:
            mapping.faulted, mapping.foreign = True, ("zz",)
    with Samples(path, ABOUT) as samples:
        fill(samples, found[:2])
    with Samples(path, ABOUT) as samples:  # as after a restart
        fill(samples, found[2:], 2)
        taken, ratchets = samples.taken, samples.cuts.ratchets()
    with open_samples(path) as read:
        assert (read.about, read.taken) == (ABOUT, taken)
        assert read.cuts.ratchets() == ratchets
        for number, layout in enumerate(found, 1):
            assert exact(read.snapshot(number).layout) == exact(layout)
            assert read.taken[number - 1].patterns == Counter(assigned(layout))
        assert exact(read.snapshot().layout) == exact(found[-1])


def test_what_is_as_large_as_it_can_be_fits() -> None:
    top = (1 << 64) - 4096
    layout = [Mapping(top - 4096, top, 1 << 63, top, "x", "ff:ff", (1 << 64) - 1)]
    with Samples(IN_MEMORY, ABOUT) as samples:
        fill(samples, [layout])
        assert exact(samples.snapshot().layout) == exact(layout)


@given(series)
def test_cuts_that_came_are_there_healed_or_unmapped(found: list[Layout]) -> None:
    cuts = Cuts()
    first = {m.start for m in found[0]}
    lasting = set(first)
    for number, layout in enumerate(found, 1):
        cuts.add(number, layout, assigned(layout))
        lasting &= {m.start for m in layout}
        assert set(cuts.there) == {m.start for m in layout}
    ratchets = cuts.ratchets()
    assert sum(r.there for r in ratchets) == len(found[-1]) - len(lasting)
    assert all(min(r) >= 0 for r in ([r.came, r.healed, r.unmapped, r.there] for r in ratchets))


def test_a_cut_heals_where_two_become_one_and_goes_with_what_is_unmapped() -> None:
    def pages(*ranges: tuple[int, int]) -> Layout:
        return [Mapping(a << 12, b << 12, 3) for a, b in ranges]

    cuts = Cuts()
    for number, layout in enumerate(
        [
            pages((0, 9)),
            pages((0, 3), (3, 6), (6, 9)),  # split twice
            pages((0, 6), (6, 9)),  # one heals
            pages((0, 6)),  # the other is unmapped
            pages((0, 6), (7, 8)),  # and a third comes and stays
        ],
        1,
    ):
        cuts.add(number, layout, ["single"] * len(layout))
    assert cuts.ratchets() == [Ratchet("single", 3, 1, 1)]


# --- what is no file of samples -------------------------------------------------------------------


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    path = tmp_path / "x.sqlite"
    with Samples(str(path), ABOUT) as samples:
        fill(samples, [[Mapping(4096, 8192, 3)], [Mapping(4096, 8192, 3), Mapping(8192, 12288, 1)]])
    return path


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE about SET value = 'other/1' WHERE key = 'format'",
        "UPDATE about SET value = 'x' WHERE key = 'pid'",
        "DELETE FROM about WHERE key = 'started'",
        "DROP TABLE about",
        "DROP TABLE vmas",
        "DROP TABLE cuts",
        "UPDATE samples SET vmas = 'many'",
        "UPDATE samples SET vmas = NULL",
        "UPDATE samples SET at = 1e300",
        "UPDATE samples SET max_map_count = 0",
        "UPDATE vmas SET end = start",
        "UPDATE vmas SET end = 1 << 40",
        "UPDATE vmas SET start = 'x'",
        "UPDATE kinds SET flags = x'00'",
        "UPDATE cuts SET address = NULL WHERE 0; UPDATE patterns SET vmas = 'x'",
        "DELETE FROM samples",
        "UPDATE cuts SET pattern = 'x'",
        "UPDATE patterns SET pattern = x'1b'",
        "DELETE FROM about WHERE key = 'kernel'",
    ],
)
def test_a_damaged_file_is_refused_and_says_so(kept: Path, damage: str, run: object) -> None:
    with sqlite3.connect(kept) as db:
        db.executescript(damage)
    db.close()
    for form in ("table", "json", "csv"):
        done = run("audit", str(kept), "--format", form)  # type: ignore[operator]
        assert (done.status, done.out) == (2, ""), done
        assert done.err.startswith(f"{kept}: error: ")


@pytest.mark.parametrize("size", [16, 100, 5000])
def test_a_file_that_is_cut_off_is_refused(kept: Path, size: int, run: object) -> None:
    kept.write_bytes(kept.read_bytes()[:size])
    done = run("audit", str(kept))  # type: ignore[operator]
    assert (done.status, done.out) == (2, "")
    assert done.err.startswith(f"{kept}: error: ")


def test_a_file_that_holds_something_else_is_not_written_to(kept: Path, tmp_path: Path) -> None:
    before = kept.read_bytes()
    with pytest.raises(TraceError, match=r"samples of another process, 1234 na\\x1bme"):
        Samples(str(kept), ABOUT._replace(started=100))
    assert kept.read_bytes() == before
    text = tmp_path / "notes"
    text.write_text("a note that somebody needs\n" * 100)
    with pytest.raises(TraceError, match="file is not a database"):
        Samples(str(text), ABOUT)
    assert text.read_text() == "a note that somebody needs\n" * 100
    with pytest.raises(TraceError, match="unable to open"):
        Samples(str(tmp_path / "no" / "such"), ABOUT)
