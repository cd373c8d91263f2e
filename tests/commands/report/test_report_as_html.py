"""The page as a file: complete, inert and small, and what it holds leads back to the layouts."""

from __future__ import annotations

import base64
import hashlib
import importlib
import io
import json
import re
import zlib
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from program import EXHIBITS, ROOT, exhibit

from vmatrace.commands.report import as_html, frames
from vmatrace.commands.report.question import report, unlimited
from vmatrace.event import Event, File
from vmatrace.importers import open_trace
from vmatrace.kernels import get_kernel
from vmatrace.layout import Layout
from vmatrace.replayer.lockstep import Lockstep
from vmatrace.replayer.run import Replay
from vmatrace.trace.file import Trace, load_trace

PAIR = (get_kernel("pre-patch"), get_kernel("post-patch"))
HOSTILE = "</script><img src=x onerror=alert(1)> \"'& <!-- {{data}} \u2028"


def html(trace: Trace) -> str:
    out = io.StringIO()
    as_html.write(out, report(trace, PAIR))
    return out.getvalue()


def packed(trace: Trace) -> dict[str, Any]:
    """The data as the page gets it: through JSON."""
    data: dict[str, Any] = json.loads(json.dumps(as_html.pack(report(trace, PAIR))))
    return data


class Elements(HTMLParser):
    """What a browser would make of the file, roughly: its tags, and text of scripts and styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.raw: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1][0] in ("script", "style") and data.strip():
            self.raw.append(data)


def small() -> Trace:
    return load_trace(ROOT / exhibit("ksm-adjacent-anon"))


def test_the_file_asks_for_nothing() -> None:
    parsed = Elements(html(small()))
    for tag, attributes in parsed.tags:
        assert tag not in ("link", "img", "iframe", "base", "form", "object"), tag
        assert not {"src", "style", "srcset", "action"} & set(attributes), tag
        assert str(attributes.get("href", "#")).startswith("#")
        assert not [name for name in attributes if name.startswith("on")]
    links = r"https?://(?!www\.w3\.org/2000/svg|git\.kernel\.org/linus/)"
    assert not re.search(rf"@import|url\(|{links}", "".join(parsed.raw))


def test_the_policy_allows_the_one_script_and_the_one_style_and_nothing_else() -> None:
    parsed = Elements(html(small()))
    (policy,) = (a["content"] for _, a in parsed.tags if "http-equiv" in a)
    style, _, script = parsed.raw
    allowed = dict(part.strip().split(" ", 1) for part in str(policy).split(";"))

    def named(text: str) -> str:
        return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

    assert allowed == {
        "default-src": "'none'",
        "script-src": named(script),
        "style-src": named(style),
        "base-uri": "'none'",
        "form-action": "'none'",
    }


def hostile(name: str) -> Trace:
    """A trace that says *name* wherever a name can stand."""
    call = Event("mmap", (0x10000000, 4096, 1, 2, 3, 0), name, line=1)
    return Trace("x", name, lambda: iter([call]), name, files={3: File("/" + name)})


def test_hostile_names_change_no_element() -> None:
    honest, attacked = (Elements(html(hostile(name))) for name in ("name", HOSTILE))
    assert [tag for tag, _ in attacked.tags] == [tag for tag, _ in honest.tags]


@settings(max_examples=25)
@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1))
def test_a_name_comes_back_from_the_data_as_it_was(name: str) -> None:
    data = Elements(html(hostile(name))).raw[1]
    assert json.loads(data)["trace"] == name
    assert "<" not in data


def test_a_page_of_a_hundred_thousand_events_is_small(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what is compressed in it is what small pages hold as it is."""
    monkeypatch.syspath_prepend(str(ROOT / "tests" / "bench"))
    log = tmp_path / "calls.log"
    calls = importlib.import_module("logs").memory_calls(100_000)
    log.write_text("\n".join(calls) + "\n", encoding="utf-8")
    found = report(open_trace(str(log)), PAIR, True)
    assert found.events >= 100_000
    out = io.StringIO()
    as_html.write(out, found)
    assert len(out.getvalue().encode()) <= 1_000_000
    parsed = Elements(out.getvalue())
    assert [a["type"] for _, a in parsed.tags if a.get("id") == "data"] == [
        "application/zlib;base64"
    ]
    data = json.loads(zlib.decompress(base64.b64decode(parsed.raw[1], validate=True)))
    assert data == json.loads(json.dumps(as_html.pack(found)))


# --- what is packed ------------------------------------------------------------------------------


