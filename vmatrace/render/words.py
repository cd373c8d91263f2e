"""The words: a sentence for every reason not to merge, flags by name, sizes as people say them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from vmatrace import abi
from vmatrace.engine import merge
from vmatrace.engine.merge import Blocker, blockers
from vmatrace.kernels import KERNELS, is_release

#: Why two VMAs, or a range and a VMA, are not one. ``FLAGS`` is followed by the flags.
SENTENCES: Final[dict[Blocker, str]] = {
    Blocker.NO_NEIGHBOUR: "there is no VMA on that side",
    Blocker.NOT_ADJACENT: "the next VMA on that side does not touch the range",
    Blocker.NOT_AT_BORDER: "the range does not reach the border of its VMA on that side",
    Blocker.NOT_CONSIDERED: "the kernel does not look at that side in this call",
    Blocker.SPECIAL: "a special mapping (VM_IO, VM_PFNMAP, VM_DONTEXPAND or VM_MIXEDMAP) never "
    "merges",
    Blocker.FLAGS: "flags differ",
    Blocker.FILE: "different files",
    Blocker.PGOFF: "the page offset of one does not continue that of the other",
    Blocker.ANON_VMA: "each has an anon_vma of its own (both were written to while apart)",
    Blocker.FORKED: "its anon_vma is shared with another process since a fork()",
    Blocker.OTHER_SIDE: "it merged on the other side, whose anon_vma this one does not share",
    Blocker.POLICY: "NUMA policies differ (mbind)",
    Blocker.UFFD: "userfaultfd registrations differ",
    Blocker.NAME: "names differ (PR_SET_VMA_ANON_NAME)",
    Blocker.ANON_PGOFF: "written to and moved apart: the offset of the private pages of one does "
    "not continue that of the other",
    Blocker.CLOSE: "its driver has a close hook, so that VMA may not be merged away",
}
_ONE_UNWRITTEN: Final = (
    "only one was written to (has an anon_vma), and this kernel does not merge such a pair"
)
_OPENED_TWICE: Final = "the same path, but opened twice, and each open() is a file of its own"


def flag(bit: int) -> str:
    """One vm_flags bit: ``mg (VM_MERGEABLE)``."""
    return f"{abi.VM_FLAG_CODES[bit]} ({abi.VM_FLAG_NAMES[bit]})"


def flags(mask: int) -> str:
    """The vm_flags in *mask*, in the order of smaps; bits without a code as a number."""
    names = [flag(bit) for bit in abi.VM_FLAG_CODES if mask & bit]
    rest = mask & ~sum(abi.VM_FLAG_CODES)
    if rest & abi.VM_PKEY_MASK:
        names.append("protection key")
        rest &= ~abi.VM_PKEY_MASK
    return ", ".join(names + ([hex(rest)] if rest else []))


def flag_difference(difference: int, a: int, b: int, where: tuple[str, str]) -> str:
    """Which of two has the flags in *difference*: ``mg (VM_MERGEABLE) only above``."""
    parts = [
        f"{flags(difference & has)} only {place}"
        for has, place in zip((a, b), where, strict=True)
        if difference & has
    ]
    return "; ".join(parts)


def reasons(mask: int, flag_words: str, anon: tuple[int, int], same_path: bool) -> str:
    """Why not, all reasons in *mask*.

    *flag_words* say how the flags differ; *anon* holds the two anon_vma identities, 0 for none;
    *same_path*: what backs both has the same name.
    """
    said = []
    for reason in blockers(mask & ~merge.NOTHING_THERE):
        sentence = SENTENCES[reason]
        if reason is Blocker.FLAGS and flag_words:
            sentence += f": {flag_words}"
        elif reason is Blocker.ANON_VMA and 0 in anon:
            sentence = _ONE_UNWRITTEN
        elif reason is Blocker.FILE and same_path:
            sentence = _OPENED_TWICE
        said.append(sentence)
    return "; ".join(said)


_UNITS: Final = ((1 << 40, "T"), (1 << 30, "G"), (1 << 20, "M"), (1 << 10, "K"))


def size(count: int) -> str:
    """A number of bytes, exact where four digits can say it: ``12K``, ``2052K``, ``42.7T``."""
    for unit, letter in _UNITS:
        if count >= unit and count % unit == 0 and count // unit < 10000:
            return f"{count // unit}{letter}"
    for unit, letter in _UNITS:
        if count >= unit:
            return f"{count / unit:.1f}{letter}"
    return f"{count}B"


def plural(count: int, word: str, many: str = "") -> str:
    """``1 VMA``, ``2 VMAs``."""
    return f"{count} {word if count == 1 else many or word + 's'}"


def models(names: Sequence[str]) -> str:
    """Models by name; releases that follow one another as ``6.4 to 6.9``."""
    place = {name: i for i, name in enumerate(KERNELS) if is_release(KERNELS[name])}
    runs: list[list[str]] = []
    for name in names:
        before = place.get(runs[-1][-1]) if runs else None
        if before is not None and place.get(name) == before + 1:
            runs[-1].append(name)
        else:
            runs.append([name])
    said = [f"{run[0]} to {run[-1]}" if len(run) > 2 else ", ".join(run) for run in runs]
    return ", ".join(said)
