"""A strace log's lines -> Events, one pass, in constant memory.

The loop that a million lines go through looks only at the name of each line's call; whatever else
a line can be is sorted out beyond it. Knows which calls matter to memory and how the halves of one
belong together; spelling is line's, arguments are calls', processes and descriptors their modules'.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final, cast

from vmatrace import abi
from vmatrace.calls import ALIASES, BIRTHS, CALLS, EXECS, LIFE, used_by
from vmatrace.diagnostic import Diagnostic
from vmatrace.event import Arg, Event, Fd, File
from vmatrace.importers import native
from vmatrace.importers.machine import LogMachine
from vmatrace.importers.prefixes import PART
from vmatrace.importers.strace import descriptors
from vmatrace.importers.strace import line as logline
from vmatrace.importers.strace.calls import (
    ADJUSTED,
    Adjuster,
    NotShownError,
    concerns_memory,
)
from vmatrace.importers.strace.line import DETACHED, UNFINISHED
from vmatrace.importers.strace.processes import Process, Processes, Unfinished, flags_of
from vmatrace.notes import Notes
from vmatrace.trace.callstring import CallError, CallParser

#: So many names of calls that mean nothing to memory are known at sight, and so many prefixes.
_MOST_NAMES: Final = 1000
_MOST_PREFIXES: Final = 4096
#: Calls that change the layout or what merges, and that the model does not know.
_NOT_MODELLED: Final = ("map_shadow_stack", "syscall_0x1c5")
#: How a line goes on that a message has cut in two.
_CONTINUED: Final = (")", ",", "=> ", "}", "]", "|", "<unfinished ...>")
_WAITS: Final = ("wait4", "waitpid", "waitid")
#: A wait4 that may be about a child that has stopped and goes on.
_STOPPED: Final = re.compile(r"WIFSTOPPED|WIFCONTINUED|NULL, .*(?:WUNTRACED|WSTOPPED|WCONTINUED)")
_LONGEST: Final = 65536  # of a line that is kept for a message or for its second half

_Handler = Callable[[Process, str, str, int], None]
_MEMORY: Final = frozenset(call.name for call in used_by("log")) - LIFE
#: Calls whose result is where memory is; that can make memory writable; that need a closer look.
_PLACING: Final = frozenset({"mmap", "mremap", "shmat"})
_WRITABLE: Final = frozenset({"mmap", "mprotect", "pkey_mprotect", "brk"})
_LOOKED_UP: Final = _PLACING | ADJUSTED | {"brk"}


class Reader:
    """Reads one log, chunk by chunk; ``chunk()`` gives the events of each, ``end()`` the last.

    *path* is what messages call the log; ``place`` overrides path and line where a log has several
    files. *faulted*: private memory counts as written to as soon as it is writable. What becomes of
    calls gathers in ``_out`` and in *notes*. *groups* is for the log of another tracer, whose lines
    come by ``retold()``, ``passed()`` and ``wrong()``: Processes.groups.
    """

    def __init__(
        self, path: str, notes: Notes, faulted: bool, machine: LogMachine,
        groups: Mapping[str, str] | None = None,
    ) -> None:  # fmt: skip
        self.path = path
        self.place: tuple[str, int] | None = None
        #: The pid of lines that state none, in a file of its own.
        self.own: str | None = None
        self._notes = notes
        self._faulted = faulted
        self._page = machine.page_size
        self._task_size = abi.ANY_TASK_SIZE
        if machine.arch is not None:
            self._task_size = abi.TASK_SIZES[machine.arch]
        self._out: list[Event] = []
        self._parse = CallParser(machine.page_size).parse
        self._processes = Processes(notes, self._emit, groups)
        #: The line as another tracer wrote it; and whether it has none for the ends of processes.
        self._shown: str | None = None
        self._silent_ends = groups is not None
        self._calls = Adjuster(machine.arch)
        self._arch = machine.arch
        self._native = native.calls(machine.arch)
        self._handlers: dict[str, _Handler] = {
            **dict.fromkeys(_MEMORY, self._memory),
            **dict.fromkeys(
                (*_LOOKED_UP, *self._calls.other_names, *self._native), self._memory_looked_up
            ),
            **dict.fromkeys(descriptors.NAMES, self._descriptor),
            **dict.fromkeys(BIRTHS, self._birth),
            **dict.fromkeys((*EXECS, *ALIASES), self._exec),
            "exit_group": self._exit_group,
            **({"exit": self._exit} if groups is not None else {}),
            "shmget": self._shmget,
            **dict.fromkeys(_WAITS, self._wait),
        }
        #: Calls of munmap that have not returned: from where to where.
        self._unmapping: list[tuple[int, int, Process, Unfinished]] = []
        #: Whose call strace's own message has cut in two.
        self._broken: Process | None = None
        self._line = 0
        self._lines: list[str] = []  # of this chunk; _before counts those of the others
        self._before = 0
        self._last = ""
        self._given = 0
        self._prefixes: dict[str, logline.Line] = {}
        #: Names of calls that mean nothing to memory, and how often each has been seen.
        self._plain: dict[str, int] = {}
        self._stack_line = 0
        self._stack_event: Event | None = None
        self._stacks = False

    # --- the loop ------------------------------------------------------------------------------

    def chunk(self, lines: list[str]) -> list[Event]:
        """The events of the next *lines*, which have no line breaks."""
        plain, handlers = self._plain, self._handlers
        number = self._line
        self._lines, self._before = lines, number
        for line in lines:
            number += 1
            head, _, _ = line.partition("(")
            name = head[head.rfind(" ") + 1 :]
            if name in plain:
                plain[name] += 1
                continue
            handler = handlers.get(name)
            self._line = number
            if handler is not None:
                at = len(head) - len(name)
                process = self._process(line[:at])
                if process is not None:
                    handler(process, name, line[at:], number)
                    continue
            self._unusual(line, number)
        self._line = number
        self._last = self._line_before(number + 1)
        return self._taken()

    def _taken(self) -> list[Event]:
        """The events so far, without the last where its stack may follow."""
        events = self._out
        self._out = []
        if self._stacks and events:
            last = events[-1].line
            while events and events[-1].line == last:
                self._out.insert(0, events.pop())
        self._given += len(events)
        return events

    def end(self) -> list[Event]:
        """What is left to say when the log ends; the notes are complete then."""
        for process in reversed(self._processes.everyone()):  # the first one last
            call = process.unfinished
            if call is not None and not call.done:
                self._notes.joined -= 1
                self._notes.passed_over("unfinished")
            if process.dying:
                self._processes.end_unsaid(process, self._line)
        for name, count in self._plain.items():
            self._notes.passed[name] = self._notes.passed.get(name, 0) + count
        for name in _NOT_MODELLED:
            if name in self._plain:
                times = self._notes.passed[name]
                self._notes.assumed.append(f"Of {name} ({times}) it is not known what it does.")
        self._notes.lines = self._line
        self._stacks = False
        events = self._taken()
        self._notes.events = self._given - self._notes.supplied
        return events

    def _process(self, prefix: str) -> Process | None:
        """The process that a call behind *prefix* is of, None where that takes a closer look."""
        known = self._prefixes.get(prefix)
        if known is None:
            known = logline.prefix(prefix)
            if known is None:
                return None
            if not known.text:
                if len(self._prefixes) >= _MOST_PREFIXES:
                    self._prefixes.clear()
                self._prefixes[prefix] = known
        return self._processes.find(known.number or self.own)

    # --- lines of other tracers ----------------------------------------------------------------

    def retold(self, text: str, shown: str) -> list[Event]:
        """The events of the next line, which is *text* in strace's spelling, *shown* as it is."""
        self._shown = shown
        return self.chunk([text])

    def passed(self, kind: str) -> None:
        """The next line means nothing to memory."""
        self._line += 1
        self._notes.passed_over(kind)

    def wrong(self, why: str, shown: str, offset: int) -> None:
        """The next line was not understood, at *offset*."""
        self._line += 1
        self._shown = None
        self._misread(shown, self._line, offset, why)

    def await_stacks(self) -> None:
        """Hold each event back until the next line shows whether its stack follows."""
        self._stacks = True

    def take_accesses(self) -> None:
        """Let the log have fault() events, which are no system calls."""
        self._handlers["fault"] = self._memory

    def start_with(self, files: Mapping[int, File], complete: bool) -> None:
        """The first process has *files* open at its start; *complete*: and no others."""
        self._processes.opened = self._calls.describe(files, complete)

    # --- everything else -----------------------------------------------------------------------

    def _unusual(self, line: str, number: int) -> None:
        """A line that the loop knows nothing of."""
        if line == PART:
            self._notes.joined += 1
            return
        if line.startswith(" > "):
            self._frame(line, number)
            return
        stated, bracket, text = logline.taken_apart(line)
        kind = logline.chatter(line, text)
        if kind is not None:
            self._said(logline.message(text))
            if kind == "signal":
                self._reaped(logline.dead(text), number)
            self._notes.passed_over(kind)
            return
        if text.startswith(_CONTINUED) or logline.is_cut(self._line_before(number)):
            self._broken_off(text, number)
            return
        name = logline.call_name(text)
        second = logline.resumed(text)
        ended = text.startswith("+++ ")
        if name is None and second is None and not ended:
            self._misread(
                line, number, 0, "not a line of strace (expected a call, a signal or an end)"
            )
            return
        if name is not None and name not in self._handlers:
            self._other_call(name, text, line, number)
            return
        if second is not None and second[0] is not None and second[0] not in self._handlers:
            self._notes.joined += 1
            return
        stated = stated or self.own
        if stated is not None and not logline.is_pid(stated):
            self._misread(line, number, 0, "no process has that pid")
            return
        if ended and not self._processes.is_expected(stated):
            self._notes.passed_over("exit")
            return
        process = self._processes.get(stated, number, bracket, text)
        if process is None:
            if ended:
                self._notes.passed_over("exit")
            else:
                self._misread(
                    line, number, 0, "its process has ended, and so has whoever could fork"
                )
        elif second is not None:
            self._resume(process, *second, number)
        elif ended:
            self._ended(process, text, number)
        else:
            assert name is not None
            self._handlers[name](process, name, text, number)

    def _other_call(self, name: str, text: str, line: str, number: int) -> None:
        """A call that means nothing to memory; its name is known at sight from here on."""
        if logline.is_whole(text):
            if not self._prefixes:
                # The first line makes the first process known, even when it is only a read.
                stated, bracket, _ = logline.taken_apart(line)
                stated = stated or self.own
                if stated is None or logline.is_pid(stated):
                    self._processes.get(stated, number, bracket, text)
            self._notes.passed_over(name)
            if len(self._plain) < _MOST_NAMES:
                self._plain.setdefault(name, 0)
        else:
            self._misread(line, number, len(line), "the line is cut (expected ' = ' and a result)")

    def _line_before(self, number: int) -> str:
        """The line before line *number*, messages of strace's aside."""
        index = number - self._before - 2
        while index >= 0 and logline.is_message(self._lines[index]):
            index -= 1
        return self._lines[index] if index >= 0 else self._last

    def _broken_off(self, text: str, number: int) -> None:
        """*text* continues a line that strace's own message has cut in two."""
        process, self._broken = self._broken, None
        if process is None or process.ended or text.startswith("<unfinished"):
            self._notes.joined += 1
        else:
            self._resume(process, None, text if text[0] in "),|" else f" {text}", number)

    def _frame(self, line: str, number: int) -> None:
        """One line of a stack: the first of them outside the C library is the caller."""
        self._notes.passed_over("stack")
        self._stacks = True
        first = self._stack_line != number - 1
        self._stack_line = number
        if first:
            own = [event for event in self._out[-3:] if event.line == number - 1]
            self._stack_event = own[0] if own else None
        event = self._stack_event
        found = logline.frame(line) if event is not None else None
        if event is not None and found is not None:
            text, wrapper = found
            if event.caller is None or not wrapper:
                event.caller = text
            if not wrapper:
                self._stack_event = None

    # --- calls that matter to memory -------------------------------------------------------------

    def _memory(self, process: Process, name: str, text: str, line: int) -> None:
        """A call whose arguments mean what they say."""
        if text[-1:] in ">)?" or ")  " in text:
            whole = self._whole(process, name, text, line)
            if whole is None or self._is_unanswered(whole):
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
            self._touch(event)

    def _memory_looked_up(self, process: Process, name: str, text: str, line: int) -> None:
        """A call with something in it that has to be looked up first (stracecalls)."""
        whole = text
        if text[-1:] in ">)?" or ")  " in text:
            cleaned = self._whole(process, name, text, line)
            if cleaned is None or self._is_unanswered(cleaned):
                return
            whole = cleaned
        if not concerns_memory(name, whole):
            self._notes.passed_over(name)
            return
        try:
            if name in self._calls.other_names:
                whole, name = self._calls.renamed(whole, name)
            if name in self._native:
                whole = native.text(self._arch, name, whole)
            _, _, args, recorded, symbolic, call = self._parse(whole)
            if recorded is None:
                self._no_result(whole, call, line)
                return
            args = self._calls.adjust(name, args, process, symbolic)
        except (CallError, NotShownError) as error:
            self._not_understood(process, name, whole, line, error)
            return
        if name in _PLACING and recorded > 0:
            if recorded % self._page or recorded >= self._task_size:
                self._misread(whole, line, len(call), self._no_address(recorded))
                return
            if self._unmapping:
                self._flush_unmaps(recorded, _placed(name, args))
        before = self._note_break(process, args, recorded, line) if name == "brk" else 0
        event = Event(name, args, call, line, 1, process.name, None, recorded)
        self._out.append(event)
        if self._faulted and recorded >= 0:
            self._touch(event, before)

    def _no_address(self, result: int) -> str:
        what = f"the result is not the address of a page of {self._page} bytes"
        if result >= self._task_size:
            what = (
                f"the result is beyond the memory of a process, which ends at {self._task_size:#x}"
            )
        option = "--page-size" if result % self._page else "--arch"
        return f"{what} (another machine? {option} says which)"

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
        if self._broke_off(process, name, text, line):
            return
        self._misread(text, line, getattr(error, "offset", 0), str(error))

    def _is_unanswered(self, text: str) -> bool:
        if logline.is_unanswered(text):
            self._notes.passed_over("interrupted")
            return True
        return False

    def _broke_off(self, process: Process, name: str, text: str, line: int) -> bool:
        """Whether strace's own message cuts the call *text* in two; its first half is kept then."""
        said = logline.message(text)
        if said is None:
            return False
        self._interrupt(process, name, text[: said.start()], line)
        self._broken = process
        self._said(said)
        return True

    def _said(self, said: re.Match[str] | None) -> None:
        """Strace's message about a process: it is there from now on."""
        if said is not None and said["attached"]:
            self._processes.announce(said["pid"].lstrip("0"), said["threads"])

    def _no_result(self, text: str, call: str, line: int) -> None:
        """``= ?``: the process ended in the call, or will make it anew; neither did anything."""
        if text[len(call) :].lstrip(" =").startswith("?"):
            self._notes.passed_over("interrupted")
        else:
            self._misread(text, line, len(text), "the call has no result (expected ' = ' and one)")

    def _touch(self, event: Event, before: int = 0) -> None:
        """Write to what *event* made writable and private; *before* was the program break."""
        args, name, recorded = event.args, event.name, cast(int, event.recorded)
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
            self._given += 1
            event.first_write = (start, length)

    # --- halves of calls -------------------------------------------------------------------------

    def _interrupt(self, process: Process, name: str, text: str, line: int) -> None:
        """Keep the first half of a call until the second one comes."""
        before = process.unfinished
        if before is not None and not before.done:
            self._notes.joined -= 1
            self._notes.passed_over("unfinished")
        self._notes.joined += 1
        process.unfinished = call = Unfinished(name, text[:_LONGEST], line)
        if name == "munmap":
            start, _, length = text.partition("(")[2].partition(", ")
            try:
                low = int(start, 0)
                self._unmapping.append((low, low + int(length.rstrip(") "), 0), process, call))
            except ValueError:
                return

    def _flush_unmaps(self, start: int, length: int) -> None:
        """Let an munmap have been, whose result comes later, if memory is placed there now."""
        waiting = []
        for low, high, process, call in self._unmapping:
            if process.ended or process.unfinished is not call:
                continue
            if low < start + length and start < high:
                call.done = True
                self._notes.joined -= 1
                event = Event("munmap", (low, high - low), call.text, call.line, 1, process.name)
                event.recorded = 0
                self._out.append(event)
            else:
                waiting.append((low, high, process, call))
        self._unmapping = waiting

    def _resume(self, process: Process, name: str | None, rest: str, line: int) -> None:
        """The second half of a call."""
        call = process.unfinished
        if call is None or name not in (None, call.name):
            if name in self._handlers and name not in _WAITS:
                self._misread(f"<... {name} resumed>{rest}", line, 0, "the call's start is missing")
            else:
                self._notes.joined += 1
            return
        process.unfinished = None
        if call.done and not (call.child is not None and _names_another(rest, call.child)):
            self._notes.joined += 1
            return
        rest = rest.removeprefix(UNFINISHED)  # before ") = ?", of a process that was killed
        text = (call.text.rstrip() if rest[:1] == ")" else call.text) + rest
        self._handlers[call.name](process, call.name, text, line)

    # --- processes -------------------------------------------------------------------------------

    def _birth(self, process: Process, name: str, text: str, line: int) -> None:
        if self._broke_off(process, name, text, line):
            return
        whole = self._whole(process, name, text, line)
        if whole is None or self._is_unanswered(whole):
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
        if whole is None or self._is_unanswered(whole):
            return
        inside, result = logline.split(whole)
        if result.strip() != "0":
            if inside or not self._broke_off(process, name, text, line):
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
        if self._silent_ends:
            for thread in [each for each in process.group if each is not process]:
                self._processes.end_unsaid(thread, line)
            self._exit(process, name, text, line)
            return
        for thread in process.group:
            thread.dying = True
        if self._whole(process, name, text, line) is not None:
            self._notes.passed_over(name)

    def _exit(self, process: Process, name: str, text: str, line: int) -> None:
        """The last call of a thread, of which no further line tells the end."""
        status = logline.first_number(text)
        self._processes.end(process, line, None if status is None else status & 0xFF)

    def _ended(self, process: Process, text: str, line: int) -> None:
        """``+++ exited with 0 +++`` and its like."""
        leader = logline.superseding(text)
        if leader is not None:
            self._notes.passed_over("exit")
            self._processes.take_over(process, leader, line)
            return
        self._processes.end(process, line, logline.exit_status(text))

    # --- descriptors and what cannot be read -----------------------------------------------------

    def _descriptor(self, process: Process, name: str, text: str, line: int) -> None:
        if " = -1 " in text:
            self._notes.passed_over(name)
            return
        if name == "close" and text[-4:] == " = 0":  # every other line of some logs
            closed = text[6 : text.find(")")]
            if closed.isascii() and closed.isdecimal():
                self._notes.passed_over(name)
                process.table.drop(int(closed))
                return
        whole = self._whole(process, name, text, line)
        if whole is not None:
            self._notes.passed_over(name)
            descriptors.follow(process.table, name, *logline.split(whole))

    def _wait(self, process: Process, name: str, text: str, line: int) -> None:
        """A log without -f shows no end of a child but that somebody waited for it."""
        if self._broke_off(process, name, text, line):
            return
        whole = self._whole(process, name, text, line)
        if whole is None:
            return
        self._notes.passed_over(name)
        dead = logline.dead(whole)
        if dead is None and name != "waitid" and not _STOPPED.search(whole):
            dead = logline.child(whole)
        self._reaped(dead, line)

    def _reaped(self, number: str | None, line: int) -> None:
        """Process *number* has ended. In files of their own, a line's time is that of its start."""
        if number is not None and self.own is None:
            self._processes.reaped(number, line)

    def _shmget(self, process: Process, name: str, text: str, line: int) -> None:
        whole = self._whole(process, name, text, line)
        if whole is not None:
            self._notes.passed_over(name)
            self._calls.segment(*logline.split(whole))

    def _misread(self, text: str, line: int, offset: int, why: str) -> None:
        path, number = self.place or (self.path, line)
        if self._shown is not None:
            offset = logline.place_in(self._shown, text, offset)
            text = self._shown
        text = text[:_LONGEST]
        self._notes.misunderstood(Diagnostic(path, number, offset + 1, why, text))

    def _emit(self, event: Event) -> None:
        self._out.append(event)


def _placed(name: str, args: tuple[Arg, ...]) -> int:
    """How many bytes a call of _PLACING maps where its result is; at least one."""
    if name != "shmat":
        return cast(int, args[2 if name == "mremap" else 1])
    segment = args[0].file if isinstance(args[0], Fd) else None
    return (segment.size if segment is not None else None) or 1


def _names_another(rest: str, child: str) -> bool:
    """Whether the result of a birth is another process than what was taken for its child."""
    number = logline.child(f"clone({rest}")
    return number is not None and number != child
