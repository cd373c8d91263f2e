"""A strace log's lines -> Events, one pass, in constant memory.

The loop that a million lines go through looks only at the name of each line's call; whatever else
a line can be is sorted out beyond it. What calls become is straceevents'.
"""

from __future__ import annotations

from typing import Final

from vmatrace.event import Event
from vmatrace.importers.strace import logline
from vmatrace.importers.strace.events import Calls
from vmatrace.importers.strace.processes import Process
from vmatrace.notes import Notes

#: So many names of calls that mean nothing to memory are known at sight, and so many prefixes.
_MOST_NAMES: Final = 1000
_MOST_PREFIXES: Final = 4096
#: Calls that change the layout or what merges, and that the model does not know.
_NOT_MODELLED: Final = ("map_shadow_stack", "syscall_0x1c5", "io_setup", "set_mempolicy_home_node")
#: How a line goes on that a message has cut in two.
_CONTINUED: Final = (")", ",", "=> ", "}", "]", "|", "<unfinished ...>")


class Reader(Calls):
    """Reads one log, chunk by chunk; ``chunk()`` gives the events of each, ``end()`` the last."""

    def __init__(self, path: str, notes: Notes, faulted: bool) -> None:
        super().__init__(path, notes, faulted)
        #: The pid of lines that state none, in a file of its own.
        self.own: str | None = None
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
                process = self._process(line[:at], number)
                if process is not None:
                    handler(process, name, line[at:], number)
                    continue
            self._unusual(line, number)
        self._line = number
        self._last = lines[-1] if lines else self._last
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
                self._processes.end(process, self._line, "its end is not in the log")
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

    def _process(self, prefix: str, line: int) -> Process | None:
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

    # --- everything else -----------------------------------------------------------------------

    def _unusual(self, line: str, number: int) -> None:
        """A line that the loop knows nothing of."""
        if line.startswith(" > "):
            self._frame(line, number)
            return
        stated, bracket, text = logline.taken_apart(line)
        kind = logline.chatter(line, text)
        if kind is not None:
            announced = logline.attached(text)
            if announced is not None:
                self._processes.announce(announced[1], announced[2])
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
        index = number - self._before - 2
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
