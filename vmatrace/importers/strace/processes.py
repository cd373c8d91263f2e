"""The processes of a strace log: who exists, who is whose child, and what the log left unsaid.

Gives each process the name that a trace has for it. Knows pids, threads and the ways in which a log
can fail to show a birth; knows nothing of memory.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final, cast

from vmatrace import abi
from vmatrace.calls import BIRTHS, CALLS, shares_memory
from vmatrace.event import Event
from vmatrace.importers.strace.descriptors import Open, Table
from vmatrace.importers.strace.line import without_comments
from vmatrace.notes import Notes
from vmatrace.trace.names import MAIN

#: So many assumptions about single processes are kept in words.
_SAID: Final = 20


class Space:
    """What the log has shown of one address space: its program break, None before that."""

    __slots__ = ("brk",)

    def __init__(self, brk: int | None = None) -> None:
        self.brk = brk


class Unfinished:
    """A call of which only the first half has been read. ``done``: its event is out already."""

    __slots__ = ("child", "done", "line", "name", "text")

    def __init__(self, name: str, text: str, line: int) -> None:
        self.name = name
        self.text = text
        self.line = line
        self.done = False
        self.child: str | None = None


class Process:
    """A process or thread. ``name`` is Event.pid; ``number`` the pid, None until a line has it."""

    __slots__ = ("dying", "ended", "group", "name", "number", "space", "table", "unfinished")

    def __init__(self, name: str, number: str | None) -> None:
        self.name = name
        self.number = number
        self.table = Table()
        self.space = Space()
        self.group: list[Process] = [self]
        self.unfinished: Unfinished | None = None
        self.dying = False
        self.ended = False


class Processes:
    """The processes alive at this point of the log, by pid. *emit* takes an event.

    *groups* names the thread group of each thread that the log has shown one of: by its pid, or by
    what else its threads have in common. None: as strace, the log has but one program's processes.
    """

    def __init__(
        self, notes: Notes, emit: Callable[[Event], None], groups: Mapping[str, str] | None = None
    ) -> None:
        self._groups = {} if groups is None else groups
        self._notes = notes
        self._emit = emit
        self._alive: dict[str, Process] = {}
        self._unnumbered: Process | None = None
        self._announced: set[str] = set()
        self._threads_of_main = False
        #: The descriptors that the first process has at its start.
        self.opened: dict[int, Open] = {}
        self._started = False
        self._births_seen = False

    # --- finding -------------------------------------------------------------------------------

    def find(self, number: str | None) -> Process | None:
        """The process of that pid, None where nobody goes by it yet."""
        if number is not None:
            return self._alive.get(number)
        if self._unnumbered is not None:
            return self._unnumbered
        # Without a pid: strace prints none while it traces just one.
        return next(iter(self._alive.values()), None)

    def get(self, number: str | None, line: int, bracket: bool, first: str) -> Process | None:
        """The process that line *line* is of; one that the log never bore is accounted for.

        *first* is the line without its prefix. None where nobody can be its parent any more.
        """
        found = self.find(number)
        if found is not None:
            return found
        if not self._started:
            self._started = True
            return self._first(number)
        if number is None:
            return None
        main = self._unnumbered
        resumes = first.startswith("<... ")
        if main is not None and bracket and number not in self._announced and (
            main.unfinished is None or resumes
        ):  # fmt: skip
            return self._numbered(main, number)
        parent = self._in_labour(number)
        if parent is not None:
            return self._adopted(parent, number)
        return self._unborn(number, line, first)

    def _first(self, number: str | None) -> Process:
        main = Process(MAIN, number)
        main.table = Table(dict(self.opened))
        if number is None:
            self._unnumbered = main
        else:
            self._alive[number] = main
        return main

    def _numbered(self, main: Process, number: str) -> Process:
        """The first process, whose lines had no number before: that is it."""
        main.number = number
        self._unnumbered = None
        # First in the order, as it was.
        self._alive = {number: main, **self._alive}
        return main

    def everyone(self) -> list[Process]:
        """All that are alive, the first process first."""
        one = [self._unnumbered] if self._unnumbered is not None else []
        return [*one, *self._alive.values()]

    def announce(self, number: str, threads: str | None) -> None:
        """Strace said that it attached to a process, or to one with so many threads."""
        self._announced.add(number)
        if threads is not None:
            self._threads_of_main = True
        if len(self._announced) > _SAID * 100:
            self._announced.clear()
        if not self._started:  # strace -p, or -D: nobody bore it
            self._started = True
            self._alive[number] = Process(MAIN, number)

    # --- births --------------------------------------------------------------------------------

    def _in_labour(self, number: str) -> Process | None:
        """Whose unfinished call may be the birth of process *number*, which just appeared."""
        waiting = [
            process
            for process in self.everyone()
            if (call := process.unfinished) and call.name in BIRTHS and call.child is None
        ]
        first = min(waiting, key=_since, default=None)
        if first is not None and len({id(process.space) for process in waiting}) > 1:
            self._say(f"Of several processes that were forking, {first.name} bore {number}.")
        return first

    def _adopted(self, parent: Process, number: str) -> Process:
        """The child of a birth that its parent has not returned from yet."""
        call = parent.unfinished
        assert call is not None
        call.child = number
        call.done = True
        self._notes.joined -= 1
        return self.bore(
            parent, call.name, call.text, call.line, number, flags_of(call.name, call.text)
        )

    def bore(
        self, parent: Process, name: str, text: str, line: int, number: str, flags: str
    ) -> Process:
        """As born(), of a birth that the log shows."""
        self._births_seen = True
        return self.born(parent, name, text, line, number, flags)

    def born(
        self, parent: Process, name: str, text: str, line: int, number: str, flags: str
    ) -> Process:
        """A new process: the event of its birth, and what it has of its parent."""
        if number in self._alive:
            self.end_unsaid(self._alive[number], line)
        args = (f"flags={flags}",) if CALLS[name].params else ()
        self._emit(Event(name, args, text, line, 1, parent.name, None, int(number)))
        child = Process(number, number)
        self._announced.discard(number)
        child.space = parent.space if shares_memory(name, args) else Space(parent.space.brk)
        said = flags.split("|")
        child.table = parent.table if "CLONE_FILES" in said else parent.table.copy()
        if "CLONE_THREAD" in said:
            child.group = parent.group
            child.group.append(child)
        self._alive[number] = child
        return child

    def _unborn(self, number: str, line: int, first: str) -> Process | None:
        """A process whose birth the log does not show."""
        parent = next(iter(self.everyone()), None)
        if parent is None:
            return None
        image = first.startswith(("execve", "brk(NULL)", "brk(0"))
        self._notes.supplied += 1
        group = self._groups.get(number)
        if group is not None:
            kin = [p for p in self.everyone() if self._groups.get(p.number or "") == group]
            parent = kin[0] if kin else parent
            image = image or not kin
        if image or (group is None and self._births_seen and not self._threads_of_main):
            text, flags = f"fork() = {number}", ""
            self._say(
                f"Process {number}, whose birth is not in the log, is a fork of {parent.name}."
            )
            child = self.born(parent, "fork", text, line, number, flags)
            if image:
                self.renew(child, line)
            return child
        self._say(f"Process {number}, whose birth is not in the log, is a thread of {parent.name}.")
        flags = "CLONE_VM|CLONE_FILES|CLONE_THREAD"
        return self.born(parent, "clone", f"clone(flags={flags}) = {number}", line, number, flags)

    def renew(self, process: Process, line: int) -> None:
        """Start *process* with empty memory: what it does shows a new program."""
        self._notes.supplied += 1
        self._say(f"Process {process.name} has executed a program, which the log does not show.")
        self._emit(Event("execve", ("?",), 'execve("?") = 0', line, 1, process.name, None, 0))
        process.space = Space()

    def _say(self, what: str) -> None:
        if len(self._notes.assumed) < _SAID:
            self._notes.assumed.append(what)
        elif len(self._notes.assumed) == _SAID:
            self._notes.assumed.append("And so on for more processes.")

    # --- ends ----------------------------------------------------------------------------------

    def end(self, process: Process, line: int, status: int | None = None) -> None:
        """The event of an end."""
        args = () if status is None else (status,)
        text = f"exit({status})" if status is not None else "exit()"
        self._emit(Event("exit", args, text, line, 1, process.name))
        self._forget(process)

    def end_unsaid(self, process: Process, line: int) -> None:
        """The same of an end that the log has no line for."""
        self._notes.supplied += 1
        self.end(process, line)

    def reaped(self, number: str, line: int) -> None:
        """Somebody has waited for process *number*, or was told that it has ended."""
        process = self._alive.get(number)
        if process is not None and len(process.group) == 1:
            self.end_unsaid(process, line)

    def is_expected(self, number: str | None) -> bool:
        """Whether there is a process *number*, or somebody who may be about to bear it."""
        return self.find(number) is not None or self._in_labour(number or "") is not None

    def _forget(self, process: Process) -> None:
        if process is self._unnumbered:
            self._unnumbered = None
        else:
            del self._alive[cast(str, process.number)]
        process.group.remove(process)
        process.ended = True

    def executed(self, process: Process, line: int) -> None:
        """An exec ended the other threads, and left of descriptors what it leaves.

        A thread goes on under its leader's pid: one that executes under its own was never one,
        but the child of a vfork whose flags the log does not show.
        """
        if process.number is not None and process.group[0] is not process:
            process.group.remove(process)
            process.group = [process]
        for thread in [each for each in process.group if each is not process]:
            self.end_unsaid(thread, line)
        process.table = process.table.after_exec()
        process.space = Space()

    def take_over(self, leader: Process, number: str, line: int) -> None:
        """Thread *number* has executed a program and goes on as *leader*."""
        thread = self._alive.get(number)
        if thread is None or thread is leader:
            return
        leader.unfinished = thread.unfinished
        thread.unfinished = None
        self.end_unsaid(thread, line)


def _since(process: Process) -> int:
    """The line in which *process* was last interrupted."""
    return process.unfinished.line if process.unfinished is not None else 0


# --- flags ----------------------------------------------------------------------------------------

_FLAG_NAMES: Final = re.compile(r"(?:CLONE_|SIG)\w+(?:\|\w+)*")
_KNOWN: Final = {name: abi.CONSTANTS[name] for name in ("CLONE_VM", "CLONE_FILES", "CLONE_THREAD")}


def flags_of(name: str, text: str) -> str:
    """The clone flags in the text of a birth, by name; those that nobody asks for may be missing.

    A clone3 whose structure is not shown is a thread: that is what the C library uses it for.
    """
    if not CALLS[name].params:
        return ""
    inside = without_comments(text[text.find("(") + 1 :])
    _, given, rest = inside.partition("flags=")
    word = (rest if given else inside).split(",")[0].split("}")[0].split(")")[0].strip()
    if _FLAG_NAMES.fullmatch(word):
        return word
    if not given and name == "clone3":
        return "|".join(_KNOWN)
    bits = 0
    for part in word.split("|"):
        try:
            bits |= _KNOWN[part] if part in _KNOWN else int(part, 0)
        except ValueError:
            continue
    return "|".join([n for n, bit in _KNOWN.items() if bits & bit]) or "SIGCHLD"
