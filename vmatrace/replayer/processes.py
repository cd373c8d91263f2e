"""The processes of a replay: who exists, who shares an address space, what exec and exit leave.

Mirrors copy_mm() in kernel/fork.c and exec_mmap() in fs/exec.c at the level of address spaces.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from vmatrace import abi, kernels
from vmatrace.engine.limits import Limits
from vmatrace.engine.mm import Mm
from vmatrace.engine.syscalls import uffd
from vmatrace.engine.vma import Vma, some
from vmatrace.event import FIRST
from vmatrace.replayer.result import child_name

#: The number of the first child whose fork has no recorded result.
FIRST_CHILD: Final = 2


class Processes:
    """Address spaces by process name (``alive``). Threads (CLONE_VM) are names of one of them."""

    __slots__ = ("_names", "_next_pid", "_own_limits", "_threads", "alive", "parents", "personas")

    def __init__(self, main: Mm) -> None:
        self.alive: dict[str, Mm] = {"main": main}
        #: Who made each; for a thread, the process that it is part of.
        self.parents: dict[str, str] = {}
        self._threads: dict[str, str] = {}
        #: Limits that a process has set itself whose memory is another's (vfork, CLONE_VM).
        self._own_limits: dict[str, Limits] = {}
        #: Of who shares its memory, where one of them has called personality(2).
        self.personas: dict[str, int] = {}
        self._names: dict[int, str] = {FIRST: "main"}
        self._next_pid = FIRST_CHILD

    def __getitem__(self, name: str) -> Mm:
        return self.alive[name]

    def get(self, name: str) -> Mm | None:
        return self.alive.get(name)

    def numbered(self, number: int) -> Mm | None:
        """The address space of the process with that number (the result of its fork)."""
        return self.alive.get(self._names.get(number, ""))

    def name_of(self, number: int) -> str:
        """The name of the live process with that number."""
        return self._names[number]

    def limit(self, name: str, resource: int, soft: int) -> None:
        """A process has a new soft limit; what shares another's memory keeps it for its exec."""
        mm = self.alive[name]
        if name in self._threads and sum(other is mm for other in self.alive.values()) > 1:
            limits = self._own_limits.get(name, mm.limits)
            self._own_limits[name] = limits.changed(resource, soft)
        else:
            mm.limits = mm.limits.changed(resource, soft)

    def set_persona(self, name: str, persona: int) -> None:
        """What a process is from now on; personality(2) is its own, unlike its memory."""
        mm = self.alive[name]
        sharing = [other for other, memory in self.alive.items() if memory is mm]
        if len(sharing) > 1:
            for other in sharing:
                self.personas.setdefault(other, mm.persona)
            self.personas[name] = persona
        mm.persona = persona

    def has_ended(self, number: int) -> bool:
        """Whether there was a process with that number, which there is no more."""
        return number in self._names and self._names[number] not in self.alive

    def __iter__(self) -> Iterator[tuple[str, Mm]]:
        """Each address space once, under the first name it has."""
        seen: set[int] = set()
        for name, mm in self.alive.items():
            if id(mm) not in seen:
                seen.add(id(mm))
                yield name, mm

    def create(self, parent: str, shared: bool, label: str | None, recorded: int | None) -> int:
        """A child of *parent*; its number: the recorded one, or the next free."""
        number = recorded if recorded is not None and recorded > 0 else self._next_pid
        self._next_pid = max(self._next_pid, number) + 1
        child = mm = self.alive[parent]
        if not shared:
            child = fork(mm)
            child.peak_vmas = child.vmas.count
        name = child_name(label, number)
        self._names[number] = name
        self.alive[name] = child
        if shared and self.personas:
            self.personas[name] = mm.persona
        self.parents[name] = self._threads.get(parent, parent)
        if shared:
            self._threads[name] = self.parents[name]
        return number

    def execute(self, name: str) -> Mm:
        """execve(2): an empty address space, with what exec keeps (begin_new_exec()).

        What the new image maps is not known here; KSM-by-default survives since 6.7.
        """
        old = self.alive[name]
        new = Mm(old.world, old.mmap_base, old.brk)
        new.brk_known = False
        new.fresh = True
        new.limits = self._own_limits.pop(name, old.limits)
        new.persona = old.persona & ~abi.READ_IMPLIES_EXEC
        self.personas.pop(name, None)
        new.thp_disable = old.thp_disable
        new.mdwe = _inherited(old.mdwe)
        new.merge_any = old.merge_any and old.world.kernel.has(kernels.KSM_EXEC_INHERIT)
        self.alive[name] = new
        return new

    def end(self, name: str) -> Mm | None:
        """A process ends; its address space if that ends with it."""
        mm = self.alive.pop(name)
        return None if any(other is mm for other in self.alive.values()) else mm


def _inherited(mdwe: int) -> int:
    """mmf_init_flags(): PR_MDWE_NO_INHERIT ends at fork and at exec."""
    return 0 if mdwe & abi.PR_MDWE_NO_INHERIT else mdwe


def fork(mm: Mm) -> Mm:
    """The child's copy (dup_mmap()). Merges nothing; every faulted VMA gets a longer chain."""
    world = mm.world
    child = Mm(world, mm.mmap_base, mm.brk)
    child.start_brk = mm.start_brk
    child.brk_known, child.brk_assumed, child.fresh = mm.brk_known, mm.brk_assumed, mm.fresh
    child.start_stack = mm.start_stack
    child.merge_any = mm.merge_any
    child.mdwe = _inherited(mm.mdwe)
    child.limits = mm.limits
    child.persona = mm.persona
    child.contexts = {fd: n for fd, n in mm.contexts.items() if uffd.watches_forks(mm, n)}
    child.thp_disable = mm.thp_disable
    last: Vma | None = None
    for vma in mm.vmas:
        if vma.flags & abi.VM_DONTCOPY:
            continue
        flags = vma.flags & ~abi.VM_LOCKED_MASK
        extra = vma.extra
        if extra is not None and extra.uffd and not uffd.watches_forks(mm, extra.uffd):
            flags &= ~abi.VM_UFFD_FLAGS
            extra = some(extra._replace(uffd=0))
        copy = Vma(vma.start, vma.end, flags, vma.skew, vma.file, extra=extra)
        if vma.anon and not flags & abi.VM_WIPEONFORK:
            copy.anon, copy.chain = world.new_anon(), 2
        copied = copy.anon or flags & (abi.VM_MAYBE_GUARD | abi.VM_WIPEONFORK) == abi.VM_MAYBE_GUARD
        if mm.guards and copied:
            for start, end in mm.guards.within(vma.start, vma.end):
                child.guards.add(start, end)
        last = child.insert(copy, last)
    return child
