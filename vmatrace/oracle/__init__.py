"""A second opinion: a trace's events on a real kernel, observed one by one.

The door of the package: ``Sandbox`` runs events on a ``Machine``, which is the running kernel or
one that ``boot`` boots; ``probe`` finds out what the kernel is like, the errors say what is
missing. Never imports the model, so that the two can be compared.
"""

from vmatrace.oracle.errors import KernelDied, OracleError, SandboxLost, Unavailable, Unsupported
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
