"""The images for both processors, read back as the kernel reads them."""

from __future__ import annotations

import struct

import pytest

from vmatrace.calls import BIRTHS, CALLS, DEATHS
from vmatrace.oracle import arch

BOTH = [arch.x86_64(), arch.aarch64()]
EMULATED = BIRTHS | DEATHS | {"fault"}


@pytest.mark.parametrize("processor", BOTH, ids=lambda a: a.name)
def test_the_image_is_a_program_of_one_executable_page(processor: arch.Arch) -> None:
    magic, kind, _, _, entry, segments_at = struct.unpack_from("<16sHHIQQ", processor.image)
    assert magic[:7] == b"\x7fELF\x02\x01\x01"
    assert kind == 2
    load = struct.unpack_from("<IIQQQQQQ", processor.image, segments_at)
    assert load[:4] == (1, 5, 0, arch.IMAGE_BASE)
    assert load[5] == load[6] == len(processor.image) == 0x1000
    assert arch.IMAGE_BASE < entry < arch.IMAGE_BASE + 0x1000


@pytest.mark.parametrize("processor", BOTH, ids=lambda a: a.name)
def test_every_call_of_the_format_has_a_number(processor: arch.Arch) -> None:
    assert set(CALLS) - EMULATED <= set(processor.calls)
    assert len(set(processor.calls.values())) == len(processor.calls)


def test_the_arm64_loops_branch_back_to_their_start() -> None:
    processor = arch.aarch64()
    for start in (processor.load_at, processor.store_at):
        words = struct.unpack_from("<5I", processor.image, start - arch.IMAGE_BASE)
        branch = words[3]
        offset = (branch >> 5 & 0x7FFFF) - (1 << 19)
        assert (branch >> 24, branch & 0xF, offset) == (0x54, 1, -3)
        assert words[4] == 0xD4200000


def test_the_x86_loops_branch_back_to_their_start() -> None:
    processor = arch.x86_64()
    for start in (processor.load_at, processor.store_at):
        code = processor.image[start - arch.IMAGE_BASE :][:32]
        jump = code.index(b"\x75")
        (offset,) = struct.unpack_from("b", code, jump + 1)
        assert jump + 2 + offset == 0
        assert code[jump + 2] == 0xCC
