"""What a trace uses that kernels treat differently: what has to be there for a feature to matter.

The words are the names of calls, and those of WORDS; a feature names the ones that it needs. Knows
what events look like and nothing of what a feature does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, cast

from vmatrace import abi, calls
from vmatrace.event import Arg, Event
from vmatrace.kernels import Kernel
from vmatrace.replayer.result import Step
from vmatrace.replayer.run import Replay
from vmatrace.trace.file import Trace

#: KSM by default in force; memory that was there from the start or from an exec on; mappings of
#: files; large enough for huge pages where the kernel may choose; at a fixed place, of a stack, and
#: droppable.
KSM, MAPS, FILE, LARGE, FIXED, STACK, DROPPABLE = WORDS = (
    "ksm", "maps", "file", "large", "fixed", "stack", "droppable",
)  # fmt: skip
_HUGE: Final = 2 << 20


def option(value: object) -> str:
    """The word for a prctl of that option."""
    return f"prctl {value}"


#: Every word that there is.
VOCABULARY: Final = frozenset({
    *calls.CALLS, *WORDS, *(option(value) for value in calls.PRCTL_OPTIONS)
})  # fmt: skip


class Uses(set[str]):
    """The words for what a replay has used so far; see() every step."""

    def __init__(self, replay: Replay) -> None:
        """*replay* is at its start."""
        main = replay.process("main")
        super().__init__()
        self._mapped: set[object] = set()  # kinds of mmap() that were seen
        if main.merge_any:
            self.add(KSM)
        if main.vmas.count:
            self.add(MAPS)

    def see(self, step: Step) -> None:
        """Note what the event uses."""
        event, args = step.event, step.args
        if event.name == "mmap":
            large = event.recorded is None and cast(int, args[1]) >= _HUGE
            if (args[3], large) in self._mapped:
                return
            self._mapped.add((args[3], large))
        elif event.name in self and event.name != "prctl" and event.maps is None:
            return
        self.update(words_of(event, args))


def words_of(event: Event, args: Sequence[Arg]) -> set[str]:
    """What an event with these (evaluated) arguments uses."""
    found: set[str] = set()
    if event.name == "mmap":
        return _words_of_mapping(event, args)
    if event.name == "prctl":
        found.add(option(args[0]))
        if args[0] == abi.PR_SET_MEMORY_MERGE:
            found.add(KSM)
        return found
    found.add(event.name)
    if event.maps is not None:
        found.add(MAPS)
    return found


def _words_of_mapping(event: Event, args: Sequence[Arg]) -> set[str]:
    found: set[str] = set()
    length, flags = cast(int, args[1]), cast(int, args[3])
    if not flags & abi.MAP_ANONYMOUS or flags & abi.MAP_HUGETLB or flags & abi.MAP_SHARED:
        found.add(FILE)  # huge pages and shared memory are files without a name
    if flags & abi.MAP_FIXED:
        found.add(FIXED)
    elif event.recorded is None and length >= _HUGE:
        found.add(LARGE)
    if flags & abi.MAP_STACK:
        found.add(STACK)
    if flags & abi.MAP_TYPE == abi.MAP_DROPPABLE:
        found.add(DROPPABLE)
    return found


def uses_of(trace: Trace, kernel: Kernel, ksm: bool | None = None) -> Uses:
    """What *trace* uses, found by a replay under *kernel*. Raises TraceError."""
    replay = Replay(trace, kernel, ksm)
    uses = Uses(replay)
    for step in replay.steps():
        uses.see(step)
    return uses
