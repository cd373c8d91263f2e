"""Any x86-64 kernel image as a machine: booted in QEMU with a program of our own as init."""

from __future__ import annotations

from vmatrace.oracle.boot.machine import BootedKernel
from vmatrace.oracle.machine import Machine, RunningKernel

__all__ = ["BootedKernel", "open_machine"]


def open_machine(image: str | None) -> Machine:
    """The running kernel, or *image* booted. Raises Unavailable, KernelDied."""
    return RunningKernel() if image is None else BootedKernel(image)
