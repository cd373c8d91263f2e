"""The YAML a trace may use, read as a stream of nodes with positions.

Knows YAML's events and scalars, and refuses what a trace does not need: tags, anchors, aliases,
merge keys, duplicate keys, a second document, deep nesting. Knows no key of a trace. The only user
of yaml, which is imported on first use.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, Final, Protocol, Union

from vmatrace.diagnostic import BrokenError, Collector, Source, quoted

#: Deepest nesting: events, event, expect, maps, mapping, flags are six.
MAX_DEPTH: Final = 8
#: Levels below a refused node that are still skipped, to report what comes after it.
_HOPELESS: Final = 100
#: A line that starts with something else than a comment or a list item. After "\n" alone the search
#: is many times as fast, and a "\r" is rare.
_TOP_LEVEL: Final = re.compile(rb"\n[^ \-#\r\n]")
_TOP_LEVEL_CR: Final = re.compile(rb"[\r\n][^ \-#\r\n]")
#: What the parsers' messages mean to somebody who does not know YAML's grammar.
_PLAIN_WORDS: Final = (
    (
        "mapping values are not allowed in this context",
        "unexpected ':' (text that contains ': ' must be in quotes)",
    ),
    ("found a tab character", "a tab cannot be used for indentation (expected spaces)"),
    ("could not find expected ':'", "expected ':' after a key"),
    ("did not find expected <document start>", "expected the end of the file"),
    ("did not find expected node content", "expected a value"),
    ("did not find expected key", "expected a key (is the indentation right?)"),
    ("did not find expected '-' indicator", "expected '- ' (is the indentation right?)"),
    ("did not find expected", "expected"),
    ("found unexpected end of stream", "the file ends inside a quoted string"),
)


class Mark(Protocol):
    """A position of yaml's; both numbers count from 0."""

    @property
    def line(self) -> int: ...
    @property
    def column(self) -> int: ...


class Scalar(Protocol):
    """A scalar: yaml's own event object, because one of our own would cost a third of the speed.

    ``style`` is empty or None for a plain scalar, else the character that introduces it.
    """

    @property
    def value(self) -> str: ...
    @property
    def style(self) -> str | None: ...
    @property
    def start_mark(self) -> Mark: ...
    @property
    def end_mark(self) -> Mark: ...


class MappingNode:
    """A mapping: its pairs in order. A value that was refused (and reported) is None."""

    __slots__ = ("column", "line", "pairs")

    def __init__(self, line: int, column: int) -> None:
        self.line = line
        self.column = column
        self.pairs: list[tuple[Scalar, Node | None]] = []


class SequenceNode:
    """A list: its items in order. An item that was refused (and reported) is None."""

    __slots__ = ("column", "items", "line")

    def __init__(self, line: int, column: int) -> None:
        self.line = line
        self.column = column
        self.items: list[Node | None] = []


Node = Union[Scalar, MappingNode, SequenceNode]


