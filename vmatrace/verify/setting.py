"""Whether a trace can start on this machine, and the sandbox and model state that it starts in.

Knows what a trace may ask of a machine (sysctls, limits, a layout, a file system) and how to find
out whether this one has it. What it has not is never replaced by something similar: Skip says what.
A sysctl that the trace leaves at its default is the machine's own, for the model too; one that it
sets is set where that harms nobody, in a booted kernel.
"""

from __future__ import annotations

import contextlib
import dataclasses
import resource
from collections.abc import Mapping
from typing import Final

from vmatrace import abi
from vmatrace.event import Event, File
from vmatrace.kernels import Kernel
from vmatrace.oracle import Machine, Sandbox
from vmatrace.oracle.sandbox import Start
from vmatrace.trace.file import Sysctl, Trace
from vmatrace.verify import cost
from vmatrace.verify.skip import Skip
from vmatrace.verify.witness import starting_at

_RLIMITS: Final = {
    "as": resource.RLIMIT_AS, "data": resource.RLIMIT_DATA, "memlock": resource.RLIMIT_MEMLOCK,
    "stack": resource.RLIMIT_STACK,
}  # fmt: skip
#: Memory files, and drivers that are always there.
_EVERYWHERE: Final = ("tmpfs", "hugetlbfs", "legacy")
_CAP_IPC_LOCK: Final = 1 << 14
_PR_SET_MM, _PR_SET_MM_START_BRK, _PR_SET_MM_BRK = 35, 6, 7
_KSM_ADVICE: Final = (abi.MADV_MERGEABLE, abi.MADV_UNMERGEABLE)


def sysctls(machine: Machine) -> Sysctl:
    """The vm.* knobs of *machine*; one that cannot be read keeps the trace format's default."""
    knobs: dict[str, int] = {}
    for knob in dataclasses.fields(Sysctl):
        with contextlib.suppress(OSError, ValueError, IndexError):
            knobs[knob.name] = int(machine.read(f"/proc/sys/vm/{knob.name}").split()[0])
    return Sysctl(**knobs)


def settle(trace: Trace, machine: Machine) -> Sysctl:
    """Give *machine* the sysctls of *trace*, where it may be changed; what it has then."""
    default, here = Sysctl(), sysctls(machine)
    for knob in dataclasses.fields(Sysctl):
        value = getattr(trace.sysctl, knob.name)
        if value not in (getattr(default, knob.name), getattr(here, knob.name)):
            machine.set_sysctl(knob.name, value)
    return sysctls(machine)


def check(trace: Trace, kernel: Kernel, machine: Machine, knobs: Sysctl) -> None:
    """Raise Skip if *trace* cannot start here. Raises TraceError if it cannot be read."""
    if trace.page_size != machine.page:
        raise Skip(f"it has pages of {trace.page_size} bytes, this machine of {machine.page}")
    if trace.maps:
        raise Skip("it starts with a layout of its own (maps:), which no new process has")
    if (too_much := cost.refusal(trace)) is not None:
        raise Skip(too_much)
    _check_sysctl(trace.sysctl, knobs)
    if "memlock" in trace.process.rlimits and _may_lock(machine):
        raise Skip("RLIMIT_MEMLOCK does not bind a process with CAP_IPC_LOCK, which this one is")
    for file in trace.files.values():
        where = mounted_noexec(file, machine)
        if where is not None:
            raise Skip(f"{file.path}: {where} is mounted noexec here, which takes VM_MAYEXEC away")
    uses_ksm = trace.process.ksm
    for event in (item for item in trace.items() if isinstance(item, Event)):
        uses_ksm = uses_ksm or _is_about_ksm(event)
        _check_alike(event, trace, machine)
    if uses_ksm and "ksm" not in kernel.features:
        raise Skip("it is about KSM, and this kernel has none (CONFIG_KSM)")


def _check_alike(event: Event, trace: Trace, machine: Machine) -> None:
    """Raise Skip where what *event* does depends on a machine that is not like this one."""
    if event.name == "io_setup" and (here := _cpus(machine)) != trace.cpus:
        raise Skip(f"it has io_setup() with cpus: {trace.cpus}, this machine has {here}")
    limits = {"setrlimit": 0, "prlimit64": 1}.get(event.name)
    if limits is not None and event.args[limits] == abi.RLIMIT_MEMLOCK and _may_lock(machine):
        raise Skip("RLIMIT_MEMLOCK does not bind a process with CAP_IPC_LOCK, which this one is")


