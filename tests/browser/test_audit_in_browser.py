"""The page of an audit in a real Chromium: it can be read, sorted, reached and printed."""

from __future__ import annotations

from pathlib import Path

import pytest
from looks import contrasts, is_dark
from program import ROOT
from webdriver import Browser, missing, one_browser

from vmatrace.cli import main

__all__ = ["one_browser"]
pytestmark = pytest.mark.skipif(missing() is not None, reason=missing() or "")

MIXED = str(ROOT / "tests" / "golden" / "audit" / "mixed.smaps")
HOSTILE = "</script><img src=x onerror=alert(1)> \"'& <!-- <b>"


def filled(path: Path, times: int) -> str:
    """A snapshot that is full: guard pages, named arenas, and what a name may be."""
    lines = []
    start = 0x7F0000000000
    for i in range(times):
        for size, perms, flags, name in (
            (4096, "---p", "mr mw me", ""),
            (65536, "rw-p", "rd wr mr mw me ac mg", ""),
            (8192, "rw-p", "rd wr mr mw me ac", f"[anon:{HOSTILE}{i}]"),
        ):
            lines.append(
                f"{start:x}-{start + size:x} {perms} 00000000 00:00 0 {name}\nVmFlags: {flags}\n"
            )
            start += size
    path.write_text("".join(lines), encoding="utf-8")
    return str(path)


def load(browser: Browser, folder: Path, *snapshots: str) -> None:
    file = folder / "audit.html"
    main(["audit", *snapshots, "--kernel", "6.12", "-o", str(file)])
    browser.open(file.as_uri())
    browser.wait("return 'drawn' in document.documentElement.dataset")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("several", [False, True])
def test_nothing_is_in_anybodys_way_and_nothing_sticks_out(
    browser: Browser, tmp_path: Path, scheme: str, several: bool
) -> None:
    browser.scheme(scheme)
    full = filled(tmp_path / "full.smaps", 900)
    for width in (1280, 390):
        browser.resize(width, 844)
        load(browser, tmp_path, *([MIXED] if several else []), full)
        if several:
            browser.run("document.querySelectorAll('details').forEach((e) => { e.open = true; })")
        assert browser.complaints() == []
        assert contrasts(browser) == []
        assert browser.run("return document.documentElement.scrollWidth") <= width
        assert browser.run("return document.querySelectorAll('img, b b').length") == 0
    assert browser.log("browser") == []
    assert len(browser.requests()) == 1


def test_columns_sort_by_what_they_mean_with_the_keyboard_alone(
    browser: Browser, tmp_path: Path
) -> None:
    load(browser, tmp_path, MIXED)
    table = 'table[aria-label="Groups"]'
    rows = f"[...document.querySelectorAll('{table} tbody tr')]"
    shown = f"return {rows}.map((row) => row.cells[2].innerText)"
    browser.focus(f"{table} th:nth-child(3) button")
    browser.press("Enter")
    assert browser.run(shown)[:3] == ["148K", "132K", "64K"]
    head = f"return document.querySelector('{table} th:nth-child(3)').getAttribute('aria-sort')"
    assert browser.run(head) == "descending"
    browser.press("Enter")
    assert browser.run(shown)[:3] == ["4K", "8K", "8K"]
    assert browser.run(head) == "ascending"


def test_a_row_of_several_leads_to_its_audit(browser: Browser, tmp_path: Path) -> None:
    browser.resize(1280, 900)
    load(browser, tmp_path, MIXED, filled(tmp_path / "full.smaps", 50))
    assert "guard pages" not in browser.text("details")
    browser.click('table[aria-label="Processes"] tbody tr a')
    assert browser.run("return document.querySelector('details').open")
    assert "guard pages" in browser.text("details")


def test_the_commit_of_a_remedy_is_one_click_away(browser: Browser, tmp_path: Path) -> None:
    load(browser, tmp_path, MIXED)
    links = "return [...document.querySelectorAll('.alike a')].map((link) => link.href)"
    assert set(browser.run(links)) == {"https://git.kernel.org/linus/cf7e7a3503df"}


def test_the_button_switches_the_colours(browser: Browser, tmp_path: Path) -> None:
    browser.scheme("light")
    load(browser, tmp_path, MIXED)
    assert not is_dark(browser)
    browser.click("#theme")
    assert is_dark(browser)
    browser.click("#theme")
    assert not is_dark(browser)


def test_printed_it_is_one_page(browser: Browser, tmp_path: Path) -> None:
    load(browser, tmp_path, filled(tmp_path / "full.smaps", 900))
    assert browser.printed_pages() == 1
    load(browser, tmp_path, MIXED, filled(tmp_path / "full.smaps", 900))
    assert browser.printed_pages() == 1


def test_without_scripts_all_of_it_is_there(browser: Browser, tmp_path: Path) -> None:
    load(browser, tmp_path, MIXED)
    shown = browser.run("return document.querySelector('main').innerText")
    browser.devtools("Emulation.setScriptExecutionDisabled", value=True)
    try:
        browser.open((tmp_path / "audit.html").as_uri())
        assert browser.run("return document.documentElement.dataset.drawn") is None
        assert browser.run("return document.querySelector('main').innerText") == shown
    finally:
        browser.devtools("Emulation.setScriptExecutionDisabled", value=False)