class YamlReader:
    """Nodes of one document, in one pass, with every refusal reported to *errors*.

    *part* is what to read of *source*, if not all of it, and *line* that of its start, from 0.
    """

    def __init__(
        self, source: Source, errors: Collector, part: bytes | None = None, line: int = 0
    ) -> None:
        import yaml

        self._yaml: Any = yaml
        self._source = source
        self._errors = errors
        self._part = part
        self._line = line
        self._gave_up = False
        self._get = self._events(_Stream(source) if part is None else part)

    @property
    def _data(self) -> bytes:
        return self._source.data if self._part is None else self._part

    def report_to(self, errors: Collector) -> None:
        """Report to *errors* from here on."""
        self._errors = errors

    def next(self) -> Any:
        """The next event of the parser. Raises BrokenError where the text is not YAML."""
        try:
            return self._get()
        except self._yaml.YAMLError as error:
            return self._held_back(error)

    def root(self) -> Any:
        """The event that starts the top-level node. Raises BrokenError if there is none."""
        self.next()
        event = self.next()
        if isinstance(event, self._yaml.StreamEndEvent):
            self._errors.add(1, 1, "the file is empty (expected the keys vmatrace and events)")
            raise BrokenError
        if event.tags:
            self.refuse(event, "a %TAG directive")
        return self.next()

    def finish(self) -> None:
        """The end of the document, which must be that of the file."""
        self.next()
        event = self.next()
        if not isinstance(event, self._yaml.StreamEndEvent):
            self.refuse(event, "a second document")

    def is_mapping(self, event: Any) -> bool:
        return isinstance(event, self._yaml.MappingStartEvent)

    def is_list(self, event: Any) -> bool:
        return isinstance(event, self._yaml.SequenceStartEvent)

    def is_scalar(self, event: Any) -> bool:
        return isinstance(event, self._yaml.ScalarEvent)

    def can_stream(self, event: Any) -> bool:
        """Whether *event*, the value of a top-level key in column 1, starts the last value.

        True for a block list after which no line can start another such key.
        """
        return (
            isinstance(event, self._yaml.SequenceStartEvent)
            and not event.flow_style
            and event.anchor is None
            and event.tag is None
            and _is_last(self._source, event.start_mark.line)
        )

    def refuse(self, event: Any, what: str) -> None:
        mark = event.start_mark
        self._errors.add(mark.line + 1, mark.column + 1, f"{what} is not allowed in a trace")

    def pairs(self, depth: int = 1) -> Iterator[tuple[Scalar, Any]]:
        """Keys of a mapping whose start was read, each with the *event* that starts its value.

        The caller reads the value before it goes on. Bad keys are reported and skipped.
        """
        seen: set[str] = set()
        while not isinstance(event := self.next(), self._yaml.MappingEndEvent):
            key = self.node(event, depth)
            value = self.next()
            if isinstance(key, self._yaml.ScalarEvent):
                if key.value in seen:
                    self._errors.add(*position(key), f"duplicate key {quoted(key.value)}")
                elif key.value == "<<" and not key.style:
                    self.refuse(key, "a merge key")
                else:
                    seen.add(key.value)
                    yield key, value
                    continue
            elif key is not None:
                self._errors.add(*position(key), "expected a key that is text")
            self.skip(value)

    def items(self) -> Iterator[Node | None]:
        """Items of a list whose start was read."""
        get, broken = self._get, self._yaml.YAMLError
        scalar, end = self._yaml.ScalarEvent, self._yaml.SequenceEndEvent
        while True:
            try:
                event = get()
            except broken as error:
                event = self._held_back(error)
                get = self._get
            if type(event) is scalar and event.anchor is None and event.tag is None:
                yield event
            elif type(event) is end:
                return
            else:
                yield self.node(event, 2)

    def whole_list(self, column: int) -> list[Node | None]:
        """The items of the document, a block list in *column* (from 0). Raises BrokenError."""
        self.next()
        event = self.next()
        if isinstance(event, self._yaml.StreamEndEvent):
            return []
        start = self.next()
        mark = start.start_mark
        if event.explicit or not isinstance(start, self._yaml.SequenceStartEvent):
            raise BrokenError
        if start.flow_style or start.anchor or start.tag or mark.column != column:
            raise BrokenError
        nodes = list(self.items())
        self.finish()
        return nodes

    def node(self, event: Any, depth: int = 0) -> Node | None:
        """The whole node that *event* starts; None if it was refused."""
        if isinstance(event, self._yaml.AliasEvent):
            self.refuse(event, "an alias (*)")
            return None
        refused = event.anchor is not None or event.tag is not None
        if refused:
            self.refuse(event, "an anchor (&)" if event.anchor is not None else "a tag (!)")
        if isinstance(event, self._yaml.ScalarEvent):
            return None if refused else event
        if depth >= MAX_DEPTH:
            self._errors.add(*position(event), f"nested deeper than {MAX_DEPTH} levels")
            self.skip(event)
            return None
        line, column = position(event)
        node: MappingNode | SequenceNode
        if self.is_mapping(event):
            node = MappingNode(line, column)
            for key, value in self.pairs(depth + 1):
                node.pairs.append((key, self.node(value, depth + 1)))
        else:
            node = SequenceNode(line, column)
            while not isinstance(event := self.next(), self._yaml.SequenceEndEvent):
                node.items.append(self.node(event, depth + 1))
        return None if refused else node

    def skip(self, event: Any) -> None:
        """Read to the end of the node that *event* starts."""
        starts = (self._yaml.MappingStartEvent, self._yaml.SequenceStartEvent)
        ends = (self._yaml.MappingEndEvent, self._yaml.SequenceEndEvent)
        depth = int(isinstance(event, starts))
        while depth:
            event = self.next()
            depth += isinstance(event, starts) - isinstance(event, ends)
            if depth > _HOPELESS:
                # Time that libyaml takes grows with the square of the depth.
                self._errors.add(*position(event), "nested too deeply to read on")
                raise BrokenError

    def _events(self, data: bytes | _Stream, error: Any = None) -> Callable[[], Any]:
        """What gives the events of *data*; where they reach the place of *error*, raises that."""
        get: Callable[[], Any] = _parser(data).get_event
        if error is not None:
            get = _until(get, error)
        return _shifted(get, self._line) if self._line else get

    def _held_back(self, error: Any) -> Any:
        """The event that the parser did not give out because of *error* further on in the line.

        What may be a key is scanned to its end first, and libyaml has a limit of its own for
        nesting since 0.2.6. So the text before the error is read once more, up to what is refused
        here. Raises BrokenError, with the error reported, where it is not about nesting.
        """
        mark = getattr(error, "problem_mark", None)
        if not self._gave_up and mark is not None:
            text = self._data.decode()[: mark.index]
            if _openings(text[mark.index - mark.column :]) > _HOPELESS:
                self._gave_up = True
                given = self._given()
                self._get = self._events(text.encode(), error)
                with suppress(self._yaml.YAMLError):
                    for _ in range(given):
                        self._get()
                    return self._get()
        self._report(error)
        raise BrokenError from error

    def _given(self) -> int:
        """How many events the parser gives out before it raises."""
        get, count = self._events(self._data), 0
        with suppress(self._yaml.YAMLError):
            while get() is not None:
                count += 1
        return count

    def _report(self, error: Any) -> None:
        mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        # At the end of the file the parsers name a line that is not there.
        line, column = min((line, column), self._source.end())
        text = self._source.line(line)
        problem = str(error.problem)  # what has none is about characters: decode_errors()
        if "cannot start any token" in problem and column <= len(text):
            char = text[column - 1]
            problem = (
                "found a tab character" if char == "\t"
                else f"{quoted(char)} cannot start a value (put the value in quotes)"
            )  # fmt: skip
        for words, plain in _PLAIN_WORDS:
            problem = problem.replace(words, plain) if words in problem else problem
        self._errors.add(line, column, problem)


