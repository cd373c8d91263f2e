"""One program on a real kernel and a model: where they part, or where one of them is worse.

From outside, a kernel shows its results and its VMAs, but no decision. Where it does, event by
event, what a model does, the decisions of that model are its own: so *like*, the model that
experiments find it to be, tells which sides of a merge were blocked, for as long as it is exact.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from vmatrace.engine import view
from vmatrace.kernels import Kernel
from vmatrace.search.trials import covered, outcomes
from vmatrace.trace.file import Trace
from vmatrace.verify.witness import Mismatch, SideBySide, Witness, beside

#: What of a program is worse when it is neither a result nor a number of VMAs.
BLOCKED_SIDES = "blocked sides"


@dataclass
class Shown:
    """What the last run showed: what it ``covered``, how it parted, and what its merges came to.

    ``signature`` is alike for partings that are likely of one kind. ``outcomes``: see trials.Trial;
    without words where no model is exact.
    """

    covered: set[object] = field(default_factory=set)
    signature: object = None
    outcomes: tuple[str, str] = ("", "")


class Judge:
    """Finds in a run what counts; ``shown`` is what it has seen of the last one.

    *worse*: only what leaves the side --to with more VMAs, more blocked sides or a call that newly
    fails, also behind the first event at which they part. *first*: the kernel is the side --from.
    """

    def __init__(self, like: Kernel, worse: bool, first: bool) -> None:
        self._like = like
        self._worse = worse
        self._first = first
        #: Whether the outcomes of merges are wanted, which takes another replay.
        self.thorough = False
        #: Only this of what can be worse counts, None: whatever is.
        self.reason: str | None = None
        self.shown = Shown()

    def __call__(self, trace: Trace, kernel: Kernel, witness: Witness) -> Iterator[Mismatch | None]:
        """See mismatch.Judge."""
        shown = self.shown = Shown()
        kernels = [kernel, self._like] if self._worse or self.thorough else [kernel]
        exact, parted, errors = True, False, 0
        for seen in beside(trace, kernels, witness):
            model, like = seen.sides[0], seen.sides[-1]
            errors += seen.actual < 0
            exact = exact and like.mismatch is None and len(kernels) > 1
            parted = parted or model.mismatch is not None
            shown.covered.update(covered(model.step))
            found = model.mismatch
            if self._worse:
                found = self._what_is_worse(seen, errors, exact) if parted else None
            if found is None:
                yield None
                continue
            shown.signature = (found.event.name, found.field, frozenset(covered(model.step)))
            if exact:
                steps = [model.step, like.step]
                shown.outcomes = outcomes(steps[::-1] if self._first else steps)
            yield found
            return

    def _what_is_worse(self, seen: SideBySide, errors: int, exact: bool) -> Mismatch | None:
        """What of --to is worse by now, None if nothing is; *errors* are the kernel's calls."""
        run, step = seen.sides[0][:2]
        vmas = 0 if step.ended else run.process(step.pid).vmas.count
        model = [run.result.errors, vmas, run.result.tally.blocked_sides]
        blocked = seen.sides[-1].run.result.tally.blocked_sides if exact else model[2]
        real = [errors, len(seen.layout), blocked]
        before, after = (real, model) if self._first else (model, real)
        fields = ("result", "number of VMAs", BLOCKED_SIDES)
        worse = [f for f, a, b in zip(fields, before, after, strict=True) if a < b]
        wanted = [f for f in worse if self.reason in (None, f)]
        if not wanted:
            return None
        what = wanted[0]
        ours = [] if step.ended else view.layout(run.process(step.pid))
        return Mismatch(
            step.index, step.event, step.pid, what, step.result, seen.actual, ours, seen.layout
        )
