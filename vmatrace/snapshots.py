"""Snapshots of an address space as other programs print them -> Layout.

Knows pmap -X and -XX, the memory map of an Android tombstone, gdb's `info proc mappings`, lldb's
`memory region --all` and rr's maps, beside /proc's own maps and smaps (layout), also below a
heading in a report of glibc's, Ruby's or the JVM's. What a form does not print is 0 or unknown in a
Mapping; nothing else is made of it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Final

from vmatrace.layout import (
    Layout,
    LayoutError,
    Mapping,
    collect,
    flags_from_perms,
    is_field,
    parse_layout,
    parse_maps_line,
)

#: A line's number, and the mapping that it starts or the field of one that it holds.
_Lines = Iterator[tuple[int, "Mapping | None", str]]

_PERMS: Final = re.compile(r"[r-][w-][x-][ps]?\Z")


def parse_snapshot(text: str) -> Layout:
    """The layout in *text*, of whichever form. Raises LayoutError with the line."""
    found = _NOT_BLANK.search(text)
    first = found[0] if found else ""
    if _PROC.match(first) and not any(looks.match(first) for looks, _ in _FORMS):
        return parse_layout(text)  # as nearly always, and there may be a million lines
    lines = text.split("\n")
    for looks, read in _FORMS:
        at = next((i for i, line in enumerate(lines) if looks.match(line)), None)
        if at is not None:
            return collect(read(lines, at))
    return parse_layout(text)


def is_snapshot(lines: list[str]) -> bool:
    """Whether text that starts with *lines* is one: then its first mapping is among them."""
    if any(looks.match(line) for looks, _ in _FORMS for line in lines):
        return True
    return next((True for line in lines if _PROC.match(line)), False)


_NOT_BLANK: Final = re.compile(r"[^\n]*\S[^\n]*")
_PROC: Final = re.compile(
    r"[0-9a-f]{1,16}-[0-9a-f]{1,16} [r-][w-][x-][sp] [0-9a-f]{1,16} [0-9a-f]+:[0-9a-f]+ [0-9]+"
)


def _mapping(
    line: int, start: str, end: int, perms: str, offset: str = "0", name: str = "", *,
    device: str = "00:00", inode: str = "0",
) -> Mapping:  # fmt: skip
    """Numbers as text are hexadecimal, the inode decimal; *end* 0 or below is an error."""
    low = int(start, 16)
    if not low < end <= 1 << 64:
        raise LayoutError(line, "the mapping ends before it starts")
    return Mapping(
        low, end, flags_from_perms(perms if len(perms) == 4 else perms + "p"), int(offset, 16),
        name, device, int(inode), flags_known=False,
    )  # fmt: skip


#: What somebody means for a mapping, in any of the forms.
_MEANT: Final = re.compile(
    rf"{_PROC.pattern}|\s*[0-9a-f]{{8,16}} [r-][w-][x-]"
    r"|\s*(?:-+>)?\s*[0-9a-f']{8,17}-[0-9a-f']{8}"
    r"|\s*\[?0x[0-9a-f]{1,16}(?:-|\s+)0x[0-9a-f]{1,16}[\s)]"
)


def _table(
    lines: list[str], at: int, header: re.Pattern[str] | None = None, fields: bool = False
) -> Iterator[tuple[int, str]]:
    """The numbered lines from the one after *at* to the last that is meant for a mapping.

    LayoutError for what would be dropped silently: mappings before that, or a second list.
    """
    numbers = [n for n, line in enumerate(lines, 1) if _MEANT.match(line)]
    if numbers and numbers[0] <= at:
        raise LayoutError(numbers[0], "a mapping before the list of mappings starts")
    last = numbers[-1] if numbers else 0
    while fields and last < len(lines) and is_field(lines[last].strip()):
        last += 1  # what is said of the last mapping
    for number in range(at + 2, last + 1):
        if header is not None and header.match(lines[number - 1]):
            raise LayoutError(number, "a second list of mappings (expected that of one process)")
    yield from enumerate(lines[at + 1 : last], at + 2)


# --- pmap -------------------------------------------------------------------------------------

_PMAP: Final = re.compile(r"\s*Address\s+Perm\s+Offset\s+Device\s+Inode\s+Size\s")


def _pmap(lines: list[str], at: int) -> _Lines:
    """Pmap -X or -XX: columns under their names, as wide as what is in them."""
    names = lines[at].split()
    counters = names.index("VmFlags") if "VmFlags" in names else len(names) - 1
    for number, line in _table(lines, at, _PMAP):
        words = line.split()
        if not words or words[0].startswith("="):
            continue
        if len(words) < counters or not _PERMS.match(words[1]):
            raise LayoutError(number, "not a line of pmap -X (ADDRESS PERM OFFSET DEVICE INODE …)")
        try:
            size = int(words[names.index("Size")]) << 10
            rest = words[counters:]
            codes = []
            while "VmFlags" in names and rest and re.fullmatch(r"[a-z?]{2}", rest[0]):
                codes.append(rest.pop(0))
            yield number, _mapping(
                number, words[0], int(words[0], 16) + size, words[1], words[2], " ".join(rest),
                device=words[3], inode=words[4],
            ), ""  # fmt: skip
            if "Anonymous" in names:
                yield number, None, f"Anonymous: {int(words[names.index('Anonymous')])} kB"
        except ValueError:
            raise LayoutError(number, "a number of pmap cannot be read") from None
        if codes:
            yield number, None, f"VmFlags: {' '.join(codes)}"


# --- Android's tombstones -----------------------------------------------------------------------

_TOMBSTONE: Final = re.compile(r"\s*memory map\b.*:")
_TOMBSTONE_LINE: Final = re.compile(
    r"(?:\s*-*>?)\s*(?P<start>[0-9a-f']{8,17})-(?P<end>[0-9a-f']{8,17}) (?P<perms>[r-][w-][x-])"
    r"\s+(?P<offset>[0-9a-f]+)\s+[0-9a-f]+(?:\s+(?P<name>.*?))?\s*\Z"
)
_BUILD_ID: Final = re.compile(r"(?: \(BuildId: [0-9a-f]+\))?(?: \(load bias 0x[0-9a-f]+\))?\Z")


def _tombstone(lines: list[str], at: int) -> _Lines:
    """The memory map of a tombstone, the ends of which are the last bytes."""
    for number, line in _table(lines, at, _TOMBSTONE, fields=True):
        match = _TOMBSTONE_LINE.match(line)
        if match is not None:
            end = int(match["end"].replace("'", ""), 16) + 1
            name = _BUILD_ID.sub("", match["name"] or "")
            start = match["start"].replace("'", "")
            yield number, _mapping(number, start, end, match["perms"], match["offset"], name), ""
        elif is_field(line.strip()):
            yield number, None, line.strip()
        elif line.strip() and not line.lstrip().startswith("--->"):
            raise LayoutError(
                number, "not a line of a memory map (expected START-END PERMS OFFSET SIZE NAME)"
            )


# --- debuggers ----------------------------------------------------------------------------------

_GDB: Final = re.compile(r"\s*Start Addr\s+End Addr\s+Size\s+Offset")
_GDB_LINE: Final = re.compile(
    r"\s*0x(?P<start>[0-9a-f]+)\s+0x(?P<end>[0-9a-f]+)\s+0x[0-9a-f]+\s+0x(?P<offset>[0-9a-f]+)"
    r"(?:\s+(?P<perms>[r-][w-][x-][ps]))?(?:\s+(?P<name>.*?))?\s*\Z"
)
_GDB_WHOLE: Final = re.compile(
    r"\s*0x[0-9a-f]+\s+0x[0-9a-f]+\s+0x[0-9a-f]+\s+0x[0-9a-f]+\s+[r-][w-][x-][ps](?:\s|\Z)"
)
_GDB_PAGER: Final = re.compile(r"-+Type <\w+> ")


def _gdb(lines: list[str], at: int) -> _Lines:
    """Gdb's `info proc mappings`; before gdb 12 it has no permissions."""
    if "Perms" not in lines[at]:
        raise LayoutError(at + 1, "this gdb printed no permissions (expected those of gdb 12)")
    yield from _gdb_alone(lines, at + 1)


