"""A second opinion: a trace's events on the running kernel, observed one by one.

The door of the package: ``Sandbox`` runs events, ``probe`` finds out what the kernel is like, the
errors say what is missing. Never imports the model, so that the two can be compared.
"""

from vmatrace.oracle.errors import OracleError, SandboxLost, Unavailable, Unsupported
from vmatrace.oracle.sandbox import Observation, Sandbox, Start

__all__ = [
    "Observation",
    "OracleError",
    "Sandbox",
    "SandboxLost",
    "Start",
    "Unavailable",
    "Unsupported",
]
