"""Checks as KTAP, version 1: a test for each trace, a subtest for each model and expectation.

Source of the format: Documentation/dev-tools/ktap.rst. Names are those of files and of
expectations, which outlive edits, so that two runs can be compared.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple, TextIO

from vmatrace.commands.check.question import NO_EXPECTATIONS, Checked
from vmatrace.commands.check.words import failure_text, nothing_expected, permit, uncovered_text
from vmatrace.commands.form import Form
from vmatrace.escape import visible

SUFFIXES: Final = (".ktap", ".tap")
_VERSION: Final = "KTAP version 1"


class _Test(NamedTuple):
    """One result: its name, whether it is ok, what follows the ``#``, and the lines before it."""

    name: str
    ok: bool
    directive: str = ""
    diagnostics: tuple[str, ...] = ()


def form(out: TextIO, count: int) -> Form[Checked]:
    """The results of each trace as they come."""
    return _Ktap(out, count)


class _Ktap(Form[Checked]):
    def __init__(self, out: TextIO, count: int) -> None:
        super().__init__(out, count)
        self._number = 0
        out.write(f"{_VERSION}\n1..{count}\n")

    def write(self, answer: Checked) -> None:
        tests = list(_tests(answer))
        if tests:
            self.out.write(f"  {_VERSION}\n  1..{len(tests)}\n")
        for number, test in enumerate(tests, 1):
            self._write(number, test, "  ")
        self._number += 1
        self._write(self._number, _whole(answer, tests), "")

    def _write(self, number: int, test: _Test, indent: str) -> None:
        for text in test.diagnostics:
            self.out.write(f"{indent}# {text}".rstrip() + "\n")
        result = "ok" if test.ok else "not ok"
        directive = f" # {test.directive}" if test.directive else ""
        self.out.write(f"{indent}{result} {number} {_name(test.name)}{directive}\n")


def _tests(checked: Checked) -> Iterator[_Test]:
    for model in checked.models:
        if not model.checks and checked.idle:
            said = nothing_expected(model.kernel) + permit(NO_EXPECTATIONS)
            yield _Test(model.kernel, False, diagnostics=(said,))
        elif not model.checks:
            yield _Test(model.kernel, True, f"SKIP {nothing_expected(model.kernel)}")
        for check in model.checks:
            lines = [failure_text(checked.path, failure).splitlines() for failure in check.failures]
            yield _Test(
                f"{model.kernel} {check.name}",
                not check.failures,
                diagnostics=tuple(text for block in lines for text in block),
            )
    for lost in checked.uncovered:
        if checked.unchecked:
            yield _Test(lost.name, False, diagnostics=(uncovered_text(lost.on, False),))
        else:
            yield _Test(lost.name, True, f"SKIP {uncovered_text(lost.on)}")


def _whole(checked: Checked, tests: list[_Test]) -> _Test:
    if checked.error is not None:
        wrong = checked.error.diagnostics
        lines = tuple(visible(text) for text in str(checked.error).splitlines())
        return _Test(checked.path, False, f"ERROR {visible(wrong[0].message)}", lines)
    if all(test.directive for test in tests):
        return _Test(checked.path, True, "SKIP nothing is expected")
    return _Test(checked.path, all(test.ok for test in tests))


def _name(text: str) -> str:
    """*text* without what has a meaning in a result line."""
    return visible(text.replace("\\", "\\\\")).replace("#", "\\x23")
