"""README and docs/: what they say of the program is complete, and they agree with each other.

That their examples are right is in test_readme.py, and their workflows in test_workflow.py.
"""

from __future__ import annotations

import json
import lzma
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml12
from program import ROOT, RunProgram

from vmatrace import schema
from vmatrace._version import __version__
from vmatrace.calls import CALLS
from vmatrace.engine.merge import Blocker
from vmatrace.schema.outputs import OUTPUTS
from vmatrace.schema.reports import REPORTS

DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
ALL = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *PAGES]
#: Where the project will be published is not known yet; this stands for it.
PLACEHOLDER = "https://git.example.org/vmatrace"


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def prose(page: Path) -> str:
    """The page without its blocks of code."""
    return re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)


def names(page: Path) -> str:
    return str(page.relative_to(ROOT))


# --- the site ------------------------------------------------------------------------------------


def pages_of(nav: Any) -> Iterator[str]:
    if isinstance(nav, str):
        yield nav
    else:
        for entry in nav.values() if isinstance(nav, dict) else nav:
            yield from pages_of(entry)


def test_every_page_is_in_the_navigation_once_and_in_the_index() -> None:
    there = [str(page.relative_to(DOCS)) for page in PAGES]
    listed = list(pages_of(yaml12.read(text(".mkdocs.yml"))["nav"]))
    assert sorted(listed) == there
    index = text("docs/index.md")
    assert [page for page in there if f"({page})" not in index and page != "index.md"] == []


def anchors(page: Path) -> set[str]:
    """The headings of a page as links name them, on GitHub and in the site."""
    heads = re.findall(r"^#+ (.*)$", prose(page), re.M)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", ALL, ids=names)
def test_a_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if re.match(r"https?://", target):
            continue
        path, _, anchor = target.partition("#")
        goal = (page.parent / path).resolve() if path else page
        assert goal.exists(), target
        assert not anchor or anchor in anchors(goal), target
        if DOCS in page.parents:
            assert DOCS in goal.parents, f"{target}: the site holds docs/ alone"


@pytest.mark.parametrize("page", ALL, ids=names)
def test_a_path_that_is_named_exists(page: Path) -> None:
    if page.name == "CHANGELOG.md":  # what once was there
        return
    top = "vmatrace|tests|docs"
    for path in re.findall(rf"`((?:{top})/[\w./-]*)`", prose(page)):
        assert (ROOT / path).exists(), path


@pytest.mark.parametrize("page", ALL, ids=names)
def test_a_page_needs_no_foreign_words(page: Path) -> None:
    said = page.read_text(encoding="utf-8")
    assert not re.search(
        r"\bexhibit(s|ion)?\b(?! FILE|`)|\bmended?\b|\bdear(est)? calls", said, re.I
    )
    own = prose(page)
    if "KSM" in own and (page.parent.name == "tutorials" or page.name in ("README.md", "index.md")):
        spelt = re.search(r"kernel samepage merging", own)
        assert spelt is not None, "KSM is spelt out"
        assert spelt.start() < own.index("KSM") + 300, "KSM is spelt out where it first stands"
    assert str(ROOT) not in said


def test_the_picture_is_small() -> None:
    picture = DOCS / "images" / "report.png"
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert picture.stat().st_size < 150_000


#: What the pictures of a terminal show.
DRAWN = {
    "diff": ("diff", "traces/ksm-adjacent-anon.yaml"),
    "replay": ("replay", "traces/ksm-fill-the-hole.yaml", "--kernel", "pre-patch"),
}


