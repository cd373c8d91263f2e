"""What /proc shows of an address space: Mapping, Layout, and their text forms.

Reads and writes /proc/PID/maps and /proc/PID/smaps (show_map_vma(), show_smap() in
fs/proc/task_mmu.c). Knows nothing of how a layout comes to be or is shown. All addresses in bytes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import product
from typing import Any, Final

from vmatrace import abi


class Mapping:
    """One line of /proc/PID/maps with the VmFlags of smaps. Bytes throughout.

    ``vm_flags`` holds abi.VM_* bits without VM_SOFTDIRTY; ``flags_known`` is False when only a maps
    line was read, so that ``vm_flags`` holds no more than what the permissions say. ``faulted``:
    smaps showed anonymous pages. ``foreign``: VmFlags codes that nobody here knows.
    """

    __slots__ = (
        "device", "end", "faulted", "flags_known", "foreign", "inode", "name", "offset", "start",
        "vm_flags",
    )  # fmt: skip

    def __init__(
        self,
        start: int,
        end: int,
        vm_flags: int,
        offset: int = 0,
        name: str = "",
        device: str = "00:00",
        inode: int = 0,
        flags_known: bool = True,
    ) -> None:
        self.start = start
        self.end = end
        self.vm_flags = vm_flags
        self.offset = offset
        self.name = name
        self.device = device
        self.inode = inode
        self.flags_known = flags_known
        self.faulted = False
        self.foreign: tuple[str, ...] = ()

    @property
    def perms(self) -> str:
        return abi.perms(self.vm_flags)

    @property
    def codes(self) -> tuple[str, ...]:
        """VmFlags as smaps prints them, without ``sd``."""
        return abi.vm_flag_codes(self.vm_flags & ~abi.VM_SOFTDIRTY)

    def key(self) -> tuple[int, int, int, int, str]:
        """What two layouts are compared by: range, flags, offset, name."""
        return (self.start, self.end, self.vm_flags, self.offset, self.name)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Mapping) and self.key() == other.key()

    def __hash__(self) -> int:
        return hash(self.key())

    def __repr__(self) -> str:
        return f"<{maps_line(self).rstrip()} {' '.join(self.codes)}>"


#: The mappings of one process in address order.
Layout = list[Mapping]


class LayoutError(ValueError):
    """Text that is neither maps nor smaps; ``line`` counts from 1 within the text."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line
        self.message = message


# --- writing ------------------------------------------------------------------------------------


def maps_line(mapping: Mapping) -> str:
    """The line of /proc/PID/maps, without its newline (seq_file pads the name to column 73)."""
    head = (
        f"{mapping.start:08x}-{mapping.end:08x} {mapping.perms} {mapping.offset:08x} "
        f"{mapping.device} {mapping.inode} "
    )
    return head.ljust(73) + _escaped(mapping.name) if mapping.name else head


def _escaped(name: str) -> str:
    """*name* with control characters in octal, byte by byte, as the kernel writes a line break
    (mangle_path() in fs/seq_file.c; the others it writes as they are).
    """
    return name if name.isprintable() else _CONTROL.sub(_octal, name)


def _octal(match: re.Match[str]) -> str:
    return "".join(f"\\{byte:03o}" for byte in match[0].encode())


_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_OCTAL: Final = re.compile(r"\\(0[0-3][0-7]|177)|\\302\\(2[0-3][0-7])")


def _unescaped(name: str) -> str:
    """The name that *name* in a maps text stands for."""
    return _OCTAL.sub(lambda m: chr(int(m[1] or m[2], 8)), name) if "\\" in name else name


def maps_text(layout: Iterable[Mapping]) -> str:
    """The whole of /proc/PID/maps."""
    return "".join(maps_line(m) + "\n" for m in layout)


def smaps_text(layout: Iterable[Mapping], page_size: int = 4096) -> str:
    """/proc/PID/smaps reduced to what a layout knows: Size, page sizes, VmFlags.

    The page counters of smaps (Rss, Pss, …) are left out, because a layout does not hold them.
    """
    kb = page_size >> 10
    return "".join(
        f"{maps_line(m)}\n"
        f"Size:           {(m.end - m.start) >> 10:8d} kB\n"
        f"KernelPageSize: {kb:8d} kB\n"
        f"MMUPageSize:    {kb:8d} kB\n"
        f"VmFlags: {' '.join(m.codes)} \n"
        for m in layout
    )


