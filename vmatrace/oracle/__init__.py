"""A second opinion: a trace's events on a real kernel, observed one by one.

The door of the package: ``Sandbox`` runs events on a ``Machine``, which is the running kernel or
one that ``boot`` boots; ``probe`` finds out what the kernel is like, the errors say what is
missing. Never imports the model, so that the two can be compared. Names are loaded when they are
first used: a recording needs few of them.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vmatrace.oracle.errors import (
        KernelDied,
        OracleError,
        SandboxLost,
        Unavailable,
        Unsupported,
    )
    from vmatrace.oracle.machine import Machine, RunningKernel
    from vmatrace.oracle.sandbox import Observation, Sandbox, Start

__all__ = [
    "KernelDied",
    "Machine",
    "Observation",
    "OracleError",
    "RunningKernel",
    "Sandbox",
    "SandboxLost",
    "Start",
    "Unavailable",
    "Unsupported",
]
_HOMES = {
    **dict.fromkeys(("Machine", "RunningKernel"), "machine"),
    **dict.fromkeys(("Observation", "Sandbox", "Start"), "sandbox"),
}

if not TYPE_CHECKING:  # else every name would be one to a type checker

    def __getattr__(name: str) -> object:
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        home = import_module(f"{__name__}.{_HOMES.get(name, 'errors')}")
        found = globals()[name] = getattr(home, name)
        return found
