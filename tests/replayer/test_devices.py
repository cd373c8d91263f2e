"""Mappings of drivers: what ``vmflags`` of a file says, what is known of a device by its path."""

from __future__ import annotations

from typing import Any

import pytest

from vmatrace import abi, kernels
from vmatrace.diagnostic import TraceError
from vmatrace.layout import Layout
from vmatrace.replayer.run import Replay
from vmatrace.trace.file import Trace, load_trace

PAGES = "".join(
    f"  - mmap({0x10000 + at:#x}, 4096, PROT_READ, MAP_SHARED|MAP_FIXED, {{fd}}, {at})\n"
    for at in range(0, 0x4000, 0x1000)
)


def layout(text: str) -> Layout:
    trace = load_trace(text.encode(), "t.yaml")
    return Replay(trace, kernels.get_kernel("6.18")).run().processes[0].layout


def result(*calls: str, **file: Any) -> int:
    """What the last of *calls* gives where descriptor 3 is *file*."""
    trace = Trace.of(calls, files={3: {"path": "/f", **file}})
    steps = list(Replay(trace, kernels.get_kernel("6.18")).steps())
    return steps[-1].result


@pytest.mark.parametrize(
    "path",
    ["/dev/dri/card0", "/dev/dri/renderD128", "/dev/nvidia0", "/dev/nvidiactl", "/dev/nvidia-uvm",
     "/dev/mem", "/dev/fb0", "anon_inode:bpf-map", "anon_inode:[io_uring]", "socket:[17]",
     "/sys/bus/pci/devices/0000:00:02.0/resource0", "/dev/vfio/3"],
)  # fmt: skip
def test_mappings_of_a_well_known_device_never_merge(path: str) -> None:
    events = PAGES.format(fd=f"'3<{path}>'".strip("'"))
    quoted = "\n".join("  - '" + line[4:] + "'" if line else "" for line in events.split("\n"))
    found = layout(f"vmatrace: 1\nevents:\n{quoted}")
    assert [vma.start for vma in found] == [0x10000, 0x11000, 0x12000, 0x13000]
    assert all(vma.vm_flags & abi.VM_SPECIAL for vma in found)


@pytest.mark.parametrize("written", ["pf io de dd", "[pf, io, de, dd]", "rd sh mr mw pf io de dd"])
def test_vmflags_are_text_or_a_list_and_say_what_the_driver_sets(written: str) -> None:
    head = f"vmatrace: 1\nfiles:\n  3: {{path: /dev/odd, fs: legacy, vmflags: {written}}}\n"
    found = layout(f"{head}events:\n{PAGES.format(fd=3)}")
    wanted = abi.VM_PFNMAP | abi.VM_IO | abi.VM_DONTEXPAND | abi.VM_DONTDUMP
    assert len(found) == 4
    assert all(vma.vm_flags & wanted == wanted for vma in found)
    assert all(bool(vma.vm_flags & abi.VM_MAYEXEC) == ("mr" not in written) for vma in found)


def test_what_vmflags_say_goes_before_what_is_known_of_the_path() -> None:
    head = "vmatrace: 1\nfiles:\n  3: {path: /dev/dri/card0, fs: legacy, vmflags: mr mw me}\n"
    assert len(layout(f"{head}events:\n{PAGES.format(fd=3)}")) == 1


def test_nothing_on_a_noexec_mount_is_mapped_or_made_executable() -> None:
    noexec = {"vmflags": "mr mw"}
    mapped = "a = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, 3, 0)"
    assert (
        result("mmap(NULL, 4096, PROT_READ|PROT_EXEC, MAP_PRIVATE, 3, 0)", **noexec) == -abi.EPERM
    )
    assert result(mapped, "mprotect(a, 4096, PROT_EXEC)", **noexec) == -abi.EACCES
    assert result(mapped, "mprotect(a, 4096, PROT_READ|PROT_WRITE)", **noexec) == 0


def test_a_sealed_memfd_is_writable_privately_alone() -> None:
    sealed = {"path": "/memfd:s (deleted)", "vmflags": ["mr", "me"]}
    call = "mmap(NULL, 4096, PROT_READ|PROT_WRITE, MAP_{}, 3, 0)"
    assert result(call.format("SHARED"), **sealed) == -abi.EPERM
    assert result(call.format("PRIVATE"), **sealed) > 0


def test_an_unknown_code_is_an_error_at_its_place() -> None:
    text = "vmatrace: 1\nfiles:\n  3: {path: /f, vmflags: [mm, xx]}\nevents: []\n"
    with pytest.raises(TraceError, match=r"3:31: error: unknown code 'xx'"):
        load_trace(text.encode(), "t.yaml")
