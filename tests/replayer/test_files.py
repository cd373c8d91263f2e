"""What a file of a trace is to the engine: its modes, its driver, and which descriptor is which."""

from __future__ import annotations

from dataclasses import replace

import pytest

from vmatrace import abi
from vmatrace.engine.limits import Limits
from vmatrace.engine.vmfile import VmFile
from vmatrace.event import Fd, File
from vmatrace.kernels import get_kernel
from vmatrace.layout import Mapping
from vmatrace.replayer.files import Files
from vmatrace.trace.file import Trace


def files(kernel: str = "6.18", **described: File) -> Files:
    named: dict[int | str, File] = dict(described.items())
    return Files(Trace("t", "t", lambda: iter(()), files=named), get_kernel(kernel))


def opened(file: File, kernel: str = "6.18") -> VmFile:
    found = files(kernel, f=file).of(Fd("f"))
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("mode", "readable", "writable"), [("r", True, False), ("w", False, True), ("rw", True, True)]
)
def test_a_mode_says_what_may_be_done(mode: str, readable: bool, writable: bool) -> None:
    file = opened(File("/a", "ext4", mode))
    assert (file.readable, file.writable) == (readable, writable)


@pytest.mark.parametrize(
    ("file", "kernel", "sets", "clears", "anonymous", "close", "fresh"),
    [
        (File("/a", "ext4"), "6.18", 0, 0, False, False, False),
        (File("/a", "overlay"), "6.18", 0, 0, False, False, True),
        (File("/proc/x", "proc"), "6.18", 0, abi.VM_MAYEXEC, False, False, False),
        (File("/sys/x", "sysfs"), "6.18", 0, abi.VM_MAYEXEC, False, False, False),
        (File("/dev/zero", "legacy"), "6.18", 0, 0, True, False, False),
        (File("/huge", "hugetlbfs"), "6.18", abi.VM_HUGETLB | abi.VM_DONTEXPAND, 0, False, True,
         False),
        (File("/s", "secretmem"), "6.18", abi.VM_LOCKED | abi.VM_DONTDUMP, abi.VM_MAYEXEC, False,
         False, False),
        (File("/d", "legacy", "rw", None, ("io", "pf", "dd", "de")), "6.18",
         abi.VM_IO | abi.VM_PFNMAP | abi.VM_DONTDUMP | abi.VM_DONTEXPAND, 0, False, False, False),
    ],
)  # fmt: skip
def test_a_file_system_says_how_it_is_mapped(
    file: File, kernel: str, sets: int, clears: int, anonymous: bool, close: bool, fresh: bool
) -> None:
    found = opened(file, kernel)
    assert (found.sets, found.clears & abi.VM_MAYEXEC) == (sets, clears)
    assert (found.anonymous, found.close, found.fresh) == (anonymous, close, fresh)
    assert (found.path, found.fs, found.size) == (file.path, file.fs, file.size)


def test_a_size_is_the_files() -> None:
    assert opened(File("/a", "ext4", "rw", 4096)).size == 4096


def test_another_open_file_is_the_same_but_not_one() -> None:
    file = VmFile(
        "/a", "ext4", "legacy", readable=False, writable=False, anonymous=True, close=True, sets=1,
        clears=2, fresh=True, special=True, size=3, inode=("08:01", 4),
    )  # fmt: skip
    again = file.reopened()
    assert again is not file
    slots = [slot for slot in VmFile.__slots__ if slot != "__weakref__"]
    assert [getattr(again, slot) for slot in slots] == [getattr(file, slot) for slot in slots]
    plain = VmFile("/a", "ext4", "legacy")
    assert all(getattr(file, slot) != getattr(plain, slot) for slot in slots if slot not in
               ("path", "fs", "_hook"))  # fmt: skip
    assert repr(file) == "VmFile('/a', ext4)"


def test_a_hook_is_asked_when_it_first_matters_and_once() -> None:
    asked: list[int] = []

    def hook() -> str:
        asked.append(1)
        return "shmem"

    file = VmFile("/a", "tmpfs", hook)
    assert asked == []
    assert (file.hook, file.hook, asked) == ("shmem", "shmem", [1])


@pytest.mark.parametrize(("fs", "close", "shmem"), [("tmpfs", False, True), ("tmpfs", True, False),
                                                    ("ext4", False, False)])  # fmt: skip
def test_shared_memory_has_shmems_operations_unless_a_segments_hide_them(
    fs: str, close: bool, shmem: bool
) -> None:
    assert VmFile("/a", fs, "shmem", close=close).is_shmem is shmem


def test_a_descriptor_is_one_open_file_by_number_name_or_path() -> None:
    trace = Trace("t", "t", lambda: iter(()), files={3: File("/a"), "m": File("/b", "tmpfs")})
    found = Files(trace, get_kernel("6.18"))
    assert found.of(3) is found.of(Fd(3)) is found.of(Fd(3, "/a"))
    assert found.of(Fd("m")) is found.of(Fd("m"))
    assert found.of(Fd(3, "/c")) is not found.of(3)
    assert found.of(Fd(3, "/c")) is found.of(Fd(3, "/c"))
    assert found.of(Fd(4, "/a")) is not found.of(3)
    assert found.of(4) is found.of(Fd(4)) is None
    own = Fd("x", None, File("/x"))
    assert found.of(own) is found.of(Fd("x", None, File("/y")))  # it goes by its name


@pytest.mark.parametrize(
    ("name", "fs"),
    [("/lib/a", "ext4"), ("/memfd:x (deleted)", "tmpfs"), ("/SYSV00000000 (deleted)", "tmpfs"),
     ("/dev/zero (deleted)", "tmpfs"), ("/described", "xfs")],
)  # fmt: skip
def test_a_mapping_at_the_start_is_of_a_file_with_its_inode(name: str, fs: str) -> None:
    found = files(d=File("/described", "xfs")).of_mapping(
        Mapping(0x1000, 0x2000, abi.VM_READ, 0, name, "08:01", 77)
    )
    assert (found.path, found.fs, found.inode) == (name, fs, ("08:01", 77))


def test_limits_are_those_that_are_set_and_others_stay() -> None:
    limits = Limits.of({"as": 1, "data": 2, "memlock": 3, "stack": 4})
    assert (limits.address_space, limits.data, limits.memlock, limits.stack) == (1, 2, 3, 4)
    assert Limits.of({}) == Limits()
    assert Limits().stack == 8 << 20
    resources = {
        abi.RLIMIT_AS: "address_space",
        abi.RLIMIT_DATA: "data",
        abi.RLIMIT_MEMLOCK: "memlock",
        abi.RLIMIT_STACK: "stack",
    }
    for resource, name in resources.items():
        changed = limits.changed(resource, 99)
        assert changed == replace(limits, **{name: 99})
        none = limits.changed(resource, abi.RLIM_INFINITY)
        assert getattr(none, name) == (abi.RLIM_INFINITY if name == "stack" else None)
