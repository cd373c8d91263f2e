"""What the oracle says when it cannot answer. Knows no cause, only the three kinds of refusal."""

from __future__ import annotations


class OracleError(Exception):
    """Base of everything the oracle refuses; ``str()`` is a sentence for the user."""


class Unavailable(OracleError):  # noqa: N818 - it states a fact about the machine
    """This machine or this user lacks what the oracle needs (ptrace, /proc, the architecture)."""


class Unsupported(OracleError):  # noqa: N818 - it states a fact about the trace
    """This trace or this call cannot be run on this machine; the sandbox is still usable."""


class SandboxLost(OracleError):  # noqa: N818
    """A process of the sandbox died, or lost the page or stack that calls are made from."""
