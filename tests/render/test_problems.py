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

import vmatrace
from vmatrace.event import Event
from vmatrace.render import github, gitlab, sarif
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


FOUND = [
    Problem("expectation failed", ERROR, "a/./é b.yaml", 7, 3, "vmas: 1\nsee [x](y) {0}", "i",
            Event("munmap", (), "munmap([é](x))", 5, 2), "t: vmas"),
    Problem("models differ", NOTE, "a/é b.yaml", 0, 9, "m\x1b\n", "i"),
    Problem("missing", WARNING, "c", 3, 0, "m", ""),
]  # fmt: skip


def test_problems_as_sarif_to_a_letter() -> None:
    out = io.StringIO()
    sarif.write(out, FOUND)
    assert "é" in out.getvalue()
    assert out.getvalue().endswith("\n}\n")
    assert out.getvalue().startswith('{\n "$schema"')
    log = json.loads(out.getvalue())
    marks = [result.pop("partialFingerprints") for result in log["runs"][0]["results"]]
    assert [list(mark) for mark in marks] == [["vmatrace/v1"]] * 3
    rules = log["runs"][0]["tool"]["driver"].pop("rules")
    assert {rule["id"]: rule["shortDescription"] for rule in rules} == {
        rule.replace(" ", "-"): {"text": what} for rule, what in RULES.items()
    }
    names = list(RULES)
    where = {"artifactLocation": {"uri": "a/%C3%A9%20b.yaml"}}
    assert log == {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [
            {
                "tool": {"driver": {"name": "vmatrace", "version": vmatrace.__version__}},
                "columnKind": "unicodeCodePoints",
                "results": [
                    {
                        "ruleId": "expectation-failed",
                        "ruleIndex": names.index("expectation failed"),
                        "level": "error",
                        "message": {"text": "t: vmas\nvmas: 1\nsee \\[x\\](y) {{0}}"},
                        "locations": [
                            {
                                "physicalLocation": where
                                | {"region": {"startLine": 7, "startColumn": 3}}
                            }
                        ],
                        "relatedLocations": [
                            {
                                "physicalLocation": where
                                | {"region": {"startLine": 5, "startColumn": 2}},
                                "message": {"text": "munmap(\\[é\\](x))"},
                            }
                        ],
                    },
                    {
                        "ruleId": "models-differ",
                        "ruleIndex": names.index("models differ"),
                        "level": "note",
                        "message": {"text": "m\\x1b"},
                        "locations": [{"physicalLocation": where}],
                    },
                    {
                        "ruleId": "missing",
                        "ruleIndex": names.index("missing"),
                        "level": "warning",
                        "message": {"text": "m"},
                        "locations": [
                            {
                                "physicalLocation": {
                                    "artifactLocation": {"uri": "c"},
                                    "region": {"startLine": 3},
                                }
                            }
                        ],
                    },
                ],
            }
        ],
    }


def test_problems_for_gitlab_to_a_letter() -> None:
    out = io.StringIO()
    gitlab.write(out, FOUND)
    assert "é" in out.getvalue()
    assert out.getvalue().startswith('[\n {\n  "description"')
    assert out.getvalue().endswith("\n]\n")
    issues = json.loads(out.getvalue())
    for issue, (_, mark) in zip(issues, with_fingerprints(FOUND), strict=True):
        assert issue.pop("fingerprint") == mark
    assert issues == [
        {
            "description": "t: vmas\nvmas: 1\nsee [x](y) {0}",
            "check_name": "expectation-failed",
            "severity": "major",
            "location": {"path": "a/é b.yaml", "lines": {"begin": 7}},
        },
        {
            "description": "m\\x1b",
            "check_name": "models-differ",
            "severity": "info",
            "location": {"path": "a/é b.yaml", "lines": {"begin": 1}},
        },
        {
            "description": "m",
            "check_name": "missing",
            "severity": "minor",
            "location": {"path": "c", "lines": {"begin": 3}},
        },
    ]


def test_a_fingerprint_is_the_one_of_every_release() -> None:
    assert [mark for _, mark in with_fingerprints([*FOUND, FOUND[1]])] == [
        "8ce6d1e2ae0ebcef33aa2d2b3d8f0f1b",
        "a21d1edd3db361afb2fb8ce534294dd1",
        "2d35a5adcafa27d0abe34c2730927304",
        "c7729d45191c4ca097cd505e80f4e4aa",
    ]


def test_a_place_is_below_the_folder_or_as_it_was_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "in").mkdir()
    monkeypatch.chdir(tmp_path / "in")
    for path, here in (
        ("a/../b", "b"), ("./a//b", "a/b"), (f"{tmp_path}/in/a/./b", "a/b"),
        (f"{tmp_path}/b", f"{tmp_path}/b"), ("../b", "../b"), ("a/../../b/.", "a/../../b/."),
        ("", "."),
    ):  # fmt: skip
        assert place(path) == here


def test_problems_as_annotations_to_a_letter() -> None:
    assert [github.problem_annotation(problem) for problem in FOUND] == [
        "::error file=a/./é b.yaml,line=7,title=t%3A vmas::vmas: 1%0Asee [x](y) {0}",
        "::notice file=a/é b.yaml,title=models differ::m\x1b%0A",
        "::warning file=c,line=3,title=missing::m",
    ]
    assert github.annotation("notice", "", 0, "", "100%\r\n") == "::notice::100%25%0D%0A"
    assert github.annotation("error", "a:b,c%", -1, "", "m") == "::error file=a%3Ab%2Cc%25::m"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[heap]", "[heap]"),
        ("[a](b)", r"\[a\](b)"),
        (r"\[a](b)", r"\\\[a\](b)"),
        ("{0} {x}", "{{0}} {{x}}"),
        ("{x}", "{x}"),
        ("{12", "{12"),
    ],
)
def test_what_would_be_a_link_or_a_placeholder_is_escaped(text: str, said: str) -> None:
    assert sarif.text(text) == said


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
