"""What is printed of a hunt: each kind of difference, and what became of the hunt."""

from __future__ import annotations

import dataclasses
import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import pytest

from vmatrace.commands.hunt import as_json, as_table
from vmatrace.commands.hunt.question import Bounds, Hunted, go_real, starting_points, write
from vmatrace.kernels import FEATURES, get_kernel
from vmatrace.render.paper import Paper
from vmatrace.search.finds import Find, Ground
from vmatrace.trace.file import Trace
from vmatrace.verify.campaign import Campaign

FIND = Find(
    kind=("madvise", "merge"),
    causes=("ksm-before-merge", "ksm-late-check-before-hook"),
    together=True,
    call="madvise",
    what="merges",
    outcomes=("none", "with the VMA below"),
    calls=2,
    text="vmatrace: 1\nevents: [munlockall()]\n",
    program=17,
    lines=("a = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0)", "munlockall()"),
)
UNKNOWN = dataclasses.replace(FIND, causes=(), together=False, outcomes=("none", "none"))
ALONE = dataclasses.replace(FIND, causes=("fill-next-first",))
HUNT = Hunted("6.12", "6.18", "beef", 12345, 1.5, [])


def shown(found: Hunted, width: int | None = 80) -> str:
    out = io.StringIO()
    as_table.write(Paper(out, width), found)
    return out.getvalue()


def test_each_kind_with_its_cause_and_program() -> None:
    found = dataclasses.replace(HUNT, finds=[FIND, UNKNOWN, ALONE], worse=True)
    fixed, first = FEATURES["ksm-before-merge"], FEATURES["fill-next-first"]
    calls = (
        "     a = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0)\n"
        "     munlockall()\n\n"
    )
    assert shown(found) == (
        "1. madvise: merges\n"
        "   together: ksm-before-merge, ksm-late-check-before-hook\n"
        f'   {fixed.commit} ("{fixed.subject}")\n'
        "   6.12: none\n   6.18: with the VMA below\n" + calls +
        "2. madvise: merges\n   cause unknown\n" + calls +
        "3. madvise: merges\n   fill-next-first\n"
        f'   {first.commit} ("{first.subject}")\n'
        "   6.12: none\n   6.18: with the VMA below\n" + calls +
        "6.12 and 6.18: 3 kinds of difference by which 6.18 is worse in 12,345 programs,\n"
        "seed beef\n"
    )  # fmt: skip
    any_of = dataclasses.replace(FIND, together=False)
    assert shown(dataclasses.replace(HUNT, finds=[any_of])).splitlines()[1] == (
        "   ksm-before-merge, ksm-late-check-before-hook"
    )
    narrow = shown(found, 40).splitlines()
    assert narrow[1:3] == ["   together: ksm-before-merge,", "   ksm-late-check-before-hook"]
    assert narrow[5:10] == [
        "   6.12: none", "   6.18: with the VMA below",
        "     a = mmap(NULL, 4096, PROT_READ,", "         MAP_PRIVATE|MAP_ANONYMOUS, -1,",
        "         0)",
    ]  # fmt: skip


def test_what_became_of_the_hunt() -> None:
    assert shown(HUNT) == "6.12 and 6.18: no difference in 12,345 programs, seed beef\n"
    assert shown(dataclasses.replace(HUNT, finds=[UNKNOWN])).endswith(
        "6.12 and 6.18: 1 kind of difference in 12,345 programs, seed beef\n"
    )
    worse = dataclasses.replace(
        HUNT, worse=True, interrupted=True, died=1, ended="no room", skipped=["x: a log"]
    )
    assert shown(worse, None) == (
        "6.12 and 6.18: no difference by which 6.18 is worse in interrupted after 12,345 programs, "
        "seed beef\nthe kernel died once and was booted anew\nended early: no room\n"
        "1 trace of the corpus not started from, such as x: a log\n"
    )
    often = dataclasses.replace(
        HUNT, died=2, skipped=["x: a log", "y: z"], paths=["a.yaml", "b.yaml"]
    )
    assert shown(often).splitlines()[1:] == [
        "the kernel died 2 times and was booted anew",
        "2 traces of the corpus not started from, such as x: a log",
        "written to a.yaml",
        "written to b.yaml",
    ]


