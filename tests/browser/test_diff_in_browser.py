"""The page of a diff in a real Chromium: what differs, why, and one click to the commit."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from looks import contrasts
from program import ROOT, exhibit
from webdriver import Browser, missing, one_browser

from vmatrace.cli import main

__all__ = ["one_browser"]
pytestmark = pytest.mark.skipif(missing() is not None, reason=missing() or "")

ADJACENT = "ksm-adjacent-anon"
PERL = "traces/programs/perl.yaml"
#: Two differences with something equal between them, and names that mean harm.
MIXED = """\
vmatrace: 1
name: "</script><img src=x onerror=alert(1)> \\" ' & <!-- <b>"
description: "<script>alert(2)</script> {{data}}"
files: {3: {path: "/tmp/</script><script>alert(3)</script>/<i>x", fs: ext4}}
process: {ksm: true}
events:
  - mmap(0x10000000, 4096, PROT_READ, MAP_PRIVATE|MAP_ANONYMOUS|MAP_FIXED, -1, 0)
  - mmap(0x10001000, 4096, PROT_READ, MAP_PRIVATE|MAP_ANONYMOUS|MAP_FIXED, -1, 0)
  - mmap(0x10002000, 8192, PROT_READ, MAP_SHARED|MAP_FIXED, 3, 0)
  - mmap(0x10004000, 4096, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS|MAP_FIXED, -1, 0)
  - mmap(0x10005000, 4096, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS|MAP_FIXED, -1, 0)
