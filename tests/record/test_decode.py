"""From registers to arguments; the memory read is that of the test itself."""

from __future__ import annotations

import ctypes
import os
import struct

import pytest

from vmatrace import abi
from vmatrace.calls import CALLS
from vmatrace.event import format_call
from vmatrace.record import decode
from vmatrace.record.decode import Memory
from vmatrace.trace.callstring import CallParser

MEMORY = Memory(os.getpid())


def placed(data: bytes) -> tuple[int, object]:
    """An address at which *data* lies, and what keeps it there."""
    buffer = ctypes.create_string_buffer(data, len(data))
    return ctypes.addressof(buffer), buffer


def text(name: str, *args: int) -> str:
    """The call with these registers as the trace has it; reading it back gives the same."""
    values = decode.arguments(name, (*args, 0, 0, 0, 0, 0, 0)[:6], MEMORY)
    written = format_call(name, values)
    assert CallParser(4096).parse(written).name == name
    return written


@pytest.mark.parametrize("name", sorted(set(CALLS) - {"fault", "fork", "vfork"}))
def test_every_call_can_be_written_whatever_is_in_its_registers(name: str) -> None:
    if CALLS[name].result == "pid" or name in ("execve", "exit", "exit_group"):
        return
    for value in (0, 1, (1 << 64) - 1, 0x7FFFFFFFF000):
        text(name, *[value] * 6)


def test_the_upper_half_of_an_int_means_nothing() -> None:
    assert text("madvise", 0x1000, 4096, 0xFFFF_FFFF_0000_0004).endswith("MADV_DONTNEED)")
    assert text("pkey_mprotect", 0x1000, 4096, 1, 0xFFFFFFFF).endswith("PROT_READ, -1)")


def test_mremap_has_a_fifth_argument_only_where_the_kernel_looks_at_it() -> None:
    assert text("mremap", 0x1000, 4096, 8192, 1, 0x55) == (
        "mremap(0x1000, 0x1000, 0x2000, MREMAP_MAYMOVE)"
    )
    assert text("mremap", 0x1000, 4096, 8192, 3, 0x5000).endswith("MREMAP_FIXED, 0x5000)")


def test_structures_are_written_as_the_engine_reads_them() -> None:
    register, keep = placed(struct.pack("<4Q", 0x7000, 0x2000, 1, 0))
    assert text("ioctl", 3, abi.UFFDIO_REGISTER, register) == (
        "ioctl(3, UFFDIO_REGISTER, {range={start=0x7000, len=0x2000}, "
        "mode=UFFDIO_REGISTER_MODE_MISSING})"
    )
    assert "{start=0x7000, len=0x2000}" in text("ioctl", 3, abi.UFFDIO_UNREGISTER, register)
    assert "[0x7000]" in text("mbind", 0x1000, 4096, 2, register, 64, 0)
    assert "[{iov_base=0x7000, iov_len=0x2000}]" in text("process_madvise", 1, register, 1, 21, 0)
    assert keep is not None


def test_text_is_read_up_to_its_end_and_never_beyond_what_is_mapped() -> None:
    address, keep = placed(b"a name\0behind")
    assert MEMORY.text(address) == "a name"
    assert text("prctl", abi.PR_SET_VMA, 0, 0x1000, 4096, address).endswith('"a name")')
    assert MEMORY.text(8) == ""
    assert MEMORY.words(8, 1) == ()
    assert keep is not None


def test_clone_flags_come_from_registers_or_from_memory() -> None:
    cl_args, keep = placed(struct.pack("<Q", 0x4100))
    assert decode.clone_flags("clone3", (cl_args,), MEMORY) == 0x4100
    assert decode.clone_flags("clone", (0x1200011,), MEMORY) == 0x1200000
    assert decode.birth("clone3", 0x4100) == ["{flags=CLONE_VM|CLONE_VFORK}"]
    assert decode.birth("fork", 0) == []
    assert keep is not None
