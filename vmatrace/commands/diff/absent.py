"""What a comparison with saved results would pass over: traces and expectations that came or went.

Each is an AbsentError, which is no failure where its kind is allowed.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Iterator
from typing import Final

from vmatrace.commands.diff.answer import Diff
from vmatrace.commands.diff.baseline import Baseline
from vmatrace.diagnostic import Diagnostic, TraceError
from vmatrace.trace.file import Trace

NEW, REMOVED, FEWER = "new", "removed", "fewer-expectations"
KINDS: Final = (NEW, REMOVED, FEWER)


class AbsentError(TraceError):
    """What is missing on a side of a comparison; ``kind`` is one of KINDS."""

    rule = "missing"

    def __init__(self, kind: str, path: str, line: int, what: str, then: str) -> None:
        hint = f" ({then}; allowed with --allow {kind})"
        super().__init__([Diagnostic(path, line, 1 if line else 0, what + hint)])
        self.kind = kind


class Presence:
    """Which results of *baselines* are used; asked about each trace, and at the end."""

    def __init__(self, baselines: Iterable[Baseline]) -> None:
        self._baselines = [one for one in baselines if one.results]
        self._used: set[tuple[str, int]] = set()

    def new(self, trace: Trace) -> AbsentError | None:
        """What to say of a trace that a baseline does not have."""
        for baseline in self._baselines:
            found = baseline.find(trace)
            self._used |= {one.where for one in found}
            if not found:
                then = (
                    f"vmatrace baseline {shlex.quote(trace.path)} --update "
                    f"-o {shlex.quote(baseline.path)} adds it"
                )
                return AbsentError(NEW, trace.path, 0, f"it is not in {baseline.path}", then)
        return None

    def removed(self) -> Iterator[AbsentError]:
        """What to say of each result whose trace was not among those asked about and is no more."""
        for baseline in self._baselines:
            for one in baseline.results:
                gone = one.path != "-" and not os.path.lexists(one.path)
                if one.where not in self._used and gone:
                    then = (
                        f"vmatrace baseline --update -o {shlex.quote(baseline.path)} leaves it out"
                    )
                    what = f"the trace {one.path or one.trace} is gone"
                    yield AbsentError(REMOVED, *one.where, what, then)


def fewer(diff: Diff) -> AbsentError | None:
    """What to say of a trace that expects less than before under the same model."""
    from_, to = diff.from_, diff.to
    if None in (from_.expected, to.expected) or from_.kernel != to.kernel:
        return None
    assert from_.expected is not None
    assert to.expected is not None
    if "result" not in (from_.kind, to.kind) or to.expected >= from_.expected:
        return None
    what = f"it expects less than before: {to.expected} of {from_.expected} expectations are left"
    return AbsentError(FEWER, diff.path, 0, what, "vmatrace baseline --update accepts it")
