"""The words of a verification that its forms and its errors share."""

from __future__ import annotations

from vmatrace.escape import visible
from vmatrace.oracle import KernelDied


def death(died: KernelDied) -> str:
    """How a kernel died that did not get as far as a trace, with its last words."""
    lines = [f"the kernel {died.how}", *(f"    {visible(line)}" for line in died.console)]
    return "\n".join(lines)
