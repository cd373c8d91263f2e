"""Which model a kernel is: the nearest release, adjusted by what experiments found.

Never looks at the kernel's version. What no experiment decides is as in the nearest release.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vmatrace import kernels
from vmatrace.kernels import Kernel
from vmatrace.oracle.errors import Unavailable
from vmatrace.printable import Printable

if TYPE_CHECKING:
    from vmatrace.oracle import Machine
    from vmatrace.oracle.lab import Lab


@dataclass(frozen=True)
class Findings(Printable):
    """``found`` maps each feature an experiment was made for to its outcome, None: undecided.

    ``kernel`` is the model to compare with; it derives from the table's row ``nearest``.
    """

    shown_by = "vmatrace.commands.verify.as_table:write_findings"

    found: Mapping[str, bool | None]
    nearest: Kernel
    kernel: Kernel

    def differing(self) -> list[str]:
        """The features in which this kernel is not its nearest release, in the table's order."""
        return [
            name
            for name in kernels.FEATURES
            if (name in self.kernel.features) != (name in self.nearest.features)
        ]


def look(machine: Machine | None = None) -> Findings:
    """Make the experiments on *machine*, by default on the running kernel. Raises Unavailable."""
    # Not above: whoever remembers the findings needs none of it.
    from vmatrace.oracle.lab import Lab
    from vmatrace.oracle.probe import probe
    from vmatrace.oracle.sandbox import Sandbox

    found = probe(machine)
    with Sandbox(machine=machine) as sandbox:
        found["pkeys"] = _pkeys(Lab(sandbox))
    return conclude(found)


def _pkeys(lab: Lab) -> bool:
    from vmatrace.oracle.lab import PAGE, RW

    lab.map(0, 1)
    return lab.call("pkey_mprotect", lab.at(0), PAGE, RW, 0) == 0


def _releases() -> Iterator[Kernel]:
    """Every release that differs from the one before it, oldest first."""
    for kernel in kernels.KERNELS.values():
        if kernels.is_release(kernel):
            yield kernel
            yield from kernels.point_releases(kernel.name)


def conclude(found: Mapping[str, bool | None]) -> Findings:
    """The model that *found* means. Raises Unavailable for a kernel older than the table.

    Nearest is the release that the fewest findings contradict, of equals the newest, then the one
    whose configuration is nearest too.
    """
    decided = {name: yes for name, yes in found.items() if yes is not None}
    if decided.get("ksm") and not decided.get("ksm-prctl", True):
        raise Unavailable(
            "this kernel has KSM but no PR_SET_MEMORY_MERGE: it is older than 6.4, the first "
            "release modelled"
        )

    def distance(kernel: Kernel) -> tuple[int, int]:
        wrong = [name for name, yes in decided.items() if yes != (name in kernel.features)]
        # What is configuration or hardware says nothing of the release.
        released = [n for n in wrong if kernels.FEATURES[n].kind != kernels.CONFIGURATION]
        return (len(released), len(wrong))

    nearest = min(reversed(list(_releases())), key=distance)
    on = [n for n, yes in decided.items() if yes and n not in nearest.features]
    off = [n for n, yes in decided.items() if not yes and n in nearest.features]
    return Findings(found, nearest, nearest.with_features(on, off))
