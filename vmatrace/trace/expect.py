"""``expect:`` entries of a trace -> Expectation.

Knows the keys of an expectation; which kernels there are, it asks kernels.
"""

from __future__ import annotations

import re
from typing import Final

from vmatrace import abi
from vmatrace.diagnostic import Collector, quoted
from vmatrace.event import EXPECTED_COUNTS, Bound, Expectation, ExpectedMapping, Expr
from vmatrace.layout import LayoutError, parse_maps_line
from vmatrace.trace.callstring import CallError, CallParser
from vmatrace.trace.names import Names
from vmatrace.trace.values import Values, parse_integer
from vmatrace.trace.yamlstream import MappingNode, Node, SequenceNode, locate, position

_BOUND: Final = re.compile(r"\s*(==|!=|<=|>=|<|>)\s*([0-9]{1,18})\s*\Z")
_PERMS: Final = re.compile(r"[r-][w-][x-][sp]\Z")
EXPECT_KEYS: Final = (*EXPECTED_COUNTS, "maps", "pid", "on", "name")
MAPPING_KEYS: Final = ("start", "end", "perms", "offset", "name", "flags")


class ExpectationReader:
    """Reads the expectations of one run; *names* are those known where one stands."""

    def __init__(self, names: Names, parser: CallParser, errors: Collector) -> None:
        self.names = names
        self.parser = parser
        self.errors = errors
        self.values = Values(errors)

    def read(self, node: Node | None, entry: MappingNode) -> Expectation | None:
        before = self.errors.count
        fields = self.values.fields(node, EXPECT_KEYS, "expect")
        pid = self.names.pid(fields.get("pid"))
        if "pid" not in fields and (problem := self.names.processes.unusable(pid)):
            self.errors.add(entry.line, entry.column, problem)
        counts = {}
        for key in EXPECTED_COUNTS:
            if (value := fields.get(key)) is not None and (bound := self._bound(value)):
                counts[key] = bound
        maps = self._expected_maps(fields["maps"]) if fields.get("maps") is not None else None
        on = self._models(fields.get("on"))
        name = self._name(fields.get("name"))
        if self.errors.count > before or node is None:
            return None
        if not counts and maps is None:
            what = ", ".join((*EXPECTED_COUNTS, "maps"))
            self.errors.add(entry.line, entry.column, f"nothing is expected (expected {what})")
            return None
        return Expectation(pid, entry.line, entry.column, on, counts, maps, name)

    def _name(self, node: Node | None) -> str:
        name = self.values.text(node, "a name")
        if name is not None and node is not None and not name.strip():
            self.values.wrong(node, "a name")
        return " ".join((name or "").split())

    def _bound(self, node: Node) -> Bound | None:
        number = parse_integer(node)
        if number is not None and number >= 0:
            return Bound("==", number)
        match = _BOUND.match(getattr(node, "value", ""))
        if match is None:
            self.values.wrong(node, "a count such as 3 or '<= 5'")
            return None
        return Bound(match[1], int(match[2]))

    def _models(self, node: Node | None) -> tuple[str, ...]:
        from vmatrace import kernels

        nodes = node.items if isinstance(node, SequenceNode) else [node]
        specs = []
        for item in nodes:
            spec = self.values.text(item, "a kernel model or a range such as '>=6.17'")
            if spec is None or item is None:
                continue
            try:
                kernels.check_spec(spec)
            except ValueError as error:
                self.errors.add(*position(item), str(error))
            specs.append(spec)
        return tuple(specs)

    def _expected_maps(self, node: Node | None) -> tuple[ExpectedMapping, ...]:
        if not isinstance(node, SequenceNode):
            if node is not None:
                self.values.wrong(node, "a list of /proc/PID/maps lines or mappings")
            return ()
        return tuple(
            mapping
            for item in node.items
            if item is not None and (mapping := self._expected_mapping(item)) is not None
        )

    def _expected_mapping(self, node: Node) -> ExpectedMapping | None:
        if not isinstance(node, MappingNode):
            text = self.values.text(node, "a /proc/PID/maps line or a mapping")
            if text is None:
                return None
            try:
                m = parse_maps_line(text)
            except LayoutError as error:
                self.errors.add(*position(node), error.message)
                return None
            return ExpectedMapping(m.start, m.end, m.perms, m.offset, m.name)
        fields = self.values.fields(node, MAPPING_KEYS, "an expected mapping")
        for key in ("start", "end"):
            if key not in fields:
                self.errors.add(node.line, node.column, f"an expected mapping lacks {key!r}")
        start, end = self._address(fields.get("start")), self._address(fields.get("end"))
        perms = self.values.text(fields.get("perms"))
        if perms is not None and not _PERMS.match(perms):
            self.values.wrong(fields["perms"] or node, "permissions such as rw-p")
        name_node = fields.get("name")
        name = getattr(name_node, "value", None)
        if name is None and name_node is not None:
            self.values.wrong(name_node, "a name")
        offset = self.values.integer(fields.get("offset"))
        flags = self._flags(fields.get("flags"))
        if start is None or end is None:
            return None
        return ExpectedMapping(start, end, perms, offset, name, flags)

    def _address(self, node: Node | None) -> int | Expr | None:
        text = self.values.text(node, "an address")
        if text is None or node is None or isinstance(node, (MappingNode, SequenceNode)):
            return None
        try:
            value = self.parser.expression(text)
        except CallError as error:
            where = locate(self.errors.source, node, error.offset)
            self.errors.add(*where, error.message)
            return None
        if isinstance(value, Expr):
            self.names.look_up(0, value, lambda _, name: locate(
                self.errors.source, node, max(0, text.find(name))
            ))  # fmt: skip
        elif value % self.parser.page_size:
            self.errors.add(*position(node), f"{hex(value)} is not a multiple of the page size")
        return value

    def _flags(self, node: Node | None) -> tuple[str, ...] | None:
        if node is None:
            return None
        if isinstance(node, SequenceNode):
            items = [(item, self.values.text(item, "a VmFlags code")) for item in node.items]
            codes = [(item, code) for item, code in items if item is not None and code is not None]
        else:
            codes = [
                (node, code) for code in (self.values.text(node, "VmFlags codes") or "").split()
            ]
        for item, code in codes:
            if code not in abi.CODE_TO_VM_FLAG:
                self.errors.add(*position(item), f"unknown VmFlags code {quoted(code)}")
        return tuple(code for _, code in codes)