def _openings(line: str) -> int:
    """How many more brackets *line* opens than it closes."""
    return sum(map(line.count, "[{")) - sum(map(line.count, "]}"))


def is_collection(data: bytes, cut: bool) -> bool:
    """Whether *data* is YAML, and more than one scalar. *cut*: it is only the start of it."""
    import yaml

    loader = yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader
    last = data.count(b"\n")
    found = False
    try:
        for event in yaml.parse(data, loader):
            found = found or isinstance(event, yaml.CollectionStartEvent)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        return cut and found and mark is not None and mark.line >= last
    return found


class _Stream:
    """What a parser reads all of a source from."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._at = 0

    def read(self, size: int) -> bytes:
        """The next bytes, *size* at most."""
        block = self._source.part(self._at, self._at + size)
        self._at += len(block)
        return block


def _parser(data: Any) -> Any:
    """The parser of libyaml, or the pure Python one where PyYAML was built without."""
    import yaml

    # A loader is a parser too, and only its parser is used: nothing is ever constructed.
    return yaml.CSafeLoader(data) if yaml.__with_libyaml__ else yaml.SafeLoader(data)


class _Mark:
    """A mark of a piece as one of the whole text."""

    __slots__ = ("column", "line")

    def __init__(self, mark: Mark, line: int) -> None:
        self.line = mark.line + line
        self.column = mark.column


def _shifted(get: Callable[[], Any], line: int) -> Callable[[], Any]:
    """*get* with its events' marks *line* lines further down."""

    def get_event() -> Any:
        event = get()
        event.start_mark = _Mark(event.start_mark, line)
        event.end_mark = _Mark(event.end_mark, line)
        return event

    return get_event


def _until(get: Callable[[], Any], error: Any) -> Callable[[], Any]:
    """*get*, raising *error* instead of an event that starts where that was found."""

    def get_event() -> Any:
        event = get()
        if event.start_mark.index >= error.problem_mark.index:
            raise error
        return event

    return get_event


def _is_last(source: Source, line: int) -> bool:
    """Whether nothing after *line* (from 0) starts in column 1 but comments and list items."""
    for _, block in source.windows(source.offset(line)):
        pattern = _TOP_LEVEL_CR if b"\r" in block else _TOP_LEVEL
        if pattern.search(b"\n" + block):
            return False
    return True


# --- positions --------------------------------------------------------------------------------


def position(node: Any) -> tuple[int, int]:
    """Line and column of a node or an event."""
    mark = getattr(node, "start_mark", None)
    return (node.line, node.column) if mark is None else (mark.line + 1, mark.column + 1)


def locate(source: Source, scalar: Scalar, offset: int) -> tuple[int, int]:
    """Line and column of character *offset* of the value of *scalar*.

    Value and source text have the same characters but for white space, which folding and
    indentation change; where an escape makes them differ otherwise, it is the scalar's position.
    """
    value, first = scalar.value, scalar.start_mark
    before = [char for char in value[:offset] if not char.isspace()]
    at_token = not value[offset : offset + 1].isspace()
    block = scalar.style in ("|", ">")
    row = first.line + 1 + block
    column = 0 if block else first.column + (scalar.style in ("'", '"'))
    place, seen = (row, column + 1), 0
    for number in range(row, scalar.end_mark.line + 2):
        line = source.line(number)
        for index in range(column, len(line)):
            if line[index].isspace():
                continue
            if seen == len(before):
                return (number, index + 1) if at_token and offset < len(value) else place
            if line[index] != before[seen]:
                return position(scalar)
            seen += 1
            place = number, index + 2
        column = 0
    return place