@pytest.mark.parametrize("name", DRAWN)
def test_pictures_of_a_terminal_show_what_is_printed(
    name: str, run: RunProgram, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their words: how a picture is drawn is for the release of rich that draws it."""
    monkeypatch.setenv("COLUMNS", "80")
    drawn = run(*DRAWN[name], "--format", "svg").out
    file = DOCS / "images" / f"{name}.svg"
    if request.config.getoption("--update-golden"):
        file.write_text(drawn, encoding="utf-8")
    assert words_of(file.read_text(encoding="utf-8")) == words_of(drawn)


def words_of(svg: str) -> str:
    parts = ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")
    return "".join("".join(part.text or "" for part in parts).split())


# --- the version ---------------------------------------------------------------------------------


def test_the_changelog_begins_with_the_version_that_this_is() -> None:
    heads = re.findall(r"^## \[(.*?)\](?: - (\d{4}-\d\d-\d\d))?$", text("CHANGELOG.md"), re.M)
    assert heads[0] == ("Unreleased", "")
    assert heads[1][0] == __version__
    assert all(date for _, date in heads[1:])
    links = re.findall(r"^\[(.*?)\]: (\S+)$", text("CHANGELOG.md"), re.M)
    assert [name for name, _ in links] == [version for version, _ in heads]
    assert f"v{__version__}..." in links[0][1]


@pytest.mark.parametrize("page", ["README.md", "docs/tutorials/ci-gate.md"])
def test_what_is_pinned_is_the_tag_of_this_version(page: str) -> None:
    said = text(page)
    pins = re.findall(rf"git\+{PLACEHOLDER}@(\S+?)[\"\s]", said)
    pins += re.findall(r"^ +rev: (\S+)$", said, re.M)
    assert len(pins) >= 2
    assert set(pins) == {f"v{__version__}"}


def test_the_addresses_of_the_project_are_all_the_placeholder() -> None:
    project = text("pyproject.toml").split("[project.urls]\n")[1].split("\n\n")[0]
    addresses = re.findall(r'"(https://.*?)"', project)
    assert len(addresses) >= 4
    assert all(address.startswith(PLACEHOLDER) for address in addresses)
    for page in ALL:
        for address in re.findall(r"https?://[^\s)\"'>]+", prose(page)):
            known = (PLACEHOLDER, "https://pre-commit.com", "https://keepachangelog.com",
                     "https://semver.org", "https://ui.perfetto.dev",
                     "https://docs.dask.org")  # fmt: skip
            # What others have written down of their programs is cited.
            cited = re.match(r"https://github\.com/[\w.-]+/[\w.-]+/(?:issues|pull)/\d+", address)
            assert address.startswith(known) or cited, address


# --- completeness --------------------------------------------------------------------------------


def test_every_command_is_in_the_readme_and_in_the_index(run: RunProgram) -> None:
    listed = run("--help").out.split("Commands:\n")[1].split("\n\n")[0]
    for name in re.findall(r"^  (\w+) ", listed, re.M):
        assert f"`vmatrace {name}" in text("README.md"), name
        index = text("docs/index.md")
        assert f"commands/{name}.md" in index or f"`{name}`" in index, name


def properties(schema: Any) -> Iterator[str]:
    """All names of fields in a schema, at any depth."""
    if isinstance(schema, dict):
        for key, value in schema.items():
            if key == "properties":
                yield from value
            yield from properties(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from properties(value)


FORMS = list(OUTPUTS)


@pytest.mark.parametrize("form", FORMS)
def test_every_field_of_a_form_of_json_is_described_and_no_other(form: str) -> None:
    page = text("docs/reference/json.md")
    sections = dict(re.findall(r"^## (\w+)[^\n]*\n(.*?)(?=^## |\Z)", page, re.M | re.S))
    document = schema.schema(form)
    top = document["properties"]
    rows = re.findall(r"^\| (`.*?`) \| ", sections[form], re.M)
    said = re.findall(r"`(\w+)`", " ".join(rows))
    assert sorted(said) == sorted(top)
    known = set(properties(document)) | set(properties(schema.schema("replay")))
    values = set(re.findall(r'"([\w-]+)"', json.dumps(document)))
    for word in re.findall(r"`([a-z_]+)`", sections[form]):
        assert word in known or word in values, word
    assert f"`vmatrace-{form}/1`" in sections[form]


@pytest.mark.parametrize("form", REPORTS)
def test_every_field_of_a_report_is_described(form: str) -> None:
    page = text("docs/reference/reports.md")
    assert f"`{form}`" in page
    said = set(re.findall(r"`([\w-]+)`", page))
    fields = {re.sub("_(from|to)$", "", name) for name in properties(schema.schema(form))}
    assert fields - said - {"from", "text", "driver", "name", "vmatrace/v1", "$schema"} == set()


def test_every_key_of_a_trace_is_in_the_example_and_every_call_is_named() -> None:
    page = text("docs/reference/trace-format.md")
    (example,) = re.findall(r"^```yaml\n# everything.yaml\n(.*?)^```$", page, re.M | re.S)
    document = schema.schema()
    keys = set(document["properties"])
    for part in ("sysctl", "process"):
        keys |= set(document["properties"][part]["properties"])
    keys |= set(document["properties"]["process"]["properties"]["rlimits"]["properties"])
    (files,) = document["properties"]["files"]["patternProperties"].values()
    keys |= set(files["properties"]) | set(document["$defs"]["expect"]["properties"])
    missing = [key for key in keys if not re.search(rf"\b{key}\b", example)]
    assert missing == []
    calls = page.split("The calls that the format knows")[1].split("\n\n")[1]
    assert sorted(set(re.findall(r"[|`] ?`(\w+)[`(]| `(\w+)`", calls)))
    named = {word for word in re.findall(r"`(\w+)", calls) if not word.startswith("PR_")}
    assert named == set(CALLS)


def test_every_reason_is_explained() -> None:
    page = text("docs/reference/reasons.md")
    assert set(re.findall(r"`([a-z]+(?:-[a-z]+)*)`", page)) - {"blocked", "open", "fork", "execve",
        "mbind", "brk", "mg"} == {reason.code for reason in Blocker}  # fmt: skip


def test_every_recording_of_a_kernel_is_in_the_table() -> None:
    rows = re.findall(
        r"^ +\| `(\S+\.jsonl\.xz)` \| (\S+) \| (\S+) \|$", text("docs/accuracy.md"), re.M
    )
    there = []
    for path in sorted((ROOT / "tests" / "recorded").glob("*.jsonl.xz")):
        with lzma.open(path, "rt", encoding="utf-8") as lines:
            steps = [len(json.loads(line)["steps"]) for line in lines if '"steps"' in line]
        there.append((path.name, f"{len(steps):,}", f"{sum(steps):,}"))
    assert sorted(rows) == sorted(there)


def test_the_issue_forms_have_what_github_requires() -> None:
    forms = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))
    forms = [form for form in forms if form.name != "config.yml"]
    assert len(forms) >= 3
    for form in forms:
        document = yaml12.read(form.read_text(encoding="utf-8"))
        assert {"name", "description", "body"} <= set(document)
        ids = [field["id"] for field in document["body"]]
        assert len(set(ids)) == len(ids) > 0
        assert all(field["attributes"]["label"] for field in document["body"])


def test_the_map_of_the_code_is_the_code() -> None:
    page = text("docs/architecture.md")
    tree = page.split("```text\nvmatrace/\n")[1].split("```")[0].split("traces/")[0]
    named = set(re.findall(r"^  (\w+(?:\.py|/)) ", tree, re.M))
    package = ROOT / "vmatrace"
    there = {f"{path.name}/" for path in package.iterdir() if (path / "__init__.py").exists()}
    there |= {path.name for path in package.glob("*.py")}
    assert named <= there
    unnamed = there - named
    assert unnamed == {"__init__.py", "__main__.py", "_version.py", "pytest_items.py"}
    for path in re.findall(r"`(engine/\w+(?:\.py|/))`", page):
        assert (package / path).exists(), path
