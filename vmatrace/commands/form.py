"""What a form of output is, and the usual kinds; the forms of each command are found by forms."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final, Generic, TextIO, TypeVar

if TYPE_CHECKING:
    from types import ModuleType

    from vmatrace.diagnostic import TraceError
    from vmatrace.render.paper import Paper
    from vmatrace.render.problems import Problem

Answer = TypeVar("Answer")

#: The table as a terminal draws it, and the suffixes of such files.
PICTURES: Final = {"svg": (".svg",), "html-fragment": ()}


class Form(Generic[Answer]):
    """Writes the answers of one run to ``out`` as they come; ``count`` traces were asked about."""

    def __init__(self, out: TextIO, count: int = 1) -> None:
        self.out = out
        self.count = count

    def write(self, answer: Answer) -> None:
        """Take the next answer."""
        raise NotImplementedError

    def refuse(self, error: TraceError) -> None:
        """A trace has no answer for what is wrong with it, which standard error says as well."""

    def finish(self) -> None:
        """There are no more."""


class Each(Form[Answer]):
    """A form that is nothing but its answers, each written by *write*."""

    def __init__(self, out: TextIO, write: Callable[[TextIO, Answer], None]) -> None:
        super().__init__(out)
        self._write = write

    def write(self, answer: Answer) -> None:
        self._write(self.out, answer)


class Reports(Form[Answer]):
    """A form that is one report about all problems: those of each answer, and unreadable traces."""

    def __init__(
        self,
        out: TextIO,
        problems: Callable[[Answer], Iterable[Problem]],
        write: Callable[[TextIO, list[Problem]], None],
    ) -> None:
        super().__init__(out)
        self._problems = problems
        self._write = write
        self._found: list[Problem] = []

    def write(self, answer: Answer) -> None:
        self._found += self._problems(answer)

    def refuse(self, error: TraceError) -> None:
        from vmatrace.render.problems import of_error

        self._found += of_error(error)

    def finish(self) -> None:
        self._write(self.out, self._found)


class Pages(Form[Answer]):
    """A form for people: every answer is written on paper by *write*, an empty line between two."""

    def __init__(self, out: TextIO, write: Callable[[Paper, Answer], None]) -> None:
        from vmatrace.render import streams

        super().__init__(out)
        self._paper = streams.on(out)
        self._write = write
        self._begun = False

    def write(self, answer: Answer) -> None:
        if self._begun:
            self._paper.line("")
        self._begun = True
        self._write(self._paper, answer)


class Drawn(Form[Answer]):
    """The table, as a terminal of COLUMNS columns draws it (80, if that is not set)."""

    def __init__(self, out: TextIO, count: int, table: ModuleType, name: str) -> None:
        from vmatrace.render.picture import Sheet

        super().__init__(out, count)
        self._sheet = Sheet()
        self._form: Form[Answer] = table.form(self._sheet, count)
        self._name = name

    def write(self, answer: Answer) -> None:
        self._form.write(answer)

    def refuse(self, error: TraceError) -> None:
        self._form.refuse(error)

    def finish(self) -> None:
        self._form.count = self.count
        self._form.finish()
        self.out.write(self._sheet.svg() if self._name == "svg" else self._sheet.fragment())


class Picture:
    """The module of a form of PICTURES, made from that of the table."""

    def __init__(self, table: ModuleType, name: str) -> None:
        self._table = table
        self._name = name
        self.SUFFIXES = PICTURES[name]

    def form(self, out: TextIO, count: int) -> Form[Any]:
        """One picture of all answers."""
        return Drawn(out, count, self._table, self._name)
