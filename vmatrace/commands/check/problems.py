"""What is not as it should be in checked traces, for reports to CI servers."""

from __future__ import annotations

from collections.abc import Iterator

from vmatrace.commands.check.question import NO_EXPECTATIONS, Checked
from vmatrace.commands.check.words import failure_text, nothing_expected, permit, uncovered_text
from vmatrace.escape import visible
from vmatrace.render.problems import ERROR, NOTE, WARNING, Problem, of_error


def problems(checked: Checked) -> Iterator[Problem]:
    """Those of one trace: what is wrong with it, what failed, what says nothing."""
    path = checked.path
    if checked.error is not None:
        yield from of_error(checked.error)
    names = {
        (check.line, check.column): check.name for model in checked.models for check in model.checks
    }
    for failure, under in checked.failures():
        place = f"{path}:{failure.line}: "
        text = failure_text(path, failure, under).removeprefix(visible(place))
        name = names[failure.line, failure.column]
        yield Problem(
            "expectation failed", ERROR, path, failure.line, failure.column, text,
            f"{name}\0{failure.what}\0{under[0]}", failure.since,
        )  # fmt: skip
    for lost in checked.uncovered:
        yield Problem(
            "nothing checked", ERROR if checked.unchecked else WARNING, path, lost.line,
            lost.column, uncovered_text(lost.on, not checked.unchecked), lost.name,
        )  # fmt: skip
    if checked.idle:
        text = nothing_expected(", ".join(checked.empty)) + permit(NO_EXPECTATIONS)
        yield Problem("nothing to check", ERROR, path, 1, 1, text, "")
    elif checked.empty:
        text = nothing_expected(", ".join(checked.empty))
        yield Problem("nothing to check", NOTE, path, 1, 1, text, "")
