"""The words of checks that their forms share: what failed, what nothing was expected of, totals."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Iterator, Sequence
from typing import Final

from vmatrace.commands.check.question import NO_EXPECTATIONS, UNCOVERED, Checked
from vmatrace.escape import inert, visible
from vmatrace.render import summary, words
from vmatrace.render.paper import Paper
from vmatrace.replayer.result import Failure

#: So many traces are named in one line.
_LISTED: Final = 5


def failure_text(path: str, failure: Failure, under: Sequence[str] = ()) -> str:
    """What did not hold, in one line or, for a layout, several; *under*: the models."""
    text = io.StringIO()
    summary.write_failure(Paper(text), path, failure, under)
    return textwrap.dedent(text.getvalue()).rstrip("\n")


def failure_line(path: str, failure: Failure, under: Sequence[str] = ()) -> str:
    """The same in one line; of a layout, no more than that it differs."""
    first, *more = failure_text(path, failure, under).splitlines()
    return first if failure.what == "maps" else ", ".join([first, *map(str.strip, more)])


def nothing_expected(model: str) -> str:
    """Said where a trace has no expectation for a model."""
    return f"nothing is expected of {model}"


def uncovered_text(on: str, allowed: bool = True) -> str:
    """Said of an expectation that is about no model; *on* is its range."""
    text = f"no kernel model is in {on}, so nothing was checked"
    return text if allowed else text + permit(UNCOVERED)


def permit(kind: str, option: str = "--allow") -> str:
    """How one says that it is no failure."""
    return f" (allowed with {option} {kind})"


def updated_text(path: str, values: int, files: int = 1) -> str:
    """What was rewritten in the file at *path*, or if that is empty in all *files*."""
    what = words.plural(values, "expected value")
    if path:
        return inert(f"{path}: {what} rewritten")
    return f"{what} rewritten in {words.plural(files, 'file')}" if values else "nothing rewritten"


def columns(all_: Sequence[Checked]) -> list[str]:
    """Every model that a trace was checked under, in the order of the models."""
    from vmatrace.kernels import get_kernel, in_order

    names = {model.kernel for one in all_ for model in one.models}
    return [kernel.name for kernel in in_order(map(get_kernel, names))]


def totals(all_: Sequence[Checked], models: int) -> Iterator[tuple[str, str]]:
    """The closing lines, each with a style."""
    held, failed = sum(one.held for one in all_), sum(one.failed for one in all_)
    what = f"{words.plural(len(all_), 'trace')}, {words.plural(models, 'model')}"
    yield (
        f"{what}: {held} of {words.plural(held + failed, 'check')} held",
        "passed" if held and all(one.holds for one in all_) else "failed" if failed else "title",
    )
    empty = sum(len(one.empty) for one in all_)
    if empty:
        yield f"nothing to check (-): {words.plural(empty, 'time')}", "warning"
    uncovered = sum(len(one.uncovered) for one in all_)
    if uncovered:
        failing = any(one.unchecked for one in all_)
        yield (
            f"about no model: {words.plural(uncovered, 'expectation')}"
            + (permit(UNCOVERED) if failing else ""),
            "failed" if failing else "warning",
        )
    idle = [visible(one.path) for one in all_ if one.idle]
    if idle:
        listed = ", ".join(idle[:_LISTED])
        listed += f" and {len(idle) - _LISTED} more" if len(idle) > _LISTED else ""
        what = f"nothing checked in {words.plural(len(idle), 'trace')}"
        yield f"{what}{permit(NO_EXPECTATIONS)}: {listed}", "failed"
    wrong = sum(one.error is not None for one in all_)
    if wrong:
        yield f"in error: {words.plural(wrong, 'trace')}", "failed"
