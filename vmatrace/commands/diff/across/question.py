"""One trace under several models, each compared with the one before it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from vmatrace import kernels
from vmatrace.kernels import Kernel
from vmatrace.printable import Printable
from vmatrace.replayer.attribution import DiffCause, Parting, compared
from vmatrace.replayer.result import Result
from vmatrace.trace.file import Trace


@dataclass
class Row:
    """Models in a row that do the same. ``first``: where they part from the models before them."""

    models: list[str]
    vmas: int
    mergeable: int
    peak_vmas: int
    first: Parting | None = None
    causes: list[DiffCause] = field(default_factory=list)


@dataclass
class Across(Printable):
    """A trace under several models, in their order; models that do the same are one row."""

    shown_by = "vmatrace.commands.diff.across.as_table:write"

    trace: str
    path: str
    description: str
    rows: list[Row]

    @property
    def models(self) -> list[str]:
        """The names of all models, in order."""
        return [name for row in self.rows for name in row.models]

    @property
    def equal(self) -> bool:
        """Whether every call returned the same and left the same VMAs under all models."""
        return len(self.rows) == 1


def across(trace: Trace, models: Sequence[Kernel], ksm: bool | None = None) -> Across:
    """Compare each of *models* with the one before it. Raises TraceError for a bad trace."""
    distinct = [k for i, k in enumerate(models) if not i or k.features != models[i - 1].features]
    results, found = compared(trace, distinct, ksm)
    row = _row(models[0], results[0])
    rows = [row]
    later = zip(results[1:], found, strict=True)
    for before, kernel in pairwise(models):
        if kernel.features != before.features:
            result, parted = next(later)
            if parted.first is not None:
                row = _row(kernel, result)
                row.first, row.causes = parted.first, parted.causes
                rows.append(row)
                continue
        row.models.append(kernel.name)
    return Across(trace.name, trace.path, trace.description, rows)


def _row(kernel: Kernel, result: Result) -> Row:
    return Row([kernel.name], result.vmas, result.mergeable, result.peak_vmas)


def parse_models(text: str) -> list[Kernel]:
    """The models that a list such as ``6.4..6.12,6.12.117,post-patch`` names, in its order.

    A range holds the mainline releases from one end to the other, and both ends. Raises ValueError.
    """
    models = [model for part in text.split(",") for model in _models(part.strip())]
    models = [model for i, model in enumerate(models) if not i or model != models[i - 1]]
    if len(models) < 2:
        raise ValueError(f"{text!r} is one model (expected several, such as 6.4..6.18)")
    return models


def _models(part: str) -> list[Kernel]:
    if ".." not in part:
        return [_model(part)]
    ends = part.split("..")
    if len(ends) != 2 or not all(ends) or ends[1].startswith("."):
        raise ValueError(f"malformed range {part!r} (expected such as 6.4..6.18)")
    low, high = (_model(end.strip()) for end in ends)
    for end in (low, high):
        if not kernels.is_release(end):
            raise ValueError(
                f"{end.name!r} is no release, so it cannot end a range (expected such as "
                f"6.4..6.18, or a list: {low.name},{high.name})"
            )
    if low.release > high.release:
        raise ValueError(f"empty range {part!r} (expected the older release first)")
    within = {
        kernel.name: kernel
        for kernel in (low, *kernels.KERNELS.values(), high)
        if kernels.is_release(kernel) and low.release <= kernel.release <= high.release
    }
    return kernels.in_order(within.values())


def _model(name: str) -> Kernel:
    if not name:
        raise ValueError("a name is missing (expected such as 6.4..6.18, or 6.12,post-patch)")
    return kernels.get_kernel(name)