# --- reading ------------------------------------------------------------------------------------

_MAPS: Final = (
    r"([0-9a-f]{1,16})-([0-9a-f]{1,16}) ([r-][w-][x-][sp]) ([0-9a-f]{1,16}) "
    r"([0-9a-f]+:[0-9a-f]+) ([0-9]{1,20})(?: +(.*?))?"
)
_MAPS_LINE: Final = re.compile(_MAPS + r" *\Z")
_SMAPS_FIELD: Final = re.compile(r"[A-Z][A-Za-z_]*:\s")
#: The same as whole lines of a text, the fields one by one or all of a mapping.
_MAPS_LINES: Final = _MAPS + r"[^\S\n]*\n"
_FIELD_LINE: Final = r":[^\S\n].*\n"
_KEPT: Final = {name: rf":(?P<{name}>[^\S\n].*)\n" for name in ("VmFlags", "Anonymous")}
_FIRST: Final = re.compile(rf"{_MAPS_LINES}((?:[A-Z][A-Za-z_]*{_FIELD_LINE})*)")
_CODE: Final = re.compile(r"[a-z?]{2}")
_SOME_PAGES: Final = re.compile(r"\s+0*[1-9]")
VSYSCALL: Final = "[vsyscall]"


def flags_from_perms(perms: str) -> int:
    """The vm_flags bits that a permission column states, and no others."""
    return (
        (abi.VM_READ if perms[0] == "r" else 0)
        | (abi.VM_WRITE if perms[1] == "w" else 0)
        | (abi.VM_EXEC if perms[2] == "x" else 0)
        | (abi.VM_MAYSHARE if perms[3] == "s" else 0)
    )


_PERMS: Final = {
    perms: flags_from_perms(perms) for perms in map("".join, product("r-", "w-", "x-", "sp"))
}


def parse_layout(text: str) -> Layout:
    """Read maps or smaps text. Raises LayoutError with the line on anything else.

    The ``[vsyscall]`` line is left out: it is printed, but is not a VMA (get_gate_vma()).
    ``sd`` is dropped, since soft-dirty is not modelled.
    """
    return _of_one_form(text) or collect(_read(text))


def _of_one_form(text: str) -> Layout | None:
    """The layout in *text* where every mapping has the fields of the first, as a kernel prints
    them: read as one pattern, in a third of the time. None where it has to be read line by line.
    """
    first = _FIRST.match(text)
    names = re.findall(r"^\w+", first[8], re.MULTILINE) if first else []
    if first is None or len(set(names)) < len(names):
        return None
    form = re.compile(_MAPS_LINES + "".join(name + _KEPT.get(name, _FIELD_LINE) for name in names))
    codes_at, pages_at = form.groupindex.get("VmFlags", 0), form.groupindex.get("Anonymous", 0)
    layout: Layout = []
    flags: dict[str, tuple[int, tuple[str, ...]]] = {}  # few texts of VmFlags are distinct
    read = above = 0
    for found in form.finditer(text):
        mapping = _mapping(found.groups())
        if found.start() != read or not above <= mapping.start < mapping.end:
            return None
        read = found.end()
        if mapping.name == VSYSCALL:
            continue
        above = mapping.end
        if codes_at:
            codes = found[codes_at]
            if codes not in flags:
                try:
                    flags[codes] = _flags_from_codes(codes.split(), 0)
                except LayoutError:
                    return None
            mapping.vm_flags, mapping.foreign = flags[codes]
            mapping.flags_known = True
        if pages_at and _SOME_PAGES.match(found[pages_at]):
            mapping.faulted = True
        layout.append(mapping)
    return layout if read == len(text) else None


