"""The page of an audit: whole, self-contained, and nothing of a snapshot is markup in it."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from program import RunProgram

HOSTILE = "</style><script>alert(1)</script>{{style}}&amp;\\033[0m\"'"


class Page(HTMLParser):
    """The tags and texts of a page; every tag that is opened is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in {"meta"}:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def snapshot(path: Path, pages: int) -> Path:
    """Pages that are accessible and not by turns, and a file with a name that means harm."""
    lines = [
        f"{0x10000 + 4096 * i:x}-{0x11000 + 4096 * i:x} {'-' if i % 2 else 'r'}--p 0 00:00 0\n"
        f"VmFlags: {'' if i % 2 else 'rd '}mr\n"
        for i in range(pages)
    ]
    name = HOSTILE.replace("/", "\u2215")
    path.write_text("".join(lines) + f"70000000-70001000 r--p 0 fe:00 5 /tmp/{name}\nVmFlags: rd\n")
    return path


@pytest.fixture
def page(tmp_path: Path, run: RunProgram) -> Page:
    file = tmp_path / "x.html"
    source = snapshot(tmp_path / "smaps", 2500)
    done = run("audit", str(source), f"--format=html={file}", "--fail-below", "0")
    assert (done.status, done.err) == (0, "")
    return Page(file.read_text(encoding="utf-8"))


def test_the_page_fetches_nothing(page: Page) -> None:
    assert {"link", "img", "iframe"} & {tag for tag, _ in page.tags} == set()
    for tag, attributes in page.tags:
        assert not {"src", "style", "srcset", "action"} & set(attributes)
        assert "href" not in attributes or tag == "a"
        assert re.match("#|https://git.kernel.org/linus/", str(attributes.get("href", "#")))
        assert not [name for name in attributes if name.startswith("on")]


def test_its_style_and_script_are_what_its_policy_lets_in(page: Page) -> None:
    (policy,) = (
        str(attributes["content"])
        for tag, attributes in page.tags
        if tag == "meta" and attributes.get("http-equiv") == "Content-Security-Policy"
    )
    (css,) = (text for text in page.texts if ":root {" in text)
    (script,) = (text for text in page.texts if text.startswith("'use strict'"))
    named = [
        f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
        for text in (script, css)
    ]
    assert policy == (
        f"default-src 'none'; script-src {named[0]}; style-src {named[1]}; base-uri 'none'; "
        "form-action 'none'"
    )


def test_names_are_text(page: Page) -> None:
    assert any("<script>alert(1)" in text for text in page.texts)
    assert any("{{style}}&amp;" in text for text in page.texts)
    assert all("\x1b" not in text for text in page.texts)


def test_the_map_is_drawn_to_scale_and_small(page: Page) -> None:
    drawn = [attributes for tag, attributes in page.tags if tag == "rect" and "x" in attributes]
    assert sum(int(str(a["width"])) for a in drawn) == 2501
    assert [int(str(a["x"])) for a in drawn] == [
        sum(int(str(b["width"])) for b in drawn[:i]) for i in range(len(drawn))
    ]
    assert len(drawn) < 1000
    text = " ".join(page.texts)
    assert "guard pages between small pieces" in text
    assert "MADV_GUARD_INSTALL" in text


def test_several_are_one_page_sorted_by_use(tmp_path: Path, run: RunProgram) -> None:
    for name, pages in (("few", 3), ("many", 30)):
        snapshot(tmp_path / name, pages)
    out = run("audit", str(tmp_path / "few"), str(tmp_path / "many"), "--format", "html").out
    page = Page(out)
    summaries = re.findall(r"<summary>([^<]*)</summary>", out)
    assert [Path(summary).name for summary in summaries] == ["many", "few"]
    assert "2 address spaces" in page.texts


def test_the_name_of_the_file_says_the_form(run: RunProgram, tmp_path: Path) -> None:
    snapshot = "tests/golden/audit/mixed.smaps"
    for suffix in ("html", "json", "csv", "md"):
        file = tmp_path / f"x.{suffix}"
        done = run("audit", snapshot, "--kernel", "6.12", "-o", str(file))
        form = {"md": "markdown"}.get(suffix, suffix)
        printed = run("audit", snapshot, "--kernel", "6.12", "--format", form)
        assert (done.out, done.err, done.status) == ("", "", printed.status)
        assert file.read_text(encoding="utf-8") == printed.out
    wrong = run("audit", snapshot, "-k", "6.12", "--format", "csv", "-o", str(tmp_path / "x.html"))
    assert wrong.status == 2
    assert "is a name for html, not for csv" in wrong.err


@pytest.mark.parametrize(("kinds", "said"), [(60, ""), (61, "And 1 smaller kind."), (63, "kinds.")])
def test_so_many_kinds_are_on_the_page(
    tmp_path: Path, run: RunProgram, kinds: int, said: str
) -> None:
    names = [f"/{chr(97 + i // 26)}{chr(97 + i % 26)}" for i in range(kinds)]
    rows = [
        f"{0x100000 + 0x10000 * i:x}-{0x101000 + 0x10000 * i:x} r--p 0 fe:00 {i + 1} {name}\n"
        "VmFlags: rd mr\n"
        for i, name in enumerate(names)
    ]
    (tmp_path / "smaps").write_text("".join(rows))
    page = Page(run("audit", str(tmp_path / "smaps"), "--format", "html").out)
    told = " ".join(page.texts)
    assert sum(name in page.texts for name in names) == 60
    assert ("smaller kind" in told) == bool(said)
    assert said in told


@pytest.mark.parametrize("count", [50, 51])
def test_so_many_audits_are_on_the_page(tmp_path: Path, run: RunProgram, count: int) -> None:
    """Those nearest to their limits; the others have a row, too."""
    names = [f"s{pages:02}" for pages in range(1, count + 1)]
    for pages, name in enumerate(names, 1):
        snapshot(tmp_path / name, pages)
    out = run("audit", *(str(tmp_path / name) for name in names), "--format", "html").out
    page = Page(out)
    summaries = [Path(text).name for text in re.findall(r"<summary>([^<]*)</summary>", out)]
    assert summaries == names[::-1][:50]
    rows = re.findall(r'<a href="#audit-(\d+)">([^<]*)</a>', out)
    assert [(int(number), Path(name).name) for number, name in rows] == [
        (number, names[number - 1]) for number in range(count, 0, -1)
    ]
    more = [text for text in page.texts if "has them all" in text]
    assert more == (["And 1 more; --format json has them all."] if count == 51 else [])
    assert page.texts.count(f"{count} address spaces") == 1
