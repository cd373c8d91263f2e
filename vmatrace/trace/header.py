"""The keys of a trace above its events: their checks and their values.

Knows every key but ``events``. Whether a kernel or a file system exists, it asks kernels.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Final

from vmatrace import abi
from vmatrace.diagnostic import Collector, quoted, suggestion
from vmatrace.event import File
from vmatrace.layout import Layout, LayoutError
from vmatrace.snapshots import parse_snapshot
from vmatrace.trace.grammar import is_reserved
from vmatrace.trace.values import Values, parse_integer
from vmatrace.trace.yamlstream import MappingNode, Node, SequenceNode, position

VERSION: Final = 1
KEYS: Final = (
    "vmatrace", "name", "description", "kernel", "page_size", "arch", "sysctl", "process", "files",
    "maps", "cpus", "partial", "recorded", "events",
)  # fmt: skip
#: RLIMIT_AS, RLIMIT_DATA, RLIMIT_MEMLOCK and RLIMIT_STACK, as a trace spells them.
RLIMITS: Final = ("as", "data", "memlock", "stack")
#: The largest values of knobs that are no unsigned long.
SYSCTL_MOST: Final = {"max_map_count": (1 << 31) - 1, "overcommit_memory": 2}
FILE_KEYS: Final = ("path", "fs", "mode", "size", "vmflags")
FILE_MODES: Final = ("rw", "r", "w")
_FILE_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_MAPS_HEAD: Final = re.compile(r"([0-9a-f]{1,16})-([0-9a-f]{1,16}) ")
_SMAPS_FIELD: Final = re.compile(r"[A-Z][A-Za-z_]*:")


@dataclass(frozen=True)
class Sysctl:
    """The vm.* knobs; ``mmap_min_addr`` in bytes, ``nr_hugepages`` in pages of 2 MiB."""

    max_map_count: int = 65530
    overcommit_memory: int = 0
    mmap_min_addr: int = 65536
    nr_hugepages: int = 0


@dataclass(frozen=True)
class ProcessState:
    """The first process at the start. Addresses in bytes, None where the trace names none.

    ``rlimits`` holds the soft limits in bytes that the trace states, by RLIMITS name.
    """

    ksm: bool = False
    brk: int | None = None
    mmap_base: int | None = None
    rlimits: Mapping[str, int] = field(default_factory=dict)


def file_system(path: str) -> str:
    """A memfd and a SysV segment are shmem whatever they are called; for the rest, a guess."""
    from vmatrace.kernels import well_known_device

    if path.startswith(("/memfd:", "/SYSV")):
        return "tmpfs"
    return "legacy" if well_known_device(path) else "ext4"


class Header:
    """Reads the top-level values in *nodes*; gives the default where one is missing or in error."""

    def __init__(self, nodes: Mapping[str, Node | None], errors: Collector) -> None:
        self.nodes = nodes
        self.errors = errors
        self.values = Values(errors)
        self._check_version()
        self.name = self.values.text(nodes.get("name"))
        self.description = self.values.text(nodes.get("description")) or ""
        self.kernel = self._kernel()
        self.page_size = self._page_size()
        self.arch = self._one_of(nodes.get("arch"), abi.TASK_SIZES, "architecture")
        self.sysctl = self._sysctl()
        self.process = self._process()
        self.files = self._files()
        self.maps = read_layout(nodes.get("maps"), self.page_size, errors)
        self.partial = bool(self.values.boolean(nodes.get("partial")))
        self.cpus = (
            self.values.integer(nodes.get("cpus"), 1, 1 << 16, "a number of processors") or 1
        )
        self.recorded = bool(self.values.boolean(nodes.get("recorded")))

    def fields(self) -> tuple[Any, ...]:
        """What Trace holds of it, in its order."""
        return (
            self.description, self.kernel, self.page_size, self.arch, self.sysctl, self.process,
            self.files, self.maps, self.partial, self.recorded, self.cpus,
        )  # fmt: skip

    def _check_version(self) -> None:
        version = self.nodes.get("vmatrace")
        if version is not None and parse_integer(version) != VERSION:
            self.values.wrong(version, f"the format version, which is {VERSION}")

    def _page_size(self) -> int:
        node = self.nodes.get("page_size")
        size = self.values.integer(node)
        if size is not None and size not in abi.PAGE_SIZES and node is not None:
            self.values.wrong(node, "a page size: 4096, 16384 or 65536")
        return size if size in abi.PAGE_SIZES and size is not None else abi.PAGE_SIZES[0]

    def _kernel(self) -> str | None:
        from vmatrace import kernels

        node = self.nodes.get("kernel")
        name = self.values.text(node, "the name of a kernel model")
        if name is not None and node is not None:
            try:
                kernels.get_kernel(name)
            except ValueError as error:
                self.errors.add(*position(node), str(error))
        return name

    def _sysctl(self) -> Sysctl:
        names = [knob.name for knob in fields(Sysctl)]
        given = self.values.fields(self.nodes.get("sysctl"), names, "sysctl")
        knobs: dict[str, int] = {}
        for name, node in given.items():
            value = self.values.integer(node, 0, SYSCTL_MOST.get(name, abi.ULONG_MAX))
            if value is not None:
                knobs[name] = value
        return Sysctl(**knobs)

    def _process(self) -> ProcessState:
        given = self.values.fields(
            self.nodes.get("process"), [part.name for part in fields(ProcessState)], "process"
        )
        base = given.get("mmap_base")
        mmap_base = self.values.integer(base, what="an address")
        if base is not None and mmap_base is not None and mmap_base % self.page_size:
            self.errors.add(*position(base), "expected a multiple of the page size")
        return ProcessState(
            bool(self.values.boolean(given.get("ksm"))),
            self.values.integer(given.get("brk"), what="an address"),
            mmap_base,
            self._rlimits(given.get("rlimits")),
        )

    def _rlimits(self, node: Node | None) -> dict[str, int]:
        limits = {
            name: self.values.integer(value, 0, abi.ULONG_MAX)
            for name, value in self.values.fields(node, RLIMITS, "rlimits").items()
        }
        return {name: value for name, value in limits.items() if value is not None}

    # --- files ------------------------------------------------------------------------------

    def _files(self) -> dict[int | str, File]:
        node = self.nodes.get("files")
        files: dict[int | str, File] = {}
        if node is None:
            return files
        if not isinstance(node, MappingNode):
            self.values.wrong(node, "a mapping of descriptors to files")
            return files
        for key_node, value in node.pairs:
            key: int | str | None = parse_integer(key_node)
            if key is None and _FILE_NAME.match(key_node.value) and not is_reserved(key_node.value):
                key = key_node.value
            if key is None or (isinstance(key, int) and not 0 <= key < 1 << 31):
                self.values.wrong(key_node, "a descriptor number or a name")
            elif key in files:
                self.errors.add(*position(key_node), f"descriptor {key} is described twice")
            else:
                files[key] = self._file(value)
        return files

    def _file(self, node: Node | None) -> File:
        from vmatrace import kernels

        given = self.values.fields(node, FILE_KEYS, "a file")
        if isinstance(node, MappingNode) and "path" not in given:
            self.errors.add(node.line, node.column, "the key 'path' of the file is missing")
        path = self.values.text(given.get("path"), "a path") or ""
        fs = self._one_of(given.get("fs"), kernels.FILE_SYSTEMS, "file system")
        mode = self._one_of(given.get("mode"), FILE_MODES, "mode")
        size = self.values.integer(given.get("size"), 0, (1 << 63) - 1, "a size in bytes")
        vmflags = self._codes(given.get("vmflags"))
        return File(path, fs or file_system(path), mode or "rw", size, vmflags)

    def _codes(self, node: Node | None) -> tuple[str, ...]:
        """Codes of smaps, as text or as a list."""
        if isinstance(node, SequenceNode):
            given = [(item, self.values.text(item, "a code of smaps")) for item in node.items]
        elif node is not None:
            text = self.values.text(node, "codes of smaps, as VmFlags prints them") or ""
            given = [(node, word) for word in text.split()]
        else:
            given = []
        codes = [code for _, code in given if code is not None]
        for place, code in given:
            if code is not None and code not in abi.CODE_TO_VM_FLAG and place is not None:
                message = f"unknown code {quoted(code)}{suggestion(code, abi.CODE_TO_VM_FLAG)}"
                self.errors.add(*position(place), message)
        return tuple(code for code in codes if code in abi.CODE_TO_VM_FLAG)

    def _one_of(self, node: Node | None, known: Iterable[str], what: str) -> str | None:
        word = self.values.text(node, f"a {what}")
        if word is not None and node is not None and word not in known:
            message = f"unknown {what} {quoted(word)}{suggestion(word, known)}"
            self.errors.add(*position(node), message)
        return word


# --- layouts --------------------------------------------------------------------------------------


def read_layout(node: Any, page_size: int, errors: Collector) -> Layout:
    """The layout that *node* holds as text of maps or smaps; every bad line is reported."""
    text = getattr(node, "value", None)
    if text is None:
        if node is not None:
            Values(errors).wrong(node, "text of /proc/PID/maps or smaps")
        return []
    # Only a literal block has the lines of the file; elsewhere the text as a whole is named.
    literal = node.style == "|"
    first, column = position(node)

    def report(line: int, message: str) -> None:
        shown = errors.source.line(first + line) if literal else ""
        indent = len(shown) - len(shown.lstrip())
        where = (first + line, indent + 1) if literal else (first, column)
        errors.add(*where, message)

    lines = text.split("\n")
    for number, line in enumerate(lines, 1):
        head = _MAPS_HEAD.match(line.lstrip())
        if head and (int(head[1], 16) % page_size or int(head[2], 16) % page_size):
            report(number, f"the addresses are not multiples of the page size {page_size}")
    return _parse_all(lines, report)


def _parse_all(lines: list[str], report: Callable[[int, str], None]) -> Layout:
    """The layout of *lines*; every bad line is reported, not just the first."""
    while True:
        try:
            return parse_snapshot("\n".join(lines))
        except LayoutError as error:
            report(error.line, error.message)
            # Without the bad line and its smaps fields, what follows can be read on its own.
            bad = error.line - 1
            lines[bad] = ""
            while (bad := bad + 1) < len(lines) and _SMAPS_FIELD.match(lines[bad]):
                lines[bad] = ""
