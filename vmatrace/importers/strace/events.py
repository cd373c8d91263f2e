"""Calls in a strace log -> Events: what each call that matters to memory becomes.

Knows which calls those are, and how the halves of one belong together; spelling is straceline's,
arguments are stracecalls', processes and descriptors are their modules'.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, cast

from vmatrace import abi
from vmatrace.calls import ALIASES, BIRTHS, CALLS, EXECS, LIFE, used_by
from vmatrace.diagnostic import Diagnostic
from vmatrace.event import Arg, Event
from vmatrace.importers.strace import descriptors, logline
from vmatrace.importers.strace.calls import (
    ADJUSTED,
    OTHER_NAMES,
    Adjuster,
    NotShownError,
    concerns_memory,
)
from vmatrace.importers.strace.logline import DETACHED, UNFINISHED
from vmatrace.importers.strace.processes import Process, Processes, Unfinished, flags_of
from vmatrace.notes import Notes
from vmatrace.trace.callstring import CallError, CallParser

_LONGEST: Final = 65536  # of a line that is kept for a message or for its second half
_PAGE: Final = 4096


_Handler = Callable[[Process, str, str, int], None]
_MEMORY: Final = frozenset(call.name for call in used_by("log")) - LIFE
#: Calls whose result is where memory is; that can make memory writable; that need a closer look.
_PLACING: Final = frozenset({"mmap", "mremap", "shmat"})
_WRITABLE: Final = frozenset({"mmap", "mprotect", "pkey_mprotect", "brk"})
_LOOKED_UP: Final = _PLACING | ADJUSTED | {"brk"}


class Calls:
    """Makes events of calls, each given as its process, its name, its text and its line.

    *path* is what messages call the log; ``place`` overrides path and line where a log has several
    files. *faulted*: private memory counts as written to as soon as it is writable. What becomes of
    calls gathers in ``_out`` and in *notes*.
    """

    def __init__(self, path: str, notes: Notes, faulted: bool) -> None:
        self.path = path
        self.place: tuple[str, int] | None = None
        self._notes = notes
        self._faulted = faulted
        self._out: list[Event] = []
        self._parse = CallParser().parse
        self._processes = Processes(notes, self._emit)
        self._calls = Adjuster()
        self._handlers: dict[str, _Handler] = {
            **dict.fromkeys(_MEMORY, self._memory),
            **dict.fromkeys((*_LOOKED_UP, *OTHER_NAMES), self._memory_looked_up),
            **dict.fromkeys(descriptors.NAMES, self._descriptor),
            **dict.fromkeys(BIRTHS, self._birth),
            **dict.fromkeys((*EXECS, *ALIASES), self._exec),
            "exit_group": self._exit_group,
            "shmget": self._shmget,
        }
        self._unmapping: list[tuple[int, int, Process]] = []
        #: Whose call strace's own message has cut in two.
        self._broken: Process | None = None

    # --- calls that matter to memory -------------------------------------------------------------

    def _memory(self, process: Process, name: str, text: str, line: int) -> None:
        """A call whose arguments mean what they say."""
        if text[-1:] in ">)" or ")  " in text:
            whole = self._whole(process, name, text, line)
            if whole is None:
                return
            text = whole
        try:
            _, _, args, recorded, symbolic, call = self._parse(text)
            if symbolic:
                raise NotShownError("an argument is neither a number nor a constant")
        except (CallError, NotShownError) as error:
            self._not_understood(process, name, text, line, error)
            return
        if recorded is None:
            self._no_result(text, call, line)
            return
        event = Event(name, args, call, line, 1, process.name, None, recorded)
        self._out.append(event)
        if self._faulted and name in _WRITABLE and recorded >= 0:
            self._touch(process, event, recorded)

    def _memory_looked_up(self, process: Process, name: str, text: str, line: int) -> None:
        """A call with something in it that has to be looked up first (stracecalls)."""
        whole = text
        if text[-1:] in ">)" or ")  " in text:
            cleaned = self._whole(process, name, text, line)
            if cleaned is None:
                return
            whole = cleaned
        if not concerns_memory(name, whole):
            self._notes.passed_over(name)
            return
        try:
            if name in OTHER_NAMES:
                whole, name = self._calls.renamed(whole, name)
            _, _, args, recorded, symbolic, call = self._parse(whole)
            if recorded is None:
                self._no_result(whole, call, line)
                return
            args = self._calls.adjust(name, args, process, symbolic)
        except (CallError, NotShownError) as error:
            self._not_understood(process, name, whole, line, error)
            return
        if name in _PLACING and recorded > 0:
            if recorded % _PAGE or recorded >= abi.TASK_SIZE:
                self._misread(whole, line, len(call), "the result is not the address of a page")
                return
            if self._unmapping:
                self._flush_unmaps(recorded, args)
        before = self._note_break(process, args, recorded, line) if name == "brk" else 0
        event = Event(name, args, call, line, 1, process.name, None, recorded)
        self._out.append(event)
        if self._faulted and recorded >= 0:
            self._touch(process, event, recorded, before)

    def _note_break(self, process: Process, args: tuple[Arg, ...], recorded: int, line: int) -> int:
        """The program break before a brk. One that moved by itself is that of another program."""
        known = process.space.brk
        if known not in (None, recorded) and args[0] == 0:
            self._processes.renew(process, line)
            known = None
        process.space.brk = recorded
        return recorded if known is None else known

    def _whole(self, process: Process, name: str, text: str, line: int) -> str | None:
        """The call *text*, cleaned, if all of it is there and the kernel has answered it."""
        if text.endswith(UNFINISHED):
            self._interrupt(process, name, text[: -len(UNFINISHED)], line)
            return None
        if text.endswith(DETACHED):
            self._notes.passed_over("unfinished")
            return None
        text = logline.cleaned(text)
        if logline.is_injected(text):
            self._notes.passed_over("injected")
            return None
        return text

    def _not_understood(
        self, process: Process, name: str, text: str, line: int, error: CallError | NotShownError
    ) -> None:
        """A call of memory that cannot be read: strace's own message may have cut it in two."""
        announced = logline.attached(text)
        if announced is not None:
            self._interrupt(process, name, text[: announced.start()], line)
            self._broken = process
            self._processes.announce(announced[1], announced[2])
            return
        self._misread(text, line, getattr(error, "offset", 0), str(error))

    def _no_result(self, text: str, call: str, line: int) -> None:
        """``= ?``: the process ended in the call, or will make it anew; neither did anything."""
        if text[len(call) :].lstrip(" =").startswith("?"):
            self._notes.passed_over("interrupted")
        else:
            self._misread(text, line, len(text), "the call has no result (expected ' = ' and one)")

    def _touch(self, process: Process, event: Event, recorded: int, before: int = 0) -> None:
        """Write to what *event* made writable and private; *before* was the program break."""
        args, name = event.args, event.name
        if name == "brk":
            start, length = before, recorded - before
        elif name in _WRITABLE and cast(int, args[2]) & abi.PROT_WRITE:
            start, length = cast("tuple[int, int]", args[:2])
            if name == "mmap":
                start = recorded
                if cast(int, args[3]) & abi.MAP_TYPE != abi.MAP_PRIVATE:
                    return
        else:
            return
        if length > 0:
            self._notes.supplied += 1
            text = f"fault({start:#x}, {length:#x}, PROT_WRITE)"
            access = (start, length, abi.PROT_WRITE)
            self._out.append(Event("fault", access, text, event.line, 1, process.name))

    # --- halves of calls -------------------------------------------------------------------------

    def _interrupt(self, process: Process, name: str, text: str, line: int) -> None:
        """Keep the first half of a call until the second one comes."""
        before = process.unfinished
        if before is not None and not before.done:
            self._notes.joined -= 1
            self._notes.passed_over("unfinished")
        self._notes.joined += 1
        process.unfinished = Unfinished(name, text[:_LONGEST], line)
        if name == "munmap":
            start, _, length = text.partition("(")[2].partition(", ")
            try:
                low = int(start, 0)
                self._unmapping.append((low, low + int(length.rstrip(") "), 0), process))
            except ValueError:
                return

    def _flush_unmaps(self, start: int, args: tuple[Arg, ...]) -> None:
        """Let an munmap have been, whose result comes later, if memory is placed there now."""
        length = args[1] if isinstance(args[1], int) else 0
        waiting = []
        for low, high, process in self._unmapping:
            call = process.unfinished
            if process.ended or call is None or call.name != "munmap" or call.done:
                continue
            if low < start + length and start < high:
                call.done = True
                self._notes.joined -= 1
                event = Event("munmap", (low, high - low), call.text, call.line, 1, process.name)
                event.recorded = 0
                self._out.append(event)
            else:
                waiting.append((low, high, process))
        self._unmapping = waiting

    def _resume(self, process: Process, name: str | None, rest: str, line: int) -> None:
        """The second half of a call."""
        call = process.unfinished
        if call is None or name not in (None, call.name):
            if name in self._handlers:
                self._misread(f"<... {name} resumed>{rest}", line, 0, "the call's start is missing")
            else:
                self._notes.joined += 1
            return
        process.unfinished = None
        if call.done and not (call.child is not None and _names_another(rest, call.child)):
            self._notes.joined += 1
            return
        text = (call.text.rstrip() if rest[:1] == ")" else call.text) + rest
        self._handlers[call.name](process, call.name, text, line)

    # --- processes -------------------------------------------------------------------------------

    def _birth(self, process: Process, name: str, text: str, line: int) -> None:
        announced = logline.attached(text)
        if announced is not None and "\n" not in text:
            self._interrupt(process, name, text[: announced.start()], line)
            self._broken = process
            self._processes.announce(announced[1], announced[2])
            return
        whole = self._whole(process, name, text, line)
        if whole is None:
            return
        number = logline.child(whole)
        if number is None:
            self._failed(process, name, whole, line)
            return
        if number == process.number:
            self._misread(whole, line, len(whole), "the new process has the pid of its parent")
            return
        self._processes.bore(process, name, whole, line, number, flags_of(name, whole))

    def _exec(self, process: Process, name: str, text: str, line: int) -> None:
        whole = self._whole(process, name, text, line)
        if whole is None:
            return
        inside, result = logline.split(whole)
        if result.strip() != "0":
            self._failed(process, "execve", whole, line)
            return
        self._processes.executed(process, line)
        path = descriptors.first_string(inside)
        self._emit(Event("execve", (path,), whole, line, 1, process.name, None, 0))

    def _failed(self, process: Process, name: str, text: str, line: int) -> None:
        """A birth or exec that gave no process or image."""
        _, result = logline.split(text)
        if result.startswith("?") or result.strip() == "0":
            self._notes.passed_over("interrupted")
            return
        try:
            recorded = CallParser().result(result) if result else None
        except CallError:
            recorded = None
        if recorded is None or recorded >= 0:
            self._misread(text, line, len(text), "the call has no result (expected ' = ' and one)")
            return
        args: tuple[Arg, ...] = ()
        if name in EXECS:
            args = (descriptors.first_string(text),)
        elif CALLS[name].params:
            args = (f"flags={flags_of(name, text)}",)
        self._emit(Event(name, args, text, line, 1, process.name, None, recorded))

    def _exit_group(self, process: Process, name: str, text: str, line: int) -> None:
        """All threads end; each has a line of its own for that, unless strace is to be quiet."""
        for thread in process.group:
            thread.dying = True
        if self._whole(process, name, text, line) is not None:
            self._notes.passed_over(name)

    def _ended(self, process: Process, text: str, line: int) -> None:
        """``+++ exited with 0 +++`` and its like."""
        leader = logline.superseding(text)
        if leader is not None:
            self._notes.passed_over("exit")
            self._processes.take_over(process, leader, line)
            return
        self._processes.end(process, line, "", logline.exit_status(text))

    # --- descriptors and what cannot be read -----------------------------------------------------

    def _descriptor(self, process: Process, name: str, text: str, line: int) -> None:
        if " = -1 " in text:
            self._notes.passed_over(name)
            return
        if name == "close" and text[-4:] == " = 0":  # every other line of some logs
            closed = text[6 : text.find(")")]
            if closed.isdecimal():
                self._notes.passed_over(name)
                process.table.drop(int(closed))
                return
        whole = self._whole(process, name, text, line)
        if whole is not None:
            self._notes.passed_over(name)
            descriptors.follow(process.table, name, *logline.split(whole))

    def _shmget(self, process: Process, name: str, text: str, line: int) -> None:
        whole = self._whole(process, name, text, line)
        if whole is not None:
            self._notes.passed_over(name)
            self._calls.segment(*logline.split(whole))

    def _misread(self, text: str, line: int, offset: int, why: str) -> None:
        path, number = self.place or (self.path, line)
        text = text[:_LONGEST]
        self._notes.misunderstood(Diagnostic(path, number, offset + 1, why, text))

    def _emit(self, event: Event) -> None:
        self._out.append(event)


def _names_another(rest: str, child: str) -> bool:
    """Whether the result of a birth is another process than what was taken for its child."""
    number = logline.child(f"clone({rest}")
    return number is not None and number != child