def unpacked(data: dict[str, Any]) -> list[dict[tuple[int, int], list[tuple[object, ...]]]]:
    """At each frame the layouts by process and model, as page.js makes them."""
    size = data["page_size"]
    states: dict[tuple[int, int], dict[int, tuple[object, ...]]] = {}
    found = []
    for frame in data["frames"]:
        for process, side, gone, come in frame[5]:
            state = states.setdefault((process, side), {})
            start = 0
            for distance in gone:
                start += distance
                del state[start]
            start = 0
            for i in range(0, len(come), 6):
                distance, pages, attributes, offset, border, _ = come[i : i + 6]
                start += distance
                perms, codes, name, *_ = data["attributes"][attributes]
                state[start] = (
                    start * size, (start + pages) * size, perms, offset * size, name, codes,
                    border >= 0,
                )  # fmt: skip
        found.append({key: [state[s] for s in sorted(state)] for key, state in states.items()})
    return found


def expected(layout: Layout) -> list[tuple[object, ...]]:
    ends = {m.end for m in layout}
    return [
        (m.start, m.end, m.perms, m.offset, m.name, " ".join(m.codes), m.start in ends)
        for m in layout
    ]


@pytest.mark.parametrize("name", EXHIBITS)
def test_the_frames_lead_to_the_layouts_of_the_replays(name: str) -> None:
    trace = load_trace(ROOT / exhibit(name))
    data = packed(trace)
    frames_ = unpacked(data)
    names = [process["name"].split(" ")[0].split(",")[0] for process in data["processes"]]
    checked = 0
    free = unlimited(trace)
    for number, steps in enumerate(
        Lockstep(free, [Replay(free, kernel) for kernel in PAIR]).steps(), 1
    ):
        assert data["frames"][number][:2] == [number, steps[0].event.line]
        for side, step in enumerate(steps):
            if step.pid in names:
                process = names.index(step.pid)
                assert frames_[number][process, side] == expected(step.layout)
                checked += 1
    assert checked


def test_every_border_has_its_words() -> None:
    data = packed(small())
    kinds = {row[0] for row in data["borders"]}
    assert kinds == {"ksm"}
    (now, met, mended) = data["borders"][0][1:]
    assert (now, mended) == ("", 1)
    assert met == "flags differ: mg (VM_MERGEABLE) only on the one already there"
    come = data["frames"][-1][5][0][3]
    line, text = data["calls"][come[5]]
    assert line == data["frames"][-1][1]
    assert text.startswith("mmap(")
    assert data["commit"][0] == "cf7e7a3503df"


def test_a_long_trace_has_few_frames_and_its_peak_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames, "MAX_FRAMES", 5)
    monkeypatch.setattr(frames, "_FEWEST", 1)
    trace = load_trace(ROOT / exhibit("ksm-many-maps"))
    data = packed(trace)
    every = [number for number, *_ in data["frames"]]
    assert data["every"] == 5
    assert every == [0, 2, 5, 10, 15, 20, 25]  # 2 is where post-patch has its peak
    assert len(unpacked(data)[-1][0, 0]) == 24
    assert len(unpacked(data)[-1][0, 1]) == 1


@pytest.mark.parametrize("name", EXHIBITS)
def test_few_frames_show_what_all_of_them_show(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    trace = load_trace(ROOT / exhibit(name))
    everything = {frame[0]: layouts for frame, layouts in _states(packed(trace))}
    monkeypatch.setattr(frames, "MAX_FRAMES", 3)
    monkeypatch.setattr(frames, "_FEWEST", 1)
    for frame, layouts in _states(packed(trace)):
        shown = everything[frame[0]]
        assert layouts == {key: layout for key, layout in shown.items() if key in layouts}
        assert all(not shown[key] for key in shown.keys() - layouts.keys())


def _states(data: dict[str, Any]) -> list[tuple[list[Any], dict[tuple[int, int], Any]]]:
    return list(zip(data["frames"], unpacked(data), strict=True))


def test_a_page_of_two_thousand_events_is_small() -> None:
    """Five hundred mappings come and go all the time; the page is far below 5 MB."""
    lines = []
    for i in range(1000):
        start = 0x10000000 + 4096 * (i * 7 % 499)
        lines += [
            f"  - mmap({start:#x}, 4096, PROT_READ|PROT_WRITE, "
            "MAP_PRIVATE|MAP_ANONYMOUS|MAP_FIXED, -1, 0)",
            f"  - munmap({0x10000000 + 4096 * (i * 11 % 499):#x}, 4096)",
        ]
    text = "vmatrace: 1\nprocess: {ksm: true}\nevents:\n" + "\n".join(lines) + "\n"
    trace = load_trace(text.encode(), "x.yaml")
    assert len(as_html.pack(report(trace, PAIR))["frames"]) == 2001
    assert len(html(trace)) < 1_000_000