def test_json_has_all_of_it() -> None:
    out = io.StringIO()
    found = dataclasses.replace(HUNT, finds=[FIND], died=3, ended="no room", skipped=["x: a log"])
    as_json.write(out, dataclasses.replace(found, paths=["a.yaml"]))
    as_json.write(out, HUNT)
    full, empty = map(json.loads, out.getvalue().splitlines())
    assert full == {
        "format": "vmatrace-hunt/1", "from": "6.12", "to": "6.18", "seed": "beef",
        "programs": 12345, "worse": False, "interrupted": False, "died": 3, "ended": "no room",
        "skipped": ["x: a log"], "outputs": ["a.yaml"],
        "finds": [{
            "call": "madvise", "what": "merges",
            "merges": {"from": "none", "to": "with the VMA below"},
            "features": ["ksm-before-merge", "ksm-late-check-before-hook"], "together": True,
            "program": 17, "calls": list(FIND.lines), "text": FIND.text,
        }],
    }  # fmt: skip
    assert empty["ended"] is None
    assert (empty["finds"], empty["skipped"], empty["outputs"]) == ([], [], [])


def test_each_find_has_a_file_of_its_own() -> None:
    """Named by the first two causes and the call; a number tells those of one name apart."""
    many = dataclasses.replace(FIND, causes=("a", "b", "c"), text="3")
    finds = [FIND, UNKNOWN, FIND, ALONE, UNKNOWN, many, FIND]
    found, put = dataclasses.replace(HUNT, finds=finds, paths=[]), []
    write(found, "d", lambda path, text: put.append((path, text)))
    stem = "ksm-before-merge-ksm-late-check-before-hook-madvise"
    assert found.paths == [
        f"d/{name}.yaml" for name in (
            stem, "unknown-madvise", f"{stem}-2", "fill-next-first-madvise", "unknown-madvise-2",
            "a-b-madvise", f"{stem}-3",
        )
    ]  # fmt: skip
    assert put == [(path, find.text) for path, find in zip(found.paths, finds, strict=True)]


def test_what_no_program_can_start_from_is_left_out_with_the_reason() -> None:
    calls = [f"munlock({4096 * n}, 4096) = 0" for n in range(100)]
    whole = Trace.of(calls, name="whole")
    large = dataclasses.replace(whole, page_size=16384, path="large.yaml")
    partial = dataclasses.replace(whole, partial=True, path="log")
    ((base, events),), skipped = starting_points([large, whole, partial])
    assert skipped == [
        "large.yaml: it has pages of 16384 bytes",
        "log: it is partial, and shows not all that a process did",
    ]
    assert [event.args[0] for event in events] == [4096 * n for n in range(len(events))]
    assert 10 <= len(events) <= 100
    assert list(base.items()) == []
    assert (base.name, base.notes) == ("whole", None)


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize(("real", "boot"), [("running", None), ("boot:/x/bzImage", "/x/bzImage")])
def test_a_hunt_on_a_real_kernel_is_told_as_that_on_models(
    monkeypatch: pytest.MonkeyPatch, first: bool, real: str, boot: str | None
) -> None:
    seen: list[object] = []

    @contextmanager
    def machine(image: str | None) -> Iterator[SimpleNamespace]:
        seen.append(image)
        yield SimpleNamespace(release="6.18.3")

    class Hunt:
        def __init__(self, campaign: Campaign, at: object, ground: Ground, front: bool) -> None:
            assert (campaign.seed, campaign.programs, campaign.boot) == ("beef", 0, boot)
            assert (campaign.kernel.name, campaign.asked, campaign.release) == (
                "6.18", "6.18", "6.18.3",
            )  # fmt: skip
            assert front is first
            assert campaign.events >= 8

        def run(self, *bounds: object) -> SimpleNamespace:
            seen.extend(bounds[:3])
            return SimpleNamespace(
                programs=5, seconds=1.5, finds=[FIND], interrupted=True, died=2, skipped=["x: y"],
                ended="no room",
            )  # fmt: skip

    monkeypatch.setattr("vmatrace.oracle.boot.open_machine", machine)
    monkeypatch.setattr("vmatrace.verify.realhunt.RealHunt", Hunt)
    ground = Ground(get_kernel("6.12"), get_kernel("6.18"), "beef", worse=True)
    found = go_real(ground, real, first, Bounds(7, 8.0, 9), lambda _: None)
    assert seen == [boot, 7, 8.0, 9]
    sides = ("6.18.3", "6.18") if first else ("6.18", "6.18.3")
    assert found == Hunted(
        *sides, "beef", 5, 1.5, [FIND], True, True, [], 2, ["x: y"], "no room"
    )  # fmt: skip