def _gdb_alone(lines: list[str], at: int) -> _Lines:
    """The same from the first mapping on, without what gdb says above it."""
    for number, line in _table(lines, at - 1, _GDB):
        match = _GDB_LINE.match(line)
        if match is None:
            if line.strip() and not _GDB_PAGER.match(line):
                raise LayoutError(
                    number, "not a mapping of gdb's (expected START END SIZE OFFSET PERMS NAME)"
                )
            continue
        if match["perms"] is None:
            raise LayoutError(number, "the mapping has no permissions")
        end = int(match["end"], 16)
        yield number, _mapping(
            number, match["start"], end, match["perms"], match["offset"], match["name"] or ""
        ), ""  # fmt: skip


_LLDB: Final = re.compile(
    r"\[0x(?P<start>[0-9a-f]+)-0x(?P<end>[0-9a-f]+)\) (?P<perms>[r-][w-][x-])"
)
_LLDB_NAME: Final = re.compile(r"\s*(.*?)(?: PT_[A-Z]+\[[0-9]+\]| \.\w+)*\s*\Z")


def _lldb(lines: list[str], at: int) -> _Lines:
    """Lldb's `memory region --all`, which shows holes as memory without permissions or a name."""
    for number, line in _table(lines, at - 1):
        match = _LLDB.match(line)
        if match is None:
            if _MEANT.match(line):
                raise LayoutError(number, "not a region of lldb's (expected [START-END) PERMS)")
            continue
        name = _LLDB_NAME.match(line, match.end())
        shown = name[1] if name else ""
        if match["perms"] != "---" or shown:
            end = int(match["end"], 16)
            yield number, _mapping(number, match["start"], end, match["perms"], name=shown), ""


