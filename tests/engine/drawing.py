"""VMAs as a strip: one character per page, ``.`` for a hole, ``|`` between VMAs that touch.

A letter is a kind of private anonymous memory (KINDS), written small while it has no anon_vma and
in capitals when it has one: ``ww|RRR..mm`` is two pages rw-, three pages r-- with an anon_vma of
their own, a hole of two pages, and two rw- pages with VM_MERGEABLE.
"""

from __future__ import annotations

import itertools
import re

from vmatrace import abi
from vmatrace.engine.mm import Mm
from vmatrace.engine.vma import Vma
from vmatrace.engine.world import World
from vmatrace.kernels import get_kernel

PAGE = 4096
BASE = 0x10000000
_READ = abi.VM_READ | abi.VM_MAY_ALL
_WRITE = _READ | abi.VM_WRITE
KINDS = {
    "p": abi.VM_MAY_ALL,
    "r": _READ,
    "a": _READ | abi.VM_ACCOUNT,  # was written to and then made read-only
    "w": _WRITE | abi.VM_ACCOUNT,
    "x": _WRITE | abi.VM_EXEC | abi.VM_ACCOUNT,
    "n": _WRITE | abi.VM_NORESERVE,
    "m": _WRITE | abi.VM_ACCOUNT | abi.VM_MERGEABLE,
    "l": _WRITE | abi.VM_ACCOUNT | abi.VM_LOCKED,
    "o": _WRITE | abi.VM_ACCOUNT | abi.VM_LOCKED | abi.VM_LOCKONFAULT,
    "g": _WRITE | abi.VM_ACCOUNT | abi.VM_GROWSDOWN,
    "s": _WRITE | abi.VM_ACCOUNT | abi.VM_SEALED,
    "c": _WRITE | abi.VM_ACCOUNT | abi.VM_DONTCOPY,
    "f": _WRITE | abi.VM_ACCOUNT | abi.VM_WIPEONFORK,
    "h": _WRITE | abi.VM_ACCOUNT | abi.VM_HUGEPAGE,
    "d": _WRITE | abi.VM_ACCOUNT | abi.VM_DONTDUMP,
    "z": _WRITE | abi.VM_ACCOUNT | abi.VM_SEQ_READ,
    "y": _WRITE | abi.VM_NORESERVE | abi.VM_WIPEONFORK | abi.VM_DONTDUMP | abi.VM_DROPPABLE,
}
_LETTERS = {flags: letter for letter, flags in KINDS.items()}


def at(page: int) -> int:
    """The address of a page of the strip."""
    return BASE + page * PAGE


def new_mm(kernel: str = "post-patch", **sysctl: int) -> Mm:
    """An empty address space under a kernel model."""
    world = World(get_kernel(kernel), arch="x86_64", **sysctl)
    return Mm(world, 0x7FFFF7FFF000, 0x555555559000)


def draw(strip: str, kernel: str = "post-patch", **sysctl: int) -> Mm:
    """The address space of a drawing; its first page is at BASE."""
    mm = new_mm(kernel, **sysctl)
    page = 0
    for token in re.finditer(r"([a-zA-Z.])\1*|\|", strip):
        if token[0] == "|":
            continue
        end = page + len(token[0])
        if token[1] != ".":
            vma = Vma(at(page), at(end), KINDS[token[1].lower()])
            if token[1].isupper():
                vma.anon, vma.chain = mm.world.new_anon(), 1
            mm.insert(vma, mm.vmas.last)
        page = end
    return mm


def strip(mm: Mm) -> str:
    """The drawing of an address space. Holes before BASE and behind the last VMA are left out."""
    drawing, page = "", 0
    for vma in mm.vmas:
        start, end = (vma.start - BASE) // PAGE, (vma.end - BASE) // PAGE
        if start == page and drawing:
            drawing += "|"
        letter = _LETTERS[vma.flags & ~abi.VM_MAYBE_GUARD]
        drawing += "." * (start - page) + (letter.upper() if vma.anon else letter) * (end - start)
        page = end
    return drawing


def vma(mm: Mm, page: int) -> Vma:
    """The VMA at a page of the strip."""
    found = mm.vmas.at(at(page))
    assert found is not None
    return found


def same_anon(mm: Mm, *pages: int) -> None:
    """Let the VMAs at these pages share one anon_vma, as the parts of a split one do."""
    for a, b in itertools.pairwise(pages):
        vma(mm, b).anon, vma(mm, b).chain = vma(mm, a).anon, vma(mm, a).chain


def forked(mm: Mm, page: int) -> None:
    """Let the VMA at this page have an anon_vma chain as fork leaves it in a child."""
    assert vma(mm, page).anon
    vma(mm, page).chain = 2