"""


def load(browser: Browser, folder: Path, *arguments: str) -> None:
    file = folder / "diff.html"
    main(["diff", *arguments, "--format", f"html={file}", "--format", f"json={folder / 'd.json'}"])
    open_page(browser, file.as_uri())


def open_page(browser: Browser, url: str) -> None:
    browser.open(url)
    browser.wait("return 'drawn' in document.documentElement.dataset")


def mixed(folder: Path) -> str:
    trace = folder / "mixed.yaml"
    trace.write_text(MIXED, encoding="utf-8")
    return str(trace)


@pytest.fixture
def opened(browser: Browser, tmp_path: Path) -> Iterator[Browser]:
    """The page of ksm-adjacent-anon; at the end it must have had no complaint."""
    browser.resize(1280, 900)
    browser.scheme("light")
    load(browser, tmp_path, str(ROOT / exhibit(ADJACENT)))
    yield browser
    assert browser.log("browser") == []


def boxes(browser: Browser, side: int) -> list[dict[str, float]]:
    found: list[dict[str, float]] = browser.run(
        """return [...document.querySelectorAll(`.vma.col-${arguments[0]}`)]
             .map((box) => box.getBoundingClientRect()).map(({top, bottom}) => ({top, bottom}))""",
        side,
    )
    return found


def test_it_asks_for_nothing_and_tells_why(opened: Browser) -> None:
    assert len(opened.requests()) == 1
    assert opened.text("h1") == ADJACENT
    assert opened.text("#hero").split()[:2] == ["8", "pre-patch"]
    facts = opened.text("#facts")
    assert "By VM_MERGEABLE alone\t7\t0\t−7" in facts
    assert "ksm-before-merge" in opened.text("#causes")
    link = "return document.querySelector('#causes a').href"
    assert opened.run(link) == "https://git.kernel.org/linus/cf7e7a3503df"
    assert not opened.run("return document.querySelector('#traces').checkVisibility()")


def test_one_scale_holds_for_both_sides(opened: Browser) -> None:
    many, one = boxes(opened, 0), boxes(opened, 1)
    assert (len(many), len(one)) == (8, 1)
    assert one[0]["top"] == pytest.approx(many[0]["top"], abs=1)
    assert one[0]["bottom"] == pytest.approx(many[-1]["bottom"], abs=1)
    heights = {round(box["bottom"] - box["top"]) for box in many}
    assert len(heights) == 1
    assert opened.text("#overview-scale").startswith("1 px = ")


def test_what_is_equal_is_left_out_until_asked_for(browser: Browser, tmp_path: Path) -> None:
    browser.resize(1280, 900)
    load(browser, tmp_path, mixed(tmp_path))
    assert (len(boxes(browser, 0)), len(boxes(browser, 1))) == (4, 2)
    assert "1 equal VMA, 8K" in browser.text("#canvas")
    assert browser.text("#head-0 .count") == "5 VMAs"
    browser.click("#equal-vmas")
    assert (len(boxes(browser, 0)), len(boxes(browser, 1))) == (5, 3)
    assert "equal VMA" not in browser.text("#canvas")
    assert browser.run("return document.querySelectorAll('.vma.changed').length") == 6
    browser.click(".vma.file")
    assert "Both sides have it." in browser.text("#detail")


def test_a_difference_leads_to_its_cause_and_to_its_event(opened: Browser) -> None:
    opened.click(".vma.col-1")
    said = opened.text("#detail")
    assert said.startswith("close\nMerged") or "Merged" in said.splitlines()
    assert "pre-patch: 8 VMAs" in said
    assert "post-patch: 1 VMA" in said
    link = "return document.querySelector('#detail a').href"
    assert opened.run(link) == "https://git.kernel.org/linus/cf7e7a3503df"
    opened.click("#detail h4 .link")
    where = "return document.activeElement.textContent"
    assert opened.run(where).startswith("line 20mmap(")
    opened.press("Enter")
    opened.press("Enter")
    said = opened.text("#events details[open]")
    assert "not merged with the VMA before it" in said
    assert "because of ksm-before-merge cf7e7a3503df" in said


def test_all_of_it_goes_by_the_keyboard_and_is_spoken(opened: Browser) -> None:
    opened.focus("#maps")
    opened.press("ArrowDown")
    where = "return document.activeElement.getAttribute('aria-label')"
    assert opened.run(where) == "pre-patch: 10000000-10001000, 4K, rw-p, anonymous, mergeable"
    opened.press("ArrowDown")
    assert "10001000-10002000" in opened.run(where)
    opened.press("ArrowRight")
    assert "post-patch: 10000000-10008000, 32K" in opened.run(where)
    opened.press("Enter")
    assert "Merged" in opened.text("#detail")
    assert "10000000-10008000" in opened.run(where)
    opened.press("Escape")
    assert "1 difference" in opened.text("#detail")
    opened.focus("#blocks tbody .link")
    opened.press("Enter")
    assert "pre-patch: 10000000-10001000" in opened.run(where)


def test_several_traces_are_sorted_found_and_chosen(browser: Browser, tmp_path: Path) -> None:
    browser.resize(1280, 900)
    names = ("ksm-adjacent-anon", "ksm-many-maps", "max-map-count-hole", "several-processes")
    load(browser, tmp_path, *(str(ROOT / exhibit(name)) for name in names))
    shown = (
        "return [...document.querySelectorAll('#traces tbody tr')]"
        ".filter((row) => row.checkVisibility()).map((row) => row.cells[0].innerText)"
    )
    assert browser.text("h1") == "2 of 4 traces differ"
    assert browser.run(shown) == ["ksm-adjacent-anon", "ksm-many-maps"]
    browser.click("#equal-traces")
    assert browser.run(shown) == list(names)
    browser.focus("#find")
    browser.press("m", "a", "n", "y")
    assert browser.run(shown) == ["ksm-many-maps"]
    assert browser.text("#found") == "1 of 4"
    browser.click("#traces tbody tr:not(.away) .link")
    assert browser.text("#name") == "ksm-many-maps"
    assert browser.text("#head-0 .count") == "24 VMAs"
    assert "#trace=1" in browser.run("return location.href")
    browser.run("document.getElementById('find').value = ''")
    browser.focus("#traces th:nth-child(3) button")
    browser.press("Enter", "Enter")
    assert "ksm-many-maps" in browser.run(
        "return document.querySelector('#traces tbody tr').innerText"
    )
    # One that is equal says so, and has no maps.
    browser.run("document.querySelectorAll('#traces tbody .link')[2].click()")
    browser.run(
        "[...document.querySelectorAll('#traces tbody .link')]"
        ".find((link) => link.textContent === 'max-map-count-hole').click()"
    )
    assert "the two are equal" in browser.text("#hero")
    assert not browser.run("return document.querySelector('#space').checkVisibility()")
    assert browser.log("browser") == []


def test_a_link_leads_to_what_was_seen(opened: Browser) -> None:
    opened.click(".vma.col-1")
    opened.click("#theme")
    seen = opened.text("#detail")
    link = opened.run("return location.href")
    assert link.endswith("#vma=1%3A10000000&theme=dark")
    opened.open("about:blank")
    open_page(opened, link)
    assert opened.text("#detail") == seen
    opened.open("about:blank")
    open_page(opened, link.split("#")[0] + "#trace=9&process=x&vma=2:zz&all=7")
    assert "1 difference" in opened.text("#detail")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_in_anybodys_way(browser: Browser, tmp_path: Path, scheme: str) -> None:
    browser.scheme(scheme)
    several = str(ROOT / exhibit("several-processes"))
    for width in (1280, 390):
        browser.resize(width, 844)
        for traces in ([mixed(tmp_path)], [PERL, several, mixed(tmp_path)]):
            load(browser, tmp_path, *traces, "--from", "6.4", "--ksm")
            for script in ("", "document.querySelector('#blocks .link').click()",
                           "document.querySelector('#equal-vmas').click()"):  # fmt: skip
                browser.run(script)
                assert browser.complaints() == []
                assert contrasts(browser) == []
                assert browser.run("return document.documentElement.scrollWidth") <= width
    browser.scheme("light")


def test_hostile_names_are_text(browser: Browser, tmp_path: Path) -> None:
    load(browser, tmp_path, mixed(tmp_path))
    assert browser.text("h1") == "</script><img src=x onerror=alert(1)> \" ' & <!-- <b>"
    assert browser.text("#description") == "<script>alert(2)</script> {{data}}"
    browser.click("#equal-vmas")
    browser.click(".vma.file")
    assert "/tmp/</script><script>alert(3)</script>/<i>x" in browser.text("#detail")
    assert browser.run("return document.querySelectorAll('img, b b, i i').length") == 0
    assert browser.log("browser") == []
    assert len(browser.requests()) == 1


def test_printed_it_is_one_page(browser: Browser, tmp_path: Path) -> None:
    load(browser, tmp_path, PERL, "--ksm")
    assert browser.printed_pages() == 1
    load(browser, tmp_path, str(ROOT / "traces"), "--from", "6.4", "--to", "6.18")
    assert browser.printed_pages() == 1


def test_without_scripts_the_numbers_are_there(browser: Browser, tmp_path: Path) -> None:
    browser.resize(1280, 900)
    load(browser, tmp_path, str(ROOT / exhibit(ADJACENT)))
    totals = json.loads((tmp_path / "d.json").read_text(encoding="utf-8"))["totals"]
    browser.devtools("Emulation.setScriptExecutionDisabled", value=True)
    try:
        browser.open((tmp_path / "diff.html").as_uri())
        said = browser.text("main")
    finally:
        browser.devtools("Emulation.setScriptExecutionDisabled", value=False)
    assert f"{totals['vmas']['from']} → {totals['vmas']['to']}" in said
    assert "ksm-before-merge cf7e7a3503df" in " ".join(said.split())
    assert "These are the numbers." in said


def test_a_full_map_opens_and_fits(browser: Browser, tmp_path: Path) -> None:
    """Thirty thousand differences: only what can be seen is in the document."""
    calls = "".join(
        f"  - mmap({0x10000000 + 0x4000 * i + 0x1000 * j:#x}, 4096, PROT_READ, "
        "MAP_PRIVATE|MAP_ANONYMOUS|MAP_FIXED, -1, 0)\n"
        for i in range(15_000)
        for j in range(2)
    )
    trace = tmp_path / "full.yaml"
    trace.write_text(f"vmatrace: 1\nprocess: {{ksm: true}}\nevents:\n{calls}", encoding="utf-8")
    load(browser, tmp_path, str(trace))
    assert browser.text("#head-0 .count") == "30 000 VMAs".replace(" ", "\u2009", 1)
    for button in ("#zoom-fit", "#equal-vmas"):
        browser.click(button)
        assert browser.run("return document.querySelectorAll('*').length") < 12_000
    assert browser.log("browser") == []
