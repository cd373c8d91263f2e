"""What a person can do about two VMAs that are not one: a sentence for every Blocker and flag.

Says only what the kernel's rules promise; where nothing helps, it says that.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from vmatrace import abi, kernels
from vmatrace.commands.explain.elsewhere import APART, ONE, Answer
from vmatrace.commands.explain.question import BorderAccount, Contrast, anon_state
from vmatrace.engine.merge import Blocker, blockers
from vmatrace.kernels.features import Feature

#: By reason; ``FLAGS`` stands for flags without an advice of their own.
ACTIONS: Final[dict[Blocker, str]] = {
    Blocker.NO_NEIGHBOUR: "map something beside it: there is nothing to merge with",
    Blocker.NOT_ADJACENT: "map it where the other one ends: only VMAs that touch can merge",
    Blocker.NOT_AT_BORDER: "let the call cover the VMA up to the border",
    Blocker.NOT_CONSIDERED: "use mmap(): brk() only looks at the VMA before the range",
    Blocker.SPECIAL: "nothing: special mappings never merge",
    Blocker.FLAGS: "give both the same flags when they are mapped",
    Blocker.FILE: "nothing: memory of different files never is one VMA",
    Blocker.PGOFF: "map the file at the offset that continues the lower one",
    Blocker.ANON_VMA: "let the two merge before they are written to, or map them as one",
    Blocker.FORKED: "map it before the fork(), or in a program started by execve()",
    Blocker.OTHER_SIDE: "let the sides merge before they are written to, or map them as one",
    Blocker.POLICY: "mbind() both to the same policy",
    Blocker.UFFD: "register both with the same userfaultfd",
    Blocker.NAME: "give both the same name, or none, with PR_SET_VMA_ANON_NAME",
    Blocker.ANON_PGOFF: "move file memory before it is written to, or all of it together",
    Blocker.CLOSE: "nothing: the driver forbids it",
}
_OPEN_ONCE: Final = "map both through one open(); a dup() of it will do too"
_MOVED: Final = (
    "move memory with mremap() before it is first written to: then it gets the page offset of its "
    "new place"
)
_ONE_UNWRITTEN: Final = "write to it only when both are mapped and merged"
_MERGE_NOW: Final = (
    "nothing separates them any more: a call that really changes both, such as mprotect() to "
    "another protection and back, makes them one"
)
_SEALED: Final = "nothing: no call can change sealed memory, so none merges it again"

_PROTECTION: Final = "give both the same protection with mprotect()"
_ADVICE: Final = "give both the same advice: "
#: By flag, for the ones that calls set and clear.
FLAG_ACTIONS: Final[dict[int, str]] = {
    abi.VM_READ: _PROTECTION,
    abi.VM_WRITE: _PROTECTION,
    abi.VM_EXEC: _PROTECTION,
    abi.VM_MERGEABLE: _ADVICE + "MADV_MERGEABLE or MADV_UNMERGEABLE",
    abi.VM_HUGEPAGE: _ADVICE + "MADV_HUGEPAGE or MADV_NOHUGEPAGE",
    abi.VM_NOHUGEPAGE: _ADVICE + "MADV_HUGEPAGE or MADV_NOHUGEPAGE",
    abi.VM_DONTCOPY: _ADVICE + "MADV_DONTFORK or MADV_DOFORK",
    abi.VM_DONTDUMP: _ADVICE + "MADV_DONTDUMP or MADV_DODUMP",
    abi.VM_WIPEONFORK: _ADVICE + "MADV_WIPEONFORK or MADV_KEEPONFORK",
    abi.VM_SEQ_READ: _ADVICE + "MADV_SEQUENTIAL, MADV_RANDOM or MADV_NORMAL",
    abi.VM_RAND_READ: _ADVICE + "MADV_SEQUENTIAL, MADV_RANDOM or MADV_NORMAL",
    abi.VM_LOCKED: "mlock() both, or neither",
    abi.VM_LOCKONFAULT: "mlock2(MLOCK_ONFAULT) both, or neither",
    abi.VM_ACCOUNT: "map both writable from the start, or both with MAP_NORESERVE",
    abi.VM_NORESERVE: "map both with MAP_NORESERVE, or neither",
    abi.VM_SEALED: "mseal() both, or neither",
    abi.VM_UFFD_MISSING: "register both with userfaultfd in the same modes",
    abi.VM_UFFD_WP: "register both with userfaultfd in the same modes",
    abi.VM_UFFD_MINOR: "register both with userfaultfd in the same modes",
    abi.VM_DROPPABLE: "map both with MAP_DROPPABLE, or neither",
    abi.VM_GROWSDOWN: "map both with MAP_GROWSDOWN, or neither",
    abi.VM_SHARED: "map both shared, or both private",
    abi.VM_MAYSHARE: "map both shared, or both private",
}
_EARLY: Final = (
    "or ask for KSM with madvise(MADV_MERGEABLE) when everything is mapped, not with "
    "PR_SET_MEMORY_MERGE"
)


def advice(border: BorderAccount) -> list[str]:
    """What would make the two of *border* one VMA: alternatives, the best first."""
    said = list(_better_kernels(border.answer))
    then = border.attempt.then if border.attempt is not None else None
    if border.today.mask == 0:
        if then is not None and _by_mergeable(then) and said:
            said.append(_EARLY)
        flags = border.today.below.attributes.flags & border.today.above.attributes.flags
        said.append(_SEALED if flags & abi.VM_SEALED else _MERGE_NOW)
    else:
        actions = dict.fromkeys(_actions(border.today))  # all of them are needed
        hopeless = [action for action in actions if action.startswith("nothing")]
        said.append(hopeless[0] if hopeless else "; and ".join(actions))
    return said


def _better_kernels(answer: Answer | None) -> Iterator[str]:
    for cause in answer.causes if answer is not None else ():
        assert answer is not None
        if cause.becomes == ONE and answer.one_from(cause.after):
            fixed = any(feature is kernels.KSM_BEFORE_MERGE for feature, _ in cause.features)
            series = " (the KSM series)" if fixed else ""
            yield f"run a kernel of release {cause.after} or later{series}"


def _by_mergeable(contrast: Contrast) -> bool:
    below, above = contrast.flags
    return below | above == abi.VM_MERGEABLE


def _actions(contrast: Contrast) -> Iterator[str]:
    for reason in blockers(contrast.mask):
        if reason is Blocker.FLAGS:
            yield from flag_actions(contrast)
        elif reason is Blocker.FILE and contrast.opened_twice:
            yield _OPEN_ONCE
        elif reason is Blocker.PGOFF and None in contrast.paths:
            yield _MOVED
        elif reason is Blocker.ANON_VMA and "unfaulted" in (
            anon_state(contrast.below), anon_state(contrast.above)
        ):  # fmt: skip
            yield _ONE_UNWRITTEN
        else:
            yield ACTIONS[reason]


def flag_actions(contrast: Contrast) -> Iterator[str]:
    """What to do about each flag in which the two differ."""
    below, above = contrast.flags
    if (below | above) & abi.VM_WRITE:
        below, above = below & ~abi.VM_ACCOUNT, above & ~abi.VM_ACCOUNT  # it follows from that one
    for bit in abi.VM_FLAG_CODES:
        if (below | above) & bit:
            yield FLAG_ACTIONS.get(bit, ACTIONS[Blocker.FLAGS])
    if (below | above) & abi.VM_PKEY_MASK:
        yield "give both the same protection key with pkey_mprotect()"


def lost_ksm(answer: Answer | None) -> str:
    """Why the KSM series set two apart that were one, if it did: the older VMA was not KSM's."""
    for cause in answer.causes if answer is not None else ():
        feature: tuple[Feature, bool] = (kernels.KSM_BEFORE_MERGE, True)
        if cause.features == (feature,) and cause.becomes == APART:
            assert answer is not None
            older = answer.verdicts[cause.before]
            if older.state == ONE and older.mapping is not None and "mg" not in older.mapping.codes:
                return (
                    "Before the series the new range was compared before it had mg, so it fitted "
                    "its neighbour without mg, and the VMA they became has none: KSM never looked "
                    "at the new memory, although the process had asked for it. With the series the "
                    "new range has mg from the start, and stays apart."
                )
    return ""
