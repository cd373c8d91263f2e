"""KTAP reads back as what was checked (Documentation/dev-tools/ktap.rst, version 1)."""

from __future__ import annotations

import io
import re
from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from vmatrace.commands.check import as_ktap
from vmatrace.commands.check.question import ALLOWABLE, Check, Checked, Uncovered, UnderModel
from vmatrace.diagnostic import Diagnostic, TraceError
from vmatrace.replayer.result import Failure

RESULT = re.compile(r"(ok|not ok) (\d+) ([^#]*?)(?: # ([A-Z]+)(?: (.*))?)?")


class Outcome(NamedTuple):
    """A result as it was read: its subtests and the diagnostic lines before it."""

    name: str
    ok: bool
    directive: str
    tests: list[Outcome]
    diagnostics: list[str]


def written(*all_: Checked) -> str:
    out = io.StringIO()
    writer = as_ktap.form(out, len(all_))
    for checked in all_:
        writer.write(checked)
    writer.finish()
    return out.getvalue()


def read(text: str) -> list[Outcome]:
    """The tests of a whole output; fails where a line is not as the format has it."""
    lines = text.splitlines()
    tests = block(lines, "")
    assert lines == []
    return tests


def block(lines: list[str], indent: str) -> list[Outcome]:
    """Take one version line, its plan and the tests that this announces."""
    assert lines.pop(0) == f"{indent}KTAP version 1"
    plan = re.fullmatch(rf"{indent}1\.\.(\d+)", lines.pop(0))
    assert plan is not None
    tests: list[Outcome] = []
    while len(tests) < int(plan[1]):
        inner = block(lines, indent + "  ") if lines[0].startswith(f"{indent}  KTAP") else []
        diagnostics = []
        while lines[0].startswith(f"{indent}#"):
            diagnostics.append(lines.pop(0).removeprefix(f"{indent}# "))
        result = RESULT.fullmatch(lines.pop(0).removeprefix(indent))
        assert result is not None
        assert int(result[2]) == len(tests) + 1
        tests.append(Outcome(result[3], result[1] == "ok", result[4] or "", inner, diagnostics))
    assert len({test.name for test in tests}) == len(tests)
    for test in tests:
        assert not test.tests or test.ok == all(inner.ok for inner in test.tests)
    return tests


def failure(text: str = "x") -> Failure:
    return Failure(3, 5, "main", "vmas", text, 2)


def test_a_test_for_each_trace_and_a_subtest_for_each_model_and_expectation() -> None:
    old = UnderModel("6.4", [Check(3, 5, "vmas after a", [failure()]), Check(4, 5, "mine")], 0)
    new = UnderModel("6.18", [], 0)
    error = TraceError([Diagnostic("b.yaml", 1, 1, "bad")])
    allowed = frozenset(ALLOWABLE)
    lost = [Uncovered(9, 5, "vmas at the start", ">7.0")]
    one, two, three, four, five = read(
        written(
            Checked("a.yaml", "a", [old, new], lost, allowed=allowed),
            Checked("b.yaml", "b", error=error),
            Checked("c.yaml", "c", [new], allowed=allowed),
            Checked("d.yaml", "d", [new], lost),
            Checked("e.yaml", "e", [new]),
        )
    )
    assert [(t.name, t.ok, t.directive) for t in one.tests] == [
        ("6.4 vmas after a", False, ""),
        ("6.4 mine", True, ""),
        ("6.18", True, "SKIP"),
        ("vmas at the start", True, "SKIP"),
    ]
    assert one.tests[0].diagnostics == ["a.yaml:3: vmas: expected x, actual 2"]
    assert (one.name, one.ok) == ("a.yaml", False)
    assert two == Outcome("b.yaml", False, "ERROR", [], ["b.yaml:1:1: error: bad"])
    assert (three.ok, three.directive) == (True, "SKIP")
    assert [(t.ok, t.directive) for t in four.tests] == [(True, "SKIP"), (False, "")]
    assert (four.ok, five.ok) == (False, False)
    assert "--allow uncovered" in four.tests[1].diagnostics[0]
    assert "--allow no-expectations" in five.tests[0].diagnostics[0]


paths = st.text(st.characters(), min_size=1)


@given(st.lists(paths, unique=True), st.text())
def test_any_name_and_text_reads_back_and_names_stay_apart(names: list[str], text: str) -> None:
    models = [UnderModel("6.4", [Check(3, 5, text, [failure(text)])], 0), UnderModel("6.5", [], 0)]
    error = TraceError([Diagnostic("p", 1, 1, text, text)])
    all_ = [Checked(name, text, models) for name in names]
    tests = read(written(*all_, *(Checked(name + "/", text, error=error) for name in names)))
    assert len(tests) == 2 * len(names)
    assert not any(test.ok for test in tests)
