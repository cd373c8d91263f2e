"""Whether a trace can start on this machine, and the sandbox and model state that it starts in.

Knows what a trace may ask of a machine (sysctls, limits, a layout, a file system) and how to find
out whether this one has it. What it has not is never replaced by something similar: Skip says what.
A sysctl that the trace leaves at its default is the machine's own, for the model too.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import resource
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from vmatrace import abi
from vmatrace.event import Event, File
from vmatrace.kernels import Kernel
from vmatrace.oracle.files import filesystem_of
from vmatrace.oracle.sandbox import Sandbox, Start
from vmatrace.trace.file import Sysctl, Trace
from vmatrace.verify.witness import starting_at


class Skip(Exception):  # noqa: N818 - it states a fact about the trace on this machine
    """This trace cannot be verified here; ``str()`` says why, as a clause."""


_RLIMITS: Final = {
    "as": resource.RLIMIT_AS, "data": resource.RLIMIT_DATA, "memlock": resource.RLIMIT_MEMLOCK,
    "stack": resource.RLIMIT_STACK,
}  # fmt: skip
_CAP_IPC_LOCK: Final = 1 << 14
_PR_SET_MM, _PR_SET_MM_START_BRK, _PR_SET_MM_BRK = 35, 6, 7
_KSM_ADVICE: Final = (abi.MADV_MERGEABLE, abi.MADV_UNMERGEABLE)


def machine_sysctl(proc: Path = Path("/proc/sys/vm")) -> Sysctl:
    """The vm.* knobs of this machine; one that cannot be read keeps the trace format's default."""
    knobs: dict[str, int] = {}
    for knob in dataclasses.fields(Sysctl):
        try:
            knobs[knob.name] = int((proc / knob.name).read_text().split()[0])
        except (OSError, ValueError, IndexError):
            continue
    return Sysctl(**knobs)


def check(trace: Trace, kernel: Kernel, machine: Sysctl) -> None:
    """Raise Skip if *trace* cannot start here. Raises TraceError if it cannot be read."""
    page = os.sysconf("SC_PAGE_SIZE")
    if trace.page_size != page:
        raise Skip(f"it has pages of {trace.page_size} bytes, this machine of {page}")
    if trace.maps:
        raise Skip("it starts with a layout of its own (maps:), which no new process has")
    _check_sysctl(trace.sysctl, machine)
    if "memlock" in trace.process.rlimits and _may_lock():
        raise Skip("RLIMIT_MEMLOCK does not bind a process with CAP_IPC_LOCK, which this one is")
    for file in trace.files.values():
        where = mounted_noexec(file)
        if where is not None:
            raise Skip(f"{file.path}: {where} is mounted noexec here, which takes VM_MAYEXEC away")
    uses_ksm = trace.process.ksm
    for item in trace.items():
        uses_ksm = uses_ksm or (isinstance(item, Event) and _is_about_ksm(item))
    if uses_ksm and "ksm" not in kernel.features:
        raise Skip("it is about KSM, and this kernel has none (CONFIG_KSM)")


def mounted_noexec(file: File) -> str | None:
    """Where *file* would be made, if that does not allow PROT_EXEC (path_noexec()); else None."""
    places = ["/dev/zero"]
    if file.fs != "legacy":
        memory = file.path.startswith("/memfd:")
        places = [] if memory else [tempfile.gettempdir(), "/dev/shm", "/var/tmp"]
        places = [place for place in places if filesystem_of(place) == file.fs][:1]
    for place in places:
        with contextlib.suppress(OSError):
            if os.statvfs(place).f_flag & os.ST_NOEXEC:
                return place
    return None


def _check_sysctl(wanted: Sysctl, machine: Sysctl) -> None:
    default = Sysctl()
    for knob in dataclasses.fields(Sysctl):
        value, here = getattr(wanted, knob.name), getattr(machine, knob.name)
        if value not in (getattr(default, knob.name), here):
            raise Skip(f"it wants vm.{knob.name}={value}, this machine has {here}")


def _is_about_ksm(event: Event) -> bool:
    return (event.name == "prctl" and event.args[0] == abi.PR_SET_MEMORY_MERGE) or (
        event.name == "madvise" and event.args[2] in _KSM_ADVICE
    )


def _may_lock() -> bool:
    """Whether this process has CAP_IPC_LOCK, to which RLIMIT_MEMLOCK does not apply."""
    try:
        with open("/proc/self/status", encoding="ascii", errors="replace") as status:
            for line in status:
                if line.startswith("CapEff:"):
                    return bool(int(line.split()[1], 16) & _CAP_IPC_LOCK)
    except OSError:
        pass
    return False


def has_five_levels() -> bool:
    """Whether addresses go beyond 47 bits, which the model does not know (CONFIG_X86_5LEVEL)."""
    with contextlib.suppress(OSError), open("/proc/cpuinfo", encoding="ascii") as info:
        return any("la57" in line.split() for line in info if line.startswith("flags"))
    return False


def _limits(wanted: Mapping[str, int]) -> dict[str, int]:
    """The limits the model has to know: the trace's, and those inherited from this process."""
    limits = dict(wanted)
    for name in ("as", "data", "memlock"):
        soft, _ = resource.getrlimit(_RLIMITS[name])
        binds = soft != resource.RLIM_INFINITY and not (name == "memlock" and _may_lock())
        if binds and name not in limits:
            limits[name] = soft
    return limits


def open_sandbox(trace: Trace) -> Sandbox:
    """A sandbox with the files and the limits of *trace*. Raises Unavailable, Unsupported."""
    rlimits = {_RLIMITS[name]: value for name, value in trace.process.rlimits.items()}
    return Sandbox(trace.files, ksm=trace.process.ksm, rlimits=rlimits)


def begin(trace: Trace, sandbox: Sandbox, machine: Sysctl) -> Trace:
    """*trace* as it starts in *sandbox*: with its layout, limits and sysctls. Raises Skip."""
    start = sandbox.start
    wanted = trace.process
    if wanted.mmap_base not in (None, start.mmap_base):
        raise Skip(
            f"it has mmap_base {wanted.mmap_base:#x}, a new process here {start.mmap_base:#x}"
        )
    if wanted.brk not in (None, start.brk):
        start = _move_break(wanted.brk, sandbox)
    process = dataclasses.replace(wanted, rlimits=_limits(wanted.rlimits))
    return starting_at(dataclasses.replace(trace, process=process, sysctl=machine), start)


def _move_break(brk: int | None, sandbox: Sandbox) -> Start:
    """The start with another initial break, which takes CAP_SYS_RESOURCE."""
    assert brk is not None
    order = [_PR_SET_MM_START_BRK, _PR_SET_MM_BRK]
    if brk > sandbox.start.brk:  # the start may at no time be above the end
        order.reverse()
    for option in order:
        error = sandbox.inject("prctl", _PR_SET_MM, option, brk, 0, 0)
        if error < 0:
            why = abi.ERRNO_NAME.get(-error, str(-error))
            raise Skip(f"its process.brk {brk:#x} cannot be set here (PR_SET_MM: {why})")
    return sandbox.start._replace(brk=brk)
