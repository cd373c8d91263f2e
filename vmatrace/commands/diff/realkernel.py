"""A real kernel as one side of a comparison: traces are run on it, event by event.

``running`` is the kernel of this machine, ``boot:VMLINUZ`` an image that is booted for it.
"""

from __future__ import annotations

import os.path
from collections.abc import Iterable
from functools import cached_property
from itertools import takewhile
from typing import Any, Final

from vmatrace.commands.diff.sides import DiffSide, Totals
from vmatrace.kernels import Kernel
from vmatrace.layout import Layout
from vmatrace.oracle import KernelDied, Machine, OracleError, Unavailable
from vmatrace.oracle.boot import open_machine
from vmatrace.trace.file import Trace
from vmatrace.verify import findings
from vmatrace.verify.observed import Observed, observe
from vmatrace.verify.skip import Skip

RUNNING: Final = "running"
_BOOT: Final = "boot:"


def is_real(name: str) -> bool:
    """Whether a side of that name is a real kernel."""
    return name == RUNNING or name.startswith(_BOOT)


class RealKernel:
    """A kernel that traces are run on; a context manager. ``side(trace)`` is what it did.

    ``name`` is its release. Raises Unavailable where something is missing, KernelDied if it does
    not come up.
    """

    def __init__(self, name: str) -> None:
        self.image = None if name == RUNNING else name.removeprefix(_BOOT)
        try:
            self._machine: Machine = open_machine(self.image)
        except KernelDied as died:
            raise KernelDied(f"of {self.image} {died.how}", died.console) from None
        self.name = self._machine.release

    def __enter__(self) -> RealKernel:
        return self

    def __exit__(self, *_: object) -> None:
        self._machine.close()

    @cached_property
    def model(self) -> Kernel:
        """The model that experiments find it to be."""
        return findings.look(self._machine).kernel

    def side(self, trace: Trace, beside_model: bool) -> DiffSide:
        """What it does with *trace*. Raises Skip where that cannot be run, and KernelDied.

        *beside_model*: with what is there at the start, which a model is given too.
        """
        try:
            seen = observe(trace, self.model, self._machine)
        except Unavailable:
            raise
        except OracleError as reason:
            raise Skip(str(reason)) from None
        return _side(self.name, self.model, seen, beside_model)


def tell_apart(sides: Iterable[object]) -> None:
    """Where two images are of one release, put into their names what sets their paths apart."""
    both = [side for side in sides if isinstance(side, RealKernel)]
    if len(both) != 2 or both[0].name != both[1].name:
        return
    paths = [side.image for side in both if side.image is not None]
    if len(set(map(os.path.abspath, paths))) == 2:
        for side, part in zip(both, _parts(*paths), strict=True):
            side.name += f" ({part})"


def _parts(one: str, other: str) -> tuple[str, str]:
    """What each of two paths has that the other has not; the paths where one has nothing."""
    left, right = one.split("/"), other.split("/")
    start = _alike(left, right)
    end = _alike(left[start:][::-1], right[start:][::-1])
    parts = ["/".join(path[start : len(path) - end]) for path in (left, right)]
    return (parts[0], parts[1]) if all(parts) else (one, other)


def _alike(one: list[str], other: list[str]) -> int:
    """How many first parts are the same."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


def _side(name: str, model: Kernel, seen: Observed, beside_model: bool) -> DiffSide:
    start = set() if beside_model else {mapping.key() for mapping in seen.trace.maps}

    def own(layout: Layout) -> Layout:
        return [mapping for mapping in layout if mapping.key() not in start]

    processes = {pid: own(layout) for pid, layout in seen.processes.items()}
    events: list[dict[str, Any]] = [
        {
            "pid": event.pid, "call": event.text, "result": result, "merges": [], "blocked": [],
            "layout": own(layout),
        }
        for event, result, layout in seen.events
    ]  # fmt: skip
    mappings = [mapping for layout in processes.values() for mapping in layout]
    totals = Totals(
        vmas=len(mappings),
        peak_vmas=max((len(event["layout"]) for event in events), default=0),
        mergeable=sum("mg" in mapping.codes for mapping in mappings),
        errors=sum(result < 0 for _, result, _ in seen.events),
    )
    return DiffSide(
        name, "kernel", processes, totals, model.name, seen.trace.page_size, events=events,
        lacks=("counts",), calls=len(events), started=seen.trace, model=model,
    )  # fmt: skip
