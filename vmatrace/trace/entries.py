"""One entry of ``events`` -> Event or Expectation.

Knows the three forms of an entry, and which labels, files and processes exist where it stands.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final

from vmatrace.calls import CALLS, EXECS, Param
from vmatrace.diagnostic import Collector, quoted, suggestion
from vmatrace.event import Arg, Event, Expectation, File, format_call
from vmatrace.trace.callstring import CallError, CallParser, ParsedCall
from vmatrace.trace.expect import ExpectationReader
from vmatrace.trace.grammar import is_reserved, is_symbolic
from vmatrace.trace.header import read_layout
from vmatrace.trace.names import LIFECYCLE, Names, Position
from vmatrace.trace.values import Values, parse_integer
from vmatrace.trace.yamlstream import MappingNode, Node, Scalar, SequenceNode, locate, position

_LABEL: Final = re.compile(r"\s*([A-Za-z_][A-Za-z0-9_]*)\s*=(?!=)")
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
#: What the mapping form of every call may have.
EVENT_KEYS: Final = ("call", "pid", "label", "result", "maps")
_COLLECTIONS: Final = (MappingNode, SequenceNode)


class Converter:
    """Converts the entries of one run through a trace, in order.

    Every error goes to *errors*. *files* are the trace's; *page_size* is in bytes.
    """

    def __init__(
        self, files: Mapping[int | str, File | None], page_size: int, errors: Collector
    ) -> None:
        self.errors = errors
        self.parser = CallParser(page_size)
        self.names = Names(files, errors)
        self.values = Values(errors)
        self._expectations = ExpectationReader(self.names, self.parser, errors)

    def item(self, node: Node | None) -> Event | Expectation | None:
        """The item that *node* describes, None if an error was reported."""
        if node is None or isinstance(node, _COLLECTIONS):
            return self._unusual(node)
        # A call string of the first process: the form of nearly every event.
        try:
            parsed = self.parser.parse(node.value)
        except CallError as error:
            self._bad_call(node, error)
            return None
        label, name, args, recorded, symbolic, text = parsed
        mark = node.start_mark
        event = Event(
            name, args, text, mark.line + 1, mark.column + 1, "main", label, recorded, symbolic
        )
        if label is not None or symbolic or name in LIFECYCLE or self.names.processes.ended:
            self.names.enter(event, self._places(node, parsed))
        return event

    def _unusual(self, node: MappingNode | SequenceNode | None) -> Event | Expectation | None:
        if isinstance(node, MappingNode):
            return self._mapping(node)
        if node is not None:
            self.values.wrong(node, "a call or a mapping")
        return None

    def _bad_call(self, node: Scalar, error: CallError) -> None:
        self.errors.add(*locate(self.errors.source, node, error.offset), error.message)
        # Its label counts as bound, so that one mistake is one error.
        if match := _LABEL.match(node.value[:256]):
            self.names.forgive(match[1])

    def _places(self, node: Scalar, parsed: ParsedCall) -> Callable[[int, str], Position]:
        """Where in *node* a name stands that an argument mentions."""
        start = node.value.find(parsed.text)

        def place(index: int, name: str) -> Position:
            after = node.value.find("(", start) if index >= 0 else 0
            match = re.compile(rf"\b{re.escape(name)}\b").search(node.value, after)
            return locate(self.errors.source, node, match.start() if match else 0)

        return place

    # --- the mapping form -------------------------------------------------------------------

    def _mapping(self, node: MappingNode) -> Event | Expectation | None:
        fields = {key.value: value for key, value in node.pairs}
        if "expect" in fields:
            for key, _ in node.pairs:
                if key.value != "expect":
                    self.values.unknown_key(key, (), "an event beside 'expect'")
            return self._expectations.read(fields["expect"], node)
        if "call" not in fields:
            for key, _ in node.pairs:
                if suggestion(key.value, ("call", "expect")) or "(" in key.value:
                    self.values.unknown_key(key, ("call", "expect"), "an event")
                    return None
            self.errors.add(node.line, node.column, "expected a key 'call' or 'expect'")
            return None
        call = self.values.text(fields["call"], "a call")
        if call is None:
            return None
        before = self.errors.count
        event = self._whole_call(node) if "(" in call else self._call_by_parameters(node, call)
        if event is None or self.errors.count > before:
            if (label := getattr(fields.get("label"), "value", None)) is not None:
                self.names.forgive(label)
            return None
        return event

    def _whole_call(self, node: MappingNode) -> Event | None:
        """``{call: "munmap(a, 0x1000)", pid: child}``."""
        fields = self.values.fields(node, EVENT_KEYS, "an event")
        scalar = fields["call"]
        assert scalar is not None
        assert not isinstance(scalar, (MappingNode, SequenceNode))
        try:
            parsed = self.parser.parse(scalar.value)
        except CallError as error:
            self._bad_call(scalar, error)
            return None
        for key, present in (("label", parsed.label), ("result", parsed.recorded)):
            if key in fields and present is not None:
                where = position(fields[key] or node)
                self.errors.add(*where, f"the call states its {key} already")
        event = self._event(node, fields, parsed.name, parsed.args, parsed.text)
        if parsed.label is not None:
            event.label = parsed.label
        if parsed.recorded is not None:
            event.recorded = parsed.recorded
        self.names.enter(event, self._places(scalar, parsed))
        return event

    def _call_by_parameters(self, node: MappingNode, name: str) -> Event | None:
        """``{call: munmap, addr: 0x1000, length: 4096}``."""
        keys = {key.value: value for key, value in node.pairs}
        call = CALLS.get(name)
        if call is None:
            where = position(keys["call"] or node)
            self.errors.add(*where, f"unknown call {quoted(name)}{suggestion(name, CALLS)}")
            return None
        allowed = (*EVENT_KEYS, *(p.name for p in call.params))
        fields = self.values.fields(node, allowed, name)
        lacking = [repr(p.name) for p in call.params if not p.optional and p.name not in fields]
        if lacking:
            self.errors.add(node.line, node.column, f"{name} lacks {', '.join(lacking)}")
            return None
        args: list[Arg] = []
        nodes: list[Node] = []
        before, missing = self.errors.count, ""
        for param in call.params:
            value = fields.get(param.name)
            if param.name not in fields:
                missing = missing or param.name
            elif missing:
                message = f"{param.name!r} is given, but {missing!r} before it is not"
                self.errors.add(*position(value or node), message)
            elif value is not None and (arg := self._argument(param, value)) is not None:
                args.append(arg)
                nodes.append(value)
        if self.errors.count > before or len(args) < call.required:
            return None
        event = self._event(node, fields, name, tuple(args), format_call(name, args))
        label_node = fields.get("label") or node
        self.names.enter(
            event, lambda index, _: position(nodes[index] if index >= 0 else label_node)
        )
        return event

    def _argument(self, param: Param, node: Node) -> Arg | None:
        if isinstance(node, _COLLECTIONS) or node.value == "":
            self.values.wrong(node, f"{param.name} as a number or text")
            return None
        # Not Values.text(): NULL is nothing in YAML, but a pointer here.
        text = node.value
        if param.kind == "text":
            return text
        value = parse_integer(node)
        if value is not None:
            text = str(value)
        elif not node.style and re.match(r"[-+]?0[0-9]", text):
            self.errors.add(*position(node), f"{text} is ambiguous (write octal as 0o…)")
            return None
        try:
            return self.parser.argument(param, text)
        except CallError as error:
            where = locate(self.errors.source, node, error.offset)
            self.errors.add(*where, error.message)
            return None

    def _event(
        self,
        node: MappingNode,
        fields: Mapping[str, Node | None],
        name: str,
        args: tuple[Arg, ...],
        text: str,
    ) -> Event:
        symbolic = any(map(is_symbolic, args))
        event = Event(name, args, text, node.line, node.column, symbolic=symbolic)
        event.pid = self.names.pid(fields.get("pid"))
        if (label := fields.get("label")) is not None:
            event.label = self.values.text(label, "a label")
            if event.label is not None and (
                not _NAME.match(event.label) or is_reserved(event.label)
            ):
                self.errors.add(*position(label), f"{quoted(event.label)} cannot be a label")
                event.label = None
        if (result := fields.get("result")) is not None:
            text = self.values.text(result, "a result") or "?"
            try:
                event.recorded = self.parser.result(text)
            except CallError as error:
                self.errors.add(*position(result), error.message)
        if (maps := fields.get("maps")) is not None:
            if name not in EXECS:
                self.errors.add(*position(maps), "only execve has 'maps', the layout after it")
            event.maps = read_layout(maps, self.parser.page_size, self.errors)
        return event
