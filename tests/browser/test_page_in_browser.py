"""The page in a real Chromium: it loads, moves, explains, takes keys, and asks for nothing."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest
from looks import contrasts, is_dark
from program import ROOT, exhibit
from webdriver import Browser, missing, one_browser

from vmatrace.cli import main

__all__ = ["one_browser"]
pytestmark = pytest.mark.skipif(missing() is not None, reason=missing() or "")

HOSTILE = """\
vmatrace: 1
name: "</script><img src=x onerror=alert(1)> \\" ' & <!-- <b>"
description: "<script>alert(2)</script> {{data}}"
files: {3: {path: "/tmp/</script><script>alert(3)</script>/<i>x", fs: ext4}}
events:
  - mmap(0x10000000, 0x2000, PROT_READ, MAP_PRIVATE|MAP_FIXED, 3, 0)
  - mprotect(0x10000000, 0x1000, PROT_READ|PROT_WRITE)
"""


@pytest.fixture
def opened(browser: Browser, tmp_path: Path) -> Iterator[Browser]:
    """The page of ksm-many-maps at its last event; at the end it must have had no complaint."""
    browser.resize(1280, 900)
    browser.scheme("light")
    load(browser, str(ROOT / exhibit("ksm-many-maps")), tmp_path)
    yield browser
    assert browser.log("browser") == []


def load(browser: Browser, trace: str, folder: Path) -> None:
    file = folder / "report.html"
    assert main(["report", trace, "--format", "html", "-o", str(file)]) == 0
    browser.open(file.as_uri())
    browser.wait("return 'drawn' in document.documentElement.dataset")


def heads(browser: Browser) -> list[str]:
    """What stands above the maps: the counts of both."""
    return [browser.text(f"#head-{side} .count") for side in (0, 1)]


def boxes(browser: Browser, side: int) -> int:
    return int(
        browser.run("return document.querySelectorAll(arguments[0]).length", f".vma.col-{side}")
    )


def test_it_loads_without_a_complaint_and_asks_for_nothing(opened: Browser) -> None:
    requests = opened.requests()
    assert len(requests) == 1
    assert requests[0].startswith("file://")
    assert requests[0].endswith("/report.html")
    assert opened.text("h1") == "ksm-many-maps"
    assert opened.run("return document.querySelectorAll('#chart path.line').length") == 2


def test_data_that_is_compressed_is_the_same_page(
    opened: Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = opened.run("return document.body.innerText")
    monkeypatch.setattr("vmatrace.render.htmlpage._PLAIN", 0)
    load(opened, str(ROOT / exhibit("ksm-many-maps")), tmp_path)
    assert opened.run("return document.getElementById('data').type") == "application/zlib;base64"
    assert opened.run("return document.body.innerText") == plain
    assert len(opened.requests()) == 1
    # A browser that cannot unpack it says so.
    file = tmp_path / "old.html"
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    policy = page.index('<meta http-equiv="Content-Security-Policy"')
    page = page[:policy] + page[page.index(">", policy) + 1 :]
    file.write_text(page.replace("<body>", "<body><script>delete DecompressionStream</script>"))
    opened.open(file.as_uri())
    assert "This browser is too old" in opened.text("#description")


def test_both_maps_show_every_vma_at_the_end(opened: Browser) -> None:
    assert heads(opened) == ["24 VMAs", "1 VMA"]
    assert (boxes(opened, 0), boxes(opened, 1)) == (24, 1)


def test_one_vma_is_as_high_as_the_many_it_replaces(opened: Browser) -> None:
    edges = opened.run(
        """const edges = (side) => [...document.querySelectorAll(`.vma.col-${side}`)]
             .map((box) => box.getBoundingClientRect());
           return [0, 1].map((side) => [Math.min(...edges(side).map((box) => box.top)),
                                        Math.max(...edges(side).map((box) => box.bottom))]);"""
    )
    (top, bottom), other = edges
    assert other == pytest.approx([top, bottom], abs=1)
    assert bottom - top > 400


def test_the_slider_moves_both_maps_and_says_which_event_it_is(opened: Browser) -> None:
    opened.focus("#slider")
    opened.press("Home")
    assert heads(opened) == ["0 VMAs", "0 VMAs"]
    opened.press(*["ArrowRight"] * 12)
    assert heads(opened) == ["11 VMAs", "1 VMA"]
    assert (boxes(opened, 0), boxes(opened, 1)) == (11, 1)
    assert opened.text("#event").startswith("Event 12 of 25 · line 25")
    assert "mmap(NULL, PAGE_SIZE" in opened.text("#event code")
    assert "Event 12 of 25, line 25: mmap(" in opened.run(
        "return document.getElementById('slider').getAttribute('aria-valuetext')"
    )
    opened.press("ArrowLeft")
    assert heads(opened) == ["10 VMAs", "1 VMA"]
    opened.press("End")
    assert heads(opened) == ["24 VMAs", "1 VMA"]


def test_the_buttons_step_and_find_what_costs(opened: Browser) -> None:
    opened.click("#back")
    assert heads(opened) == ["23 VMAs", "1 VMA"]
    opened.focus("#slider")
    opened.press("Home")
    opened.click("#next-cost")
    assert heads(opened) == ["2 VMAs", "1 VMA"]
    opened.click("#play")
    assert (
        opened.run("return document.getElementById('play').getAttribute('aria-label')") == "Pause"
    )
    opened.click("#play")


def test_a_click_on_a_border_explains_it(opened: Browser) -> None:
    assert opened.text("#detail h3") == "Why are they two?"
    opened.click(".border.col-0")
    said = opened.text("#detail")
    head = [line for line in said.splitlines() if line][:4]
    assert head == ["close", "Border at 7ffff7fe8000", "under pre-patch", "VM_MERGEABLE alone"]
    assert "Nothing keeps them apart any more" in said
    assert "When they met, in line 38" in said
    assert "mmap(NULL, PAGE_SIZE, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0)" in said
    assert "Flags differ: mg (VM_MERGEABLE) only on the one already there." in said
    assert "Linux 6.17: cf7e7a3503df" in said
    link = "return document.querySelector('#detail a').href"
    assert opened.run(link) == "https://git.kernel.org/linus/cf7e7a3503df"


def test_borders_can_be_reached_chosen_and_left_with_the_keyboard_alone(opened: Browser) -> None:
    opened.focus("#maps")
    opened.press("ArrowDown")
    where = "return document.activeElement.getAttribute('aria-label')"
    assert opened.run(where) == "pre-patch: border at 7ffff7fe8000, VM_MERGEABLE alone"
    opened.press("ArrowDown", "ArrowDown")
    assert "7ffff7fea000" in opened.run(where)
    opened.press("ArrowUp")
    assert "7ffff7fe9000" in opened.run(where)
    opened.press("Enter")
    assert opened.text("#detail h3") == "Border at 7ffff7fe9000"
    assert "7ffff7fe9000" in opened.run(where)
    opened.press("Escape")
    assert opened.text("#detail h3") == "Why are they two?"


def test_every_vma_can_be_reached_with_the_keyboard_and_is_spoken(opened: Browser) -> None:
    opened.focus("#maps")
    opened.press("Tab")
    where = "return document.activeElement.getAttribute('aria-label')"
    assert opened.run(where) == (
        "pre-patch: 7ffff7fe7000-7ffff7fe8000, 4K, rw-p, anonymous, mergeable"
    )
    opened.press("ArrowDown")
    assert "7ffff7fe8000-7ffff7fe9000" in opened.run(where)
    opened.press("ArrowRight")
    assert "post-patch: 7ffff7fe7000-7ffff7fff000, 96K" in opened.run(where)
    opened.press("Enter")
    assert opened.text("#detail h3") == "VMA"


def test_the_groups_say_what_fills_the_map_and_choose(opened: Browser) -> None:
    names = (
        "return [...document.querySelectorAll('.fill')].map((b) => b.getAttribute('aria-label'))"
    )
    assert opened.run(names) == [
        "anonymous, rw-p mg, mostly 4K: 24 under pre-patch, 1 under post-patch"
    ]
    opened.click(".fill")
    assert "this group alone" in opened.text("#fills")
    opened.click(".fill")
    assert "this group alone" not in opened.text("#fills")


def test_an_address_or_a_name_leads_to_its_vma(opened: Browser) -> None:
    for asked, first in (
        ("7ffff7fe9000-7ffff7fea000", "7ffff7fe9000-7ffff7fea000"),
        ("0x7ffff7ff0123", "7ffff7ff0000-7ffff7ff1000"),
        ("anonymous", "7ffff7ff1000-7ffff7ff2000"),
    ):
        opened.run("document.getElementById('goto').value = arguments[0]", asked)
        opened.focus("#goto")
        opened.press("Enter")
        assert first in opened.text("#detail"), asked
    for asked, said in (("10000000", "Nothing is mapped at"), ("libnone", "No VMA is called")):
        opened.run("document.getElementById('goto').value = arguments[0]", asked)
        opened.focus("#goto")
        opened.press("Enter")
        assert said in opened.text("#goto-said")


def test_a_link_leads_to_what_was_seen(opened: Browser, tmp_path: Path) -> None:
    opened.focus("#slider")
    opened.press(*["ArrowLeft"] * 5)
    opened.click(".border.col-0")
    seen = opened.text("#detail")
    opened.click("#theme")
    link = opened.run("return location.href")
    assert "#event=20&border=0%3A7ffff7fed000&theme=dark" in link
    opened.open("about:blank")
    opened.open(link)
    assert heads(opened) == ["19 VMAs", "1 VMA"]
    assert opened.text("#detail") == seen
    assert is_dark(opened)
    # What nobody could have written leads to the usual view.
    opened.open("about:blank")
    opened.open(link.split("#")[0] + "#event=x&border=0:zz&process=99&vma=2:0")
    assert heads(opened) == ["24 VMAs", "1 VMA"]


def test_fit_shows_everything_at_once(browser: Browser, tmp_path: Path) -> None:
    browser.resize(1280, 900)
    load(browser, str(ROOT / "traces" / "programs" / "perl.yaml"), tmp_path)
    high = "const box = document.getElementById('maps'); return box.scrollHeight - box.clientHeight"
    assert browser.run(high) > 1000
    browser.click("#zoom-fit")
    assert browser.run(high) <= 1
    browser.click("#zoom-fit")
    assert browser.run(high) > 1000


def test_the_overview_is_to_scale_and_its_brush_moves_the_maps(
    browser: Browser, tmp_path: Path
) -> None:
    browser.resize(1280, 900)
    load(browser, str(ROOT / "traces" / "programs" / "perl.yaml"), tmp_path)
    assert browser.run("return document.querySelectorAll('#overview .strip').length") > 50
    before = browser.run("return document.getElementById('maps').scrollTop")
    browser.run(
        """const box = document.getElementById('overview');
           box.setPointerCapture = () => {};
           const at = box.getBoundingClientRect();
           box.dispatchEvent(new PointerEvent('pointerdown',
             {clientX: at.right - 5, clientY: at.top + 5, bubbles: true, pointerId: 1}));"""
    )
    assert browser.run("return document.getElementById('maps').scrollTop") > before + 500
    assert browser.log("browser") == []


def test_a_row_of_costs_leads_to_its_call_and_columns_sort(
    browser: Browser, tmp_path: Path
) -> None:
    browser.resize(1280, 900)
    load(browser, str(ROOT / "traces" / "programs" / "perl.yaml"), tmp_path)
    browser.click("#patterns tbody .link")
    assert browser.text("#event code").startswith("brk(")
    costs = (
        "return [...document.querySelectorAll('#patterns tbody tr')]"
        ".map((row) => Number(row.cells[3].textContent))"
    )
    browser.click("#patterns th:nth-child(4) button")
    assert browser.run(costs) == sorted(browser.run(costs), reverse=True)
    browser.click("#patterns th:nth-child(4) button")
    assert browser.run(costs) == sorted(browser.run(costs))


def test_no_button_leads_nowhere(opened: Browser) -> None:
    assert opened.run("return document.getElementById('next-cost').disabled")
    opened.focus("#slider")
    opened.press("Home")
    assert opened.run("return document.getElementById('previous-cost').disabled")
    assert not opened.run("return document.getElementById('next-cost').disabled")


def test_what_is_saved_is_what_is_shown(opened: Browser) -> None:
    saved = opened.run(
        """const texts = [];
           const make = URL.createObjectURL;
           URL.createObjectURL = (blob) => { texts.push(blob.text()); return make(blob); };
           for (const id of ['save-svg', 'save-series', 'save-csv', 'save-json'])
             document.getElementById(id).click();
           URL.createObjectURL = make;
           return Promise.all(texts);"""
    )
    plot, series, layouts, both = saved
    assert ElementTree.fromstring(plot).tag == "{http://www.w3.org/2000/svg}svg"
    assert series.splitlines()[0] == "event,pre-patch,post-patch"
    assert series.splitlines()[-1] == "25,24,1"
    rows = list(csv.reader(layouts.splitlines()))
    assert len(rows) == 1 + 24 + 1
    assert rows[-1][:3] == ["post-patch", "7ffff7fe7000", "7ffff7fff000"]
    assert [len(side["layout"]) for side in json.loads(both)["layouts"]] == [24, 1]


def test_printed_it_is_one_page(browser: Browser, tmp_path: Path) -> None:
    load(browser, str(ROOT / "traces" / "programs" / "perl.yaml"), tmp_path)
    assert browser.printed_pages() == 1


def test_without_scripts_the_numbers_are_there(tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    assert main(["report", str(ROOT / exhibit("ksm-many-maps")), "-o", str(file)]) == 0
    inside = file.read_text(encoding="utf-8").split("<noscript>")[1].split("</noscript>")[0]
    assert '<th scope="row">main</th><td>24</td><td>1</td>' in inside


def test_on_a_small_screen_the_explanation_comes_into_view(opened: Browser) -> None:
    opened.resize(390, 844)
    opened.run("document.getElementById('maps').scrollIntoView()")
    opened.run("document.querySelector('.border.col-0').click()")
    where = opened.run("return document.querySelector('#detail h3').getBoundingClientRect().top")
    assert 0 <= where < 844
    opened.click("#detail .close")
    assert opened.text("#detail h3") == "Why are they two?"


def test_a_click_on_a_vma_shows_it(opened: Browser) -> None:
    opened.click(".vma.col-1")
    said = opened.text("#detail")
    assert "7ffff7fe7000-7ffff7fff000" in said
    assert "rd wr mr mw me ac mg" in said


def test_the_plot_reads_out_and_moves_the_maps(opened: Browser) -> None:
    opened.run(
        """const svg = document.querySelector('#chart svg');
           const box = svg.getBoundingClientRect();
           const at = {clientX: box.left + box.width / 2, clientY: box.top + 50, bubbles: true};
           svg.dispatchEvent(new PointerEvent('pointermove', at));"""
    )
    readout = opened.text("#readout").split()
    assert readout[:2] in (["event", "12"], ["event", "13"])
    opened.run(
        """const svg = document.querySelector('#chart svg');
           const box = svg.getBoundingClientRect();
           const at = {clientX: box.left + 60, clientY: box.top + 50, bubbles: true};
           svg.dispatchEvent(new PointerEvent('pointerdown', at));"""
    )
    assert heads(opened) == ["0 VMAs", "0 VMAs"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_both_colour_schemes_have_contrast_and_the_button_switches(
    opened: Browser, scheme: str
) -> None:
    """WCAG AA: text 4.5 to 1 on what is behind it."""
    opened.scheme(scheme)
    other = {"light": "dark", "dark": "light"}[scheme]
    assert is_dark(opened) == (scheme == "dark")
    assert contrasts(opened) == []
    opened.click("#theme")
    assert is_dark(opened) == (other == "dark")
    assert contrasts(opened) == []


#: What can be seen of a page beside its beginning: a script that leads there.
STATES = {
    "border": "document.querySelector('.border').click()",
    "vma": "document.querySelector('.vma').click()",
    "group": "document.querySelector('.fill').click()",
    "fit": "document.querySelector('#zoom-fit').click()",
    "start": "document.querySelector('#slider').value = 0;"
    " document.querySelector('#slider').dispatchEvent(new Event('input'))",
}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("trace", [exhibit("ksm-many-maps"), "traces/programs/perl.yaml",
                                   "traces/several-processes.yaml"])  # fmt: skip
def test_axe_finds_nothing_in_anybodys_way(
    browser: Browser, tmp_path: Path, trace: str, scheme: str
) -> None:
    browser.scheme(scheme)
    for width in (1280, 390):
        browser.resize(width, 900)
        load(browser, str(ROOT / trace), tmp_path)
        assert browser.complaints() == []
        assert contrasts(browser) == []
    for name, script in STATES.items():
        if name != "border" or browser.run("return !!document.querySelector('.border')"):
            browser.run(script)
            assert browser.complaints() == [], name
    browser.scheme("light")


@pytest.mark.parametrize("width", [1280, 390])
def test_nothing_sticks_out_to_the_side(opened: Browser, width: int) -> None:
    opened.resize(width, 844)
    assert opened.run("return document.documentElement.scrollWidth") <= width


def test_each_process_has_its_own_maps(browser: Browser, tmp_path: Path) -> None:
    load(browser, str(ROOT / exhibit("several-processes")), tmp_path)
    browser.run(
        """const choice = document.getElementById('process');
           choice.value = [...choice.options].findIndex((o) => o.text.startsWith('grandchild'));
           choice.dispatchEvent(new Event('change'));"""
    )
    assert heads(browser) == ["exited with 2 VMAs", "exited with 2 VMAs"]
    assert browser.run("return document.querySelectorAll('.canvas.exited').length") == 1
    browser.click(".border.col-1")
    assert "Flags differ: wr (VM_WRITE), ac (VM_ACCOUNT) only above." in browser.text("#detail")
    browser.focus("#slider")
    browser.press("Home")
    assert heads(browser) == ["not there yet", "not there yet"]
    assert browser.log("browser") == []


def test_a_trace_without_events_has_a_page_too(browser: Browser, tmp_path: Path) -> None:
    trace = tmp_path / "empty.yaml"
    trace.write_text("vmatrace: 1\nevents: []\n", encoding="utf-8")
    load(browser, str(trace), tmp_path)
    assert heads(browser) == ["0 VMAs", "0 VMAs"]
    assert browser.text("#event") == "Event 0 of 0\nBefore the first event."
    assert browser.log("browser") == []


def test_hostile_names_are_text(browser: Browser, tmp_path: Path) -> None:
    trace = tmp_path / "hostile.yaml"
    trace.write_text(HOSTILE, encoding="utf-8")
    load(browser, str(trace), tmp_path)
    assert browser.text("h1") == "</script><img src=x onerror=alert(1)> \" ' & <!-- <b>"
    assert browser.text("#description") == "<script>alert(2)</script> {{data}}"
    browser.click(".border.col-0")
    assert "/tmp/</script><script>alert(3)</script>/<i>x" in browser.text("#detail")
    assert browser.run("return document.querySelectorAll('img, b b, i i, #detail i').length") == 0
    assert browser.log("browser") == []
    assert len(browser.requests()) == 1


def test_what_a_script_would_load_is_refused(opened: Browser) -> None:
    """The policy holds: not even a script of the page could call out."""
    blocked = opened.run(
        """return new Promise((done) => {
             document.addEventListener('securitypolicyviolation',
               (event) => done(event.effectiveDirective));
             const image = new Image();
             image.src = 'http://192.0.2.1/x.png';
           });"""
    )
    assert blocked == "img-src"
    opened.log("browser")
