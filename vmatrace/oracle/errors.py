"""What the oracle says when it cannot answer. Knows no cause, only the kinds of refusal."""

from __future__ import annotations


class OracleError(Exception):
    """Base of everything the oracle refuses; ``str()`` is a sentence for the user."""


class Unavailable(OracleError):  # noqa: N818 - it states a fact about the machine
    """This machine or this user lacks what the oracle needs (ptrace, /proc, the architecture)."""


class Unsupported(OracleError):  # noqa: N818 - it states a fact about the trace
    """This trace or this call cannot be run on this machine; the sandbox is still usable."""


class SandboxLost(OracleError):  # noqa: N818
    """A process of the sandbox died, or lost the page or stack that calls are made from."""


class KernelDied(Exception):  # noqa: N818
    """The kernel itself panicked, hung or went away: an answer, and no refusal of the oracle.

    ``str()`` is a clause about "the kernel"; ``console`` are the last lines that it wrote.
    """

    def __init__(self, how: str, console: list[str]) -> None:
        super().__init__(how)
        self.how = how
        self.console = console

    def __reduce__(self) -> tuple[type[KernelDied], tuple[str, list[str]]]:
        return KernelDied, (self.how, self.console)
