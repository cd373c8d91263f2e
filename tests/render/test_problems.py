"""Reports of problems: SARIF by its schema, GitLab by its documentation, fingerprints that last.

tests/schemas/sarif-2.1.0.json is the schema of the standard (2.1.0-rtm.5) as the npm package
@microsoft/jest-sarif (MIT) ships it, unchanged.
"""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft4Validator
from program import ROOT

from vmatrace.event import Event
from vmatrace.render import gitlab, sarif
from vmatrace.render.problems import ERROR, NOTE, RULES, WARNING, Problem, place, with_fingerprints

SARIF = Draft4Validator(
    json.loads((ROOT / "tests/schemas/sarif-2.1.0.json").read_text(encoding="utf-8"))
)
TEXTS = st.one_of(
    st.text(), st.sampled_from(["[x](http://y)", "{0}", "[heap]", "\\](", "a\nb", "::error::x"])
)
EVENTS = st.builds(lambda text, line: Event("x", (), text, line), TEXTS, st.integers(0, 99))
PROBLEMS = st.builds(
    Problem, st.sampled_from(sorted(RULES)), st.sampled_from([ERROR, WARNING, NOTE]), TEXTS,
    st.integers(0, 99), st.integers(0, 99), TEXTS, TEXTS, st.none() | EVENTS, TEXTS,
)  # fmt: skip


def sarif_of(problems: list[Problem]) -> Any:
    out = io.StringIO()
    sarif.write(out, problems)
    return json.loads(out.getvalue())


@given(st.lists(PROBLEMS, max_size=5))
def test_sarif_is_what_the_standards_schema_says(problems: list[Problem]) -> None:
    log = sarif_of(problems)
    assert [error.message for error in SARIF.iter_errors(log)] == []
    (run,) = log["runs"]
    rules = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
    assert len(run["results"]) == len(problems)
    for result, problem in zip(run["results"], problems, strict=True):
        assert rules[result["ruleIndex"]] == result["ruleId"] == problem.rule.replace(" ", "-")
        assert ("relatedLocations" in result) == (problem.since is not None)


@given(TEXTS)
def test_a_message_of_sarif_has_no_link_and_no_placeholder(text: str) -> None:
    said = sarif.text(text)
    assert "](" not in said.replace("\\]", "")
    assert "{0}" not in said.replace("{{", "").replace("}}", "")
    if "](" not in text and "{0}" not in text:
        assert said == text


def test_a_path_is_a_reference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def uri(path: str) -> str:
        log = sarif_of([Problem("models differ", WARNING, path, 1, 0, "m", "")])
        (result,) = log["runs"][0]["results"]
        (where,) = result["locations"]
        found: str = where["physicalLocation"]["artifactLocation"]["uri"]
        return found

    monkeypatch.chdir(tmp_path)
    assert uri("./a b/%.yaml") == uri(str(tmp_path / "a b" / "%.yaml")) == "a%20b/%25.yaml"
    assert uri("/nowhere/x:y.yaml") == "file:///nowhere/x%3Ay.yaml"
    assert uri("<stdin>") == "%3Cstdin%3E"
    assert place("../x.yaml") == "../x.yaml"


@given(st.lists(PROBLEMS, max_size=5))
def test_gitlab_has_the_fields_that_it_needs(problems: list[Problem]) -> None:
    out = io.StringIO()
    gitlab.write(out, problems)
    issues = json.loads(out.getvalue())
    assert len({issue["fingerprint"] for issue in issues}) == len(problems)
    for issue in issues:
        assert set(issue) == {"description", "check_name", "fingerprint", "severity", "location"}
        assert issue["severity"] in ("info", "minor", "major")
        assert not issue["location"]["path"].startswith("./")
        assert issue["location"]["lines"]["begin"] >= 1
        assert issue["description"].replace("\n", "").isprintable()


@given(st.lists(PROBLEMS, max_size=6), st.integers(1, 50))
def test_a_fingerprint_is_the_same_when_lines_move_and_no_other_has_it(
    problems: list[Problem], lines: int
) -> None:
    found = [number for _, number in with_fingerprints(problems)]
    moved = [problem._replace(line=problem.line + lines) for problem in problems]
    assert found == [number for _, number in with_fingerprints(moved)]
    assert len(set(found)) == len(found)
