"""The JUnit report is what CI servers read, whatever a trace is called or holds.

tests/schemas/junit.xsd is junit-10.xsd of Jenkins' xUnit plugin (jenkinsci/xunit-plugin, MIT, with
its notice), unchanged. Ant's schema, the other one in use, is stricter in what a suite must have.
"""

from __future__ import annotations

import io
import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree
from program import ROOT

from vmatrace.commands.check import as_junit
from vmatrace.commands.check.question import Check, Checked, Uncovered, UnderModel, check
from vmatrace.diagnostic import Diagnostic, TraceError
from vmatrace.kernels import get_kernel
from vmatrace.replayer.result import Failure
from vmatrace.trace.file import load_trace

SCHEMA = etree.XMLSchema(etree.parse(str(ROOT / "tests/schemas/junit.xsd")))
#: What Ant's schema wants of a suite and of a case.
SUITE = {
    "name", "package", "id", "tests", "failures", "errors", "skipped", "time", "timestamp",
    "hostname",
}  # fmt: skip
CASE = {"name", "classname", "time"}
#: What more a case has, and the schemas do not know: where it is, which GitLab and others read.
PLACE = {"file", "line"}


def report(*all_: Checked) -> Any:
    """The document of *all_*, read again; it is valid."""
    out = io.StringIO()
    writer = as_junit.form(out, len(all_))
    for checked in all_:
        writer.write(checked)
    writer.finish()
    document = etree.fromstring(out.getvalue().encode("utf-8"))
    for case in document.iter("testcase"):
        assert case.get("file") == case.getparent().get("name")
        assert int(case.get("line")) > 0
        for name in PLACE:
            del case.attrib[name]
    SCHEMA.assertValid(document)
    assert document.attrib == {}
    for suite in document:
        assert set(suite.attrib) == SUITE
        tags = [child.tag for child in suite]
        assert tags == ["properties", *["testcase"] * int(suite.get("tests")), *tags[-2:]]
        assert tags[-2:] == ["system-out", "system-err"]
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", suite.get("timestamp"))
        cases = suite.findall("testcase")
        assert len({case.get("name") for case in cases}) == len(cases)
        assert all(set(case.attrib) == CASE and len(case) <= 1 for case in cases)
        for kind, count in (("failure", "failures"), ("error", "errors"), ("skipped", "skipped")):
            assert len(suite.findall(f"testcase/{kind}")) == int(suite.get(count))
        assert all(bad.get("type") for bad in suite.iter("failure", "error"))
    return document


def checked(path: str = "sub/t.yaml") -> Checked:
    data = b"""vmatrace: 1
events:
  - a = mmap(0x10000, 4096, PROT_READ, MAP_PRIVATE|MAP_ANONYMOUS|MAP_FIXED, -1, 0)
  - expect: {on: 6.4, vmas: 2, maps: []}
  - expect: {vmas: 1}
  - expect: {on: [6.4, 6.5], vmas: 1}
"""
    kernels = [get_kernel(name) for name in ("6.4", "6.6")]
    found = check(load_trace(data, path), kernels)
    found.models[1].checks.clear()
    return found


def test_there_is_a_case_for_each_model_and_expectation() -> None:
    (suite,) = report(checked())
    assert (suite.get("name"), suite.get("package")) == ("sub/t.yaml", "sub")
    assert [
        (case.get("name"), [child.tag for child in case]) for case in suite.iter("testcase")
    ] == [
        ("vmas, maps after a under 6.4", ["failure"]),
        ("vmas after a under 6.4", []),
        ("vmas after a (2) under 6.4", []),
        ("nothing under 6.6", ["skipped"]),
    ]
    assert {case.get("classname") for case in suite.iter("testcase")} == {"sub.t"}
    (failure,) = suite.iter("failure")
    assert failure.get("message") == (
        "sub/t.yaml:4: vmas: expected 2, actual 1, since line 3: a = mmap(0x10000, 4096, "
        "PROT_READ, MAP_PRIVATE|MAP_ANONYMOUS|MAP_FIXED, -1, 0); "
        "sub/t.yaml:4: maps differ (- expected, + actual)"
    )
    assert failure.text.splitlines()[-1].split() == ["+", "00010000-00011000", "r--p", "0", "rd",
                                                     "mr", "mw", "me"]  # fmt: skip


def test_a_trace_in_error_and_one_that_no_model_is_about() -> None:
    error = TraceError([Diagnostic("a.yaml", 3, 1, "no"), Diagnostic("a.yaml", 4, 1, "never")])
    one = Checked("a.yaml", "a", error=error)
    two = Checked("b.yaml", "b", uncovered=[Uncovered(9, 5, "vmas", ">7.0")])
    document = report(one, two)
    (wrong,) = document.iter("error")
    assert (wrong.get("message"), wrong.text) == ("no", str(error))
    assert [suite.get("id") for suite in document] == ["0", "1"]
    (missing,) = document.iter("failure")
    assert ">7.0" in missing.get("message")
    assert "--allow uncovered" in missing.get("message")
    (skipped,) = report(replace(two, allowed=frozenset(["uncovered"]))).iter("skipped")
    assert ">7.0" in skipped.get("message")


def test_a_trace_in_which_nothing_was_checked_fails_unless_that_is_allowed() -> None:
    idle = Checked("c.yaml", "c", [UnderModel("6.4", [], 0)])
    (missing,) = report(idle).iter("failure")
    assert "--allow no-expectations" in missing.get("message")
    (skipped,) = report(replace(idle, allowed=frozenset(["no-expectations"]))).iter("skipped")
    assert skipped.get("message") == "nothing is expected of 6.4"


def test_no_trace_at_all_is_a_valid_report() -> None:
    assert len(report()) == 0


@pytest.mark.parametrize("path", ["/a/../b.yaml", "../x/c", ".", "-", "a b/c.d.yaml", "<stdin>"])
def test_any_path_names_a_suite(path: str) -> None:
    (suite,) = report(checked(path))
    assert suite.get("name") == path


@given(st.text(), st.text(), st.floats(0, 1e6))
def test_any_text_is_safe(path: str, text: str, seconds: float) -> None:
    failure = Failure(1, 1, text, "vmas", text, 3)
    model = UnderModel(text, [Check(1, 1, text, [failure])], seconds)
    error = TraceError([Diagnostic(path, 1, 1, text, text)])
    one = Checked(path or "-", text, [model], [Uncovered(2, 2, text + "+", text)])
    report(one, Checked(path or "-", text, error=error))