_RR: Final = re.compile(
    r"\s*0x(?P<start>[0-9a-f]+)-0x(?P<end>[0-9a-f]+) (?P<perms>[r-][w-][x-][ps]) "
    r"(?P<offset>[0-9a-f]+) (?P<device>[0-9a-f]+:[0-9a-f]+) (?P<inode>[0-9]{1,20})\s*(?P<name>.*?)"
    r"(?:\s*\(f:0x[0-9a-f]+\))?\s*\Z"
)


def _rr(lines: list[str], at: int) -> _Lines:
    """Rr's own list of what is mapped."""
    for number, line in _table(lines, at - 1):
        match = _RR.match(line)
        if match is None:
            if _MEANT.match(line):
                raise LayoutError(
                    number, "not a mapping of rr's (expected START-END PERMS OFFSET DEVICE INODE)"
                )
            continue
        end = int(match["end"], 16)
        yield number, _mapping(
            number, match["start"], end, match["perms"], match["offset"], match["name"],
            device=match["device"], inode=match["inode"],
        ), ""  # fmt: skip


# --- reports that hold a list of /proc ----------------------------------------------------------

#: What stands above one: in a report of glibc, Ruby, the JVM or rr, or a command in a terminal.
_HEADING: Final = re.compile(
    r"\s*(?:=+ Memory map: =+|\* Process memory map:|Dynamic libraries:)"
    r"|\s*-> (?:cached mmap|/proc/.*):"
    r"|\s*(?:\S*[#$%>]\s*)?(?:sudo )?(?:cat|less|more|head|tail|grep) .*/s?maps\b"
)
_HEAP: Final = re.compile(r"\s*(?:\(heap: |\Z)")


def _reported(lines: list[str], at: int) -> _Lines:
    """A list of /proc with a heading. Those of rr say more behind a name."""
    for number, line in _table(lines, at, _HEADING, fields=True):
        if _PROC.match(line.lstrip()):
            yield number, parse_maps_line(_RR_MORE.sub("", line.strip()), number), ""
        elif is_field(line.strip()):
            yield number, None, line.strip()
        elif not _HEAP.match(line):
            raise LayoutError(number, "not a line of /proc/PID/maps or smaps")


_RR_MORE: Final = re.compile(r"(?: \(\w+\))?  ?\(d:0x[0-9a-f]+ i:\d+\)\Z")

# --- what is none -------------------------------------------------------------------------------


def _refused(message: str) -> Callable[[list[str], int], _Lines]:
    def read(lines: list[str], at: int) -> _Lines:
        raise LayoutError(at + 1, message)

    return read


#: By the line that tells it: the reader of each form, given all lines and which of them that is.
_FORMS: Final[tuple[tuple[re.Pattern[str], Callable[[list[str], int], _Lines]], ...]] = (
    (
        re.compile(r"[0-9a-f]+-[0-9a-f]+ .*\[rollup\]"),
        _refused("smaps_rollup is the sum of all mappings (expected the text of smaps)"),
    ),
    (
        re.compile(r"[0-9a-f]{6,16} (?:default|bind|prefer|interleave|local)[\w:=, -]*(?: |$)"),
        _refused("numa_maps shows where mappings start, not where they end (expected smaps)"),
    ),
    (
        re.compile(r"\s*\[? ?(?:Legend|LEGEND): .*\|"),
        _refused("vmmap of a plugin (expected gdb's own: info proc mappings)"),
    ),
    (
        re.compile(r"\(\d\d\.\d{6}\) .*0x[0-9a-f]+-0x[0-9a-f]+ \(\d+K\) prot "),
        _refused("a log of CRIU (expected the text of /proc/PID/smaps or maps)"),
    ),
    (
        re.compile(r"\s*VMA\s+START\s+END\s+FLAGS FILE"),
        _refused("crash's vm does not say all of a VMA (expected /proc/PID/smaps or maps)"),
    ),
    (
        re.compile(r".*\bProcess memory map follows:"),
        _refused("a sanitizer's map has no permissions (expected /proc/PID/smaps or maps)"),
    ),
    (
        re.compile(r"(?:\[ *\d+\.\d+\] )?vma [0-9a-f]{8,16} start [0-9a-f]+ end [0-9a-f]+"),
        _refused("the kernel's dump of one VMA (expected /proc/PID/smaps or maps)"),
    ),
    (_PMAP, _pmap),
    (
        re.compile(r"\s*Address\s+Kbytes\s|[0-9a-f]{16}\s+\d+K [r-][w-][x-]"),
        _refused("this pmap prints too little (expected pmap -XX)"),
    ),
    (_TOMBSTONE, _tombstone),
    (_GDB, _gdb),
    (_GDB_WHOLE, _gdb_alone),
    (_HEADING, _reported),
    (_LLDB, _lldb),
    (_RR, _rr),
)
