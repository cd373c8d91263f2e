"""What differs between processors: registers, system call numbers, and the image the child runs.

The image is one page, written here byte by byte: an ELF header, a stage-1 program, one system call
instruction and two loops that touch pages. Knows nothing of ptrace or of what is done with it.
Register sets: struct user_regs_struct (x86), struct user_pt_regs (arm64). x86-64 is tested, arm64
is not.
"""

from __future__ import annotations

import platform
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from vmatrace import syscalls
from vmatrace.oracle.errors import Unavailable

#: Where the image lives: away from what programs and traces use, yet within a 39-bit address space.
#: The break starts right behind it.
IMAGE_BASE: Final = 0x70_0000_0000
#: The image's place in the file and in memory: one page, of the largest page size.
IMAGE_SIZE: Final = 0x10000

_CODE, _STAGE1, _STRINGS = 0x100, 0x200, 0x600
_ADDR_NO_RANDOMIZE: Final = 0x0040000
_PR_SET_PDEATHSIG, _SIGKILL, _PTRACE_TRACEME = 1, 9, 0
_CLOSE_RANGE_CLOEXEC: Final = 4
SELF_EXE: Final = b"/proc/self/exe\0"


@dataclass(frozen=True)
class Arch:
    """One processor. Register numbers index the regset NT_PRSTATUS as 64-bit words."""

    name: str
    registers: int
    number: int
    result: int
    arguments: tuple[int, ...]
    program_counter: int
    stack_pointer: int
    #: A register to set to -1 so that the kernel does not take a stop for an interrupted call.
    no_restart: int | None
    calls: dict[str, int]
    image: bytes
    #: Addresses in the child: the system call instruction, the loops that load and store a byte
    #: per page (arguments: address, step, count; they end in a breakpoint).
    syscall_at: int
    load_at: int
    store_at: int


# --- a few instructions ---------------------------------------------------------------------------


def _x86_call(number: int, *args: int) -> bytes:
    """Load the arguments as 64-bit immediates, the number into eax, and enter the kernel."""
    movabs = (b"\x48\xbf", b"\x48\xbe", b"\x48\xba", b"\x49\xba", b"\x49\xb8", b"\x49\xb9")
    loads = b"".join(op + struct.pack("<Q", arg) for op, arg in zip(movabs, args, strict=False))
    return loads + b"\xb8" + struct.pack("<I", number) + b"\x0f\x05"


def _x86_code(calls: dict[str, int]) -> tuple[bytes, bytes, bytes, bytes]:
    def loop(touch: bytes) -> bytes:
        # touch [rdi]; add rdi, rsi; dec rdx; jnz back; int3
        body = touch + b"\x48\x01\xf7\x48\xff\xca"
        return body + b"\x75" + struct.pack("b", -len(body) - 2) + b"\xcc"

    # mov eax, -eax -> edi; exit_group
    fail = b"\xf7\xd8\x89\xc7\xb8" + struct.pack("<I", calls["exit_group"]) + b"\x0f\x05"
    # test eax, eax; jz over fail
    check = b"\x85\xc0\x74" + struct.pack("b", len(fail)) + fail
    stage1 = _stage1(calls, _x86_call, check) + fail
    load = loop(b"\x8a\x07")  # mov al, [rdi]
    # mov byte [rdi], 0: the pages hold zeros. Not an or with 0, which QEMU's TCG on one processor
    # does as a load and a store, so that beyond the end of a file only the load would fault.
    store = loop(b"\xc6\x07\x00")
    return b"\x0f\x05\xcc", load, store, stage1


def _words(*instructions: int) -> bytes:
    return struct.pack(f"<{len(instructions)}I", *instructions)


def _arm64_call(number: int, *args: int) -> bytes:
    def load(register: int, value: int) -> bytes:  # movz, movk lsl 16, 32, 48
        return _words(
            *(
                (0xD2800000 if i == 0 else 0xF2800000)
                | i << 21
                | (value >> 16 * i & 0xFFFF) << 5
                | register
                for i in range(4)
            )
        )

    loads = b"".join(load(i, arg) for i, arg in enumerate(args))
    return loads + load(8, number) + _words(0xD4000001)  # svc #0


