"""A real kernel as one side of a comparison: traces are run on it, event by event.

``running`` is the kernel of this machine, ``boot:VMLINUZ`` an image that is booted for it.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any, Final

from vmatrace.commands.diff.sides import DiffSide, Totals
from vmatrace.kernels import Kernel
from vmatrace.layout import Layout
from vmatrace.oracle import Machine, OracleError, Unavailable
from vmatrace.oracle.boot import open_machine
from vmatrace.trace.file import Trace
from vmatrace.verify import findings
from vmatrace.verify.observed import Observed, observe
from vmatrace.verify.setting import Skip

RUNNING: Final = "running"
_BOOT: Final = "boot:"


def is_real(name: str) -> bool:
    """Whether a side of that name is a real kernel."""
    return name == RUNNING or name.startswith(_BOOT)


class RealKernel:
    """A kernel that traces are run on; a context manager. ``side(trace)`` is what it did.

    Raises Unavailable where something is missing, KernelDied if it does not come up.
    """

    def __init__(self, name: str) -> None:
        self._machine: Machine = open_machine(None if name == RUNNING else name.removeprefix(_BOOT))

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
        return _side(self._machine.release, self.model, seen, beside_model)


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
