"""Random programs over all calls that both the model and the oracle can run.

Program number i of a seed is always the same. Its family (i modulo their number) says which calls
are frequent in it, so that those meet. Knows the mixture; the makers know the calls.
"""

from __future__ import annotations

from itertools import accumulate
from random import Random
from typing import Final

from vmatrace import abi
from vmatrace.event import Event, File
from vmatrace.search import bad, ordinary, wide
from vmatrace.search.program import FILES, SEGMENT, Maker, Program

_COMMON: Final[tuple[tuple[Maker, int], ...]] = (
    (ordinary.mmap, 240), (ordinary.munmap, 100), (ordinary.mprotect, 160), (ordinary.ksm, 40),
    (ordinary.madvise, 60), (ordinary.fault, 80), (ordinary.control, 4), (bad.bad, 4),
)  # fmt: skip
#: What each family has more of.
FAMILIES: Final[dict[str, tuple[tuple[Maker, int], ...]]] = {
    "anon": (),
    "fault": ((ordinary.fault, 240),),
    "file": ((ordinary.mmap_file, 300), (ordinary.fault, 60), (ordinary.shared, 20)),
    "mremap": ((ordinary.mremap, 360), (ordinary.fault, 100)),
    "lock": ((ordinary.lock, 300),),
    "advice": ((ordinary.madvise, 360), (ordinary.control, 40)),
    "fork": (
        (ordinary.fork, 40), (ordinary.fault, 140), (ordinary.mremap, 60),
        (ordinary.scene, 40), (ordinary.exit_or_exec, 12), (ordinary.advise_other, 8),
    ),
    "place": (
        (ordinary.mmap_chosen, 240), (ordinary.munmap_chosen, 120), (ordinary.brk, 120),
        (ordinary.heap, 40), (ordinary.mmap_huge, 6),
    ),
    "bad": ((bad.bad, 600), (ordinary.mmap_file, 60)),
    "shared": (
        (ordinary.shared, 200), (ordinary.mmap_file, 100), (ordinary.policy, 60),
        (ordinary.mremap, 60),
    ),
    "uffd": (
        (ordinary.userfault, 200), (ordinary.mmap, 200), (ordinary.munmap, 60),
        (ordinary.mprotect, 100), (ordinary.mremap, 100), (ordinary.fault_first, 100),
        (ordinary.mmap_file, 40),
    ),
    "huge": ((ordinary.mmap_huge, 100), (ordinary.change_huge, 400)),
    "meet": (
        (ordinary.mmap_plain, 700), (ordinary.write, 700), (ordinary.protect, 700),
        (ordinary.munmap, 150), (ordinary.move, 300), (ordinary.scene, 500),
    ),
    "special": ((ordinary.special, 200), (ordinary.mmap_chosen, 20)),
    **wide.FAMILIES,
}  # fmt: skip
#: Not mixed with the common calls: so that what was written apart meets, and because an access to
#: a page registered with userfaultfd is not modelled.
_APART: Final = ("uffd", "meet", *wide.FAMILIES)
_NAMES: Final = tuple(FAMILIES)


def files() -> dict[int | str, File]:
    """What the descriptors in random programs refer to."""
    return {**FILES, SEGMENT: File("/SYSV00000000 (deleted)", "tmpfs", "rw", 0x10000)}


def family(index: int) -> str:
    """The family of program number *index*."""
    return _NAMES[index % len(_NAMES)]


def generate(seed: str, index: int, events: int = 40) -> list[Event]:
    """Program number *index* of *seed*: about *events* events, in files()."""
    random = Random(f"{seed}/{index}")
    kind = family(index)
    table = [*(() if kind in _APART else _COMMON), *FAMILIES[kind]]
    if random.randrange(12) == 0:
        table.append((ordinary.seal, 30))
    makers = [maker for maker, _ in table]
    weights = list(accumulate(weight for _, weight in table))
    program = Program(random)
    if random.randrange(2):
        program.emit("prctl", abi.PR_SET_MEMORY_MERGE, 1, 0, 0, 0)
    for maker in random.choices(makers, cum_weights=weights, k=events):
        program.turn()
        maker(program)
    return program.events