def collect(lines: Iterable[tuple[int, Mapping | None, str]]) -> Layout:
    """The layout of *lines*: of each its number, the mapping it starts, or a field of smaps."""
    layout: Layout = []
    current: Mapping | None = None
    known: dict[str, tuple[int, tuple[str, ...]]] = {}  # few texts of VmFlags are distinct
    for number, mapping, field in lines:
        if mapping is not None:
            current = mapping
            if mapping.name == VSYSCALL:
                continue
            if layout and mapping.start < layout[-1].end:
                raise LayoutError(number, "mappings overlap or are not in address order")
            layout.append(mapping)
        elif current is None:
            raise LayoutError(number, "a field before the first mapping")
        elif field.startswith("VmFlags:"):
            if field not in known:
                known[field] = _flags_from_codes(field[8:].split(), number)
            current.vm_flags, current.foreign = known[field]
            current.flags_known = True
        elif field.startswith("Anonymous:") and _SOME_PAGES.match(field, 10):
            current.faulted = True
    return layout


def is_field(line: str) -> bool:
    """Whether *line* is a field of smaps, such as ``VmFlags: rd wr``."""
    return _SMAPS_FIELD.match(line) is not None


def parse_maps_line(text: str, line: int = 1) -> Mapping:
    """Read one line of /proc/PID/maps."""
    match = _MAPS_LINE.match(text.strip())
    if match is None:
        raise LayoutError(
            line, "not a line of /proc/PID/maps (START-END PERMS OFFSET DEV INODE NAME)"
        )
    mapping = _mapping(match.groups())
    if mapping.start >= mapping.end:
        raise LayoutError(line, "the mapping ends before it starts")
    return mapping


def _mapping(groups: Sequence[str | Any]) -> Mapping:
    """What the groups of a match of _MAPS say, of which there may be more."""
    start, end, perms, offset, device, inode, name = groups[:7]
    return Mapping(
        int(start, 16), int(end, 16), _PERMS[perms], int(offset, 16),
        _unescaped(name) if name else "", device, int(inode), False,
    )  # fmt: skip


def _read(text: str) -> Iterator[tuple[int, Mapping | None, str]]:
    """Line by line: its number, and the mapping it starts or the field of one that it holds."""
    lines = re.split(r"\r?\n", text) if "\r" in text else text.split("\n")
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        if _SMAPS_FIELD.match(line):
            yield number, None, line
        else:
            yield number, parse_maps_line(line, number), ""


def _without_a_code(before: int, after: list[str]) -> int:
    """What ``??`` stands for between the flags *before* it and the codes *after* it.

    Kernels before 8614d6c5eda0 (6.2) had no code for VM_LOCKONFAULT, and only locked memory has it.
    Codes come in the order of their bits.
    """
    above = [abi.CODE_TO_VM_FLAG.get(code, abi.VM_LOCKONFAULT << 1) for code in after]
    fits = before < abi.VM_LOCKONFAULT < min(above, default=1 << 63)
    return abi.VM_LOCKONFAULT if before & abi.VM_LOCKED and fits else 0


def _flags_from_codes(codes: list[str], line: int) -> tuple[int, tuple[str, ...]]:
    """The vm_flags of VmFlags, without soft-dirty, and the codes that are of no known flag."""
    flags = 0
    foreign: list[str] = []
    for position, code in enumerate(codes):
        bit = abi.CODE_TO_VM_FLAG.get(code)
        if bit is not None:
            flags |= bit
        elif _CODE.fullmatch(code) is None:
            raise LayoutError(line, f"unknown VmFlags code {code!r} (expected two letters)")
        elif code == abi.NAMELESS_CODE:
            flags |= _without_a_code(flags, codes[position + 1 :])
        else:
            foreign.append(code)
    return flags & ~abi.VM_SOFTDIRTY, tuple(foreign)


# --- what of it can be shown ----------------------------------------------------------------------

#: vm_flags that smaps text and JSON can show; protection keys have no code of two letters.
CODED_FLAGS: Final = sum(abi.VM_FLAG_CODES) & ~abi.VM_SOFTDIRTY
#: vm_flags that a maps line can show.
PERMS_FLAGS = flags_from_perms("rwxs")


def with_flags(layout: Layout, mask: int) -> Layout:
    """*layout* with no other vm_flags than those in *mask*."""
    if not any(m.vm_flags & ~mask for m in layout):
        return layout
    return [
        Mapping(m.start, m.end, m.vm_flags & mask, m.offset, m.name, m.device, m.inode)
        for m in layout
    ]