def _arm64_code(calls: dict[str, int]) -> tuple[bytes, bytes, bytes, bytes]:
    def loop(touch: int) -> bytes:
        # touch [x0]; add x0, x0, x1; subs x2, x2, #1; b.ne back; brk #0
        return _words(touch, 0x8B010000, 0xF1000442, 0x54FFFFA1, 0xD4200000)

    # neg x0, x0; movz x8, exit_group; svc #0
    fail = _words(0xCB0003E0, 0xD2800008 | calls["exit_group"] << 5, 0xD4000001)
    check = _words(0xB4000000 | (1 + len(fail) // 4) << 5) + fail  # cbz x0 over fail
    stage1 = _stage1(calls, _arm64_call, check) + fail
    load = loop(0x39400003)  # ldrb w3, [x0]
    # No one instruction of base arm64 writes without changing; the pages hold zeros.
    store = loop(0x3900001F)  # strb wzr, [x0]
    return _words(0xD4000001, 0xD4200000), load, store, stage1


def _stage1(calls: dict[str, int], call: Callable[..., bytes], check: bytes) -> bytes:
    """What the child does before it can be traced: leave its parent's world, then exec itself.

    The tracer does not have to fork, so it may have threads. PR_SET_PDEATHSIG covers the moment
    before PTRACE_O_EXITKILL. Descriptors close at the exec, which is the first stop.
    """
    path = IMAGE_BASE + _STRINGS
    argv = path + 0x20
    return (
        call(calls["prctl"], _PR_SET_PDEATHSIG, _SIGKILL)
        + call(calls["setsid"])
        + call(calls["personality"], _ADDR_NO_RANDOMIZE)
        + call(calls["close_range"], 0, 0xFFFFFFFF, _CLOSE_RANGE_CLOEXEC)
        + check
        + call(calls["ptrace"], _PTRACE_TRACEME)
        + check
        + call(calls["execve"], path, argv, argv + 8)
    )


def _image(machine: int, code: tuple[bytes, bytes, bytes, bytes]) -> tuple[bytes, int, int, int]:
    """The ELF file and the addresses of its system call and its two loops."""
    syscall, load, store, stage1 = code
    load_at, store_at = _CODE + 0x20, _CODE + 0x60
    header = struct.pack(
        "<16sHHIQQQIHHHHHH", b"\x7fELF\x02\x01\x01", 2, machine, 1, IMAGE_BASE + _STAGE1, 64, 0, 0,
        64, 56, 2, 64, 0, 0,
    )  # fmt: skip
    pt_load, pt_gnu_stack = 1, 0x6474E551
    segments = struct.pack(
        "<IIQQQQQQ", pt_load, 5, 0, IMAGE_BASE, IMAGE_BASE, 0x1000, 0x1000, IMAGE_SIZE
    ) + struct.pack("<IIQQQQQQ", pt_gnu_stack, 6, 0, 0, 0, 0, 0, 16)
    strings = SELF_EXE.ljust(0x20, b"\0") + struct.pack("<QQ", IMAGE_BASE + _STRINGS, 0)
    page = bytearray(0x1000)
    for at, part in (
        (0, header + segments), (_CODE, syscall), (load_at, load), (store_at, store),
        (_STAGE1, stage1), (_STRINGS, strings),
    ):  # fmt: skip
        page[at : at + len(part)] = part
    assert _STAGE1 + len(stage1) <= _STRINGS
    return bytes(page), IMAGE_BASE + _CODE, IMAGE_BASE + load_at, IMAGE_BASE + store_at


# --- the two processors ---------------------------------------------------------------------------


def x86_64() -> Arch:
    """The processor x86-64."""
    calls = syscalls.numbers("x86_64")
    image, syscall_at, load_at, store_at = _image(62, _x86_code(calls))
    # r15 r14 r13 r12 rbp rbx r11 r10 r9 r8 rax rcx rdx rsi rdi orig_rax rip cs eflags rsp ss …
    return Arch(
        "x86_64", 27, 10, 10, (14, 13, 12, 7, 9, 8), 16, 19, 15, calls, image, syscall_at,
        load_at, store_at,
    )  # fmt: skip


def aarch64() -> Arch:
    """The processor arm64, in the kernel's spelling aarch64."""
    calls = syscalls.numbers("aarch64")
    image, syscall_at, load_at, store_at = _image(183, _arm64_code(calls))
    # x0 … x30 sp pc pstate
    return Arch(
        "aarch64", 34, 8, 0, (0, 1, 2, 3, 4, 5), 32, 31, None, calls, image, syscall_at, load_at,
        store_at,
    )  # fmt: skip


def native() -> Arch:
    """The processor this runs on. Raises Unavailable where it is another one."""
    machine = platform.machine()
    if machine in ("x86_64", "AMD64") and struct.calcsize("P") == 8:
        return x86_64()
    if machine in ("aarch64", "arm64"):
        return aarch64()
    raise Unavailable(
        f"no way to inject calls on {machine or 'this processor'} (x86-64 and aarch64)"
    )