def _cpus(machine: Machine) -> int:
    """How many processors the machine may have (num_possible_cpus())."""
    last = machine.read("/sys/devices/system/cpu/possible").strip().rpartition("-")[2]
    return int(last) + 1


def mounted_noexec(file: File, machine: Machine) -> str | None:
    """Where *file* would be made, if that does not allow PROT_EXEC (path_noexec()); else None."""
    places = ["/dev/zero"]
    if file.fs != "legacy":
        memory = file.path.startswith("/memfd:")
        places = [] if memory else list(machine.directories(file.fs))[:1]
    return next((place for place in places if machine.is_noexec(place)), None)


def is_here(file: File, machine: Machine) -> bool:
    """Whether *file* can be on *machine* what a trace means by it."""
    there = file.fs in _EVERYWHERE or any(machine.directories(file.fs))
    return there and mounted_noexec(file, machine) is None


def _check_sysctl(wanted: Sysctl, knobs: Sysctl) -> None:
    default = Sysctl()
    for knob in dataclasses.fields(Sysctl):
        value, here = getattr(wanted, knob.name), getattr(knobs, knob.name)
        if value not in (getattr(default, knob.name), here):
            raise Skip(f"it wants vm.{knob.name}={value}, this machine has {here}")


def _is_about_ksm(event: Event) -> bool:
    return (event.name == "prctl" and event.args[0] == abi.PR_SET_MEMORY_MERGE) or (
        event.name == "madvise" and event.args[2] in _KSM_ADVICE
    )


def _may_lock(machine: Machine) -> bool:
    """Whether sandboxes have CAP_IPC_LOCK, to which RLIMIT_MEMLOCK does not apply."""
    with contextlib.suppress(OSError):
        for line in machine.read("/proc/self/status").splitlines():
            if line.startswith("CapEff:"):
                return bool(int(line.split()[1], 16) & _CAP_IPC_LOCK)
    return False


def has_five_levels(machine: Machine) -> bool:
    """Whether addresses go beyond 47 bits, which the model does not know (CONFIG_X86_5LEVEL)."""
    with contextlib.suppress(OSError):
        lines = machine.read("/proc/cpuinfo").splitlines()
        return any("la57" in line.split() for line in lines if line.startswith("flags"))
    return False


def _limits(wanted: Mapping[str, int], machine: Machine) -> dict[str, int]:
    """The limits the model has to know: the trace's, and those that sandboxes inherit."""
    limits = dict(wanted)
    for name in ("as", "data", "memlock"):
        soft, _ = machine.limit(0, _RLIMITS[name])
        binds = soft != resource.RLIM_INFINITY and not (name == "memlock" and _may_lock(machine))
        if binds and name not in limits:
            limits[name] = soft
    return limits


def open_sandbox(trace: Trace, machine: Machine) -> Sandbox:
    """A sandbox with the files and the limits of *trace*. Raises Unavailable, Unsupported."""
    rlimits = {_RLIMITS[name]: value for name, value in trace.process.rlimits.items()}
    return Sandbox(trace.files, ksm=trace.process.ksm, rlimits=rlimits, machine=machine)


def begin(trace: Trace, sandbox: Sandbox, knobs: Sysctl) -> Trace:
    """*trace* as it starts in *sandbox*: with its layout, limits and sysctls. Raises Skip."""
    start = sandbox.start
    wanted = trace.process
    if wanted.mmap_base not in (None, start.mmap_base):
        raise Skip(
            f"it has mmap_base {wanted.mmap_base:#x}, a new process here {start.mmap_base:#x}"
        )
    if wanted.brk not in (None, start.brk):
        start = _move_break(wanted.brk, sandbox)
    process = dataclasses.replace(wanted, rlimits=_limits(wanted.rlimits, sandbox.machine))
    # What was refused elsewhere is asked anew here.
    asked = dataclasses.replace(trace, process=process, sysctl=knobs, recorded=False)
    return starting_at(asked, start)


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
