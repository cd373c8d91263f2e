"""Samples of a process, kept in a file of SQLite: ``Samples``.

Every layout is in it, as what changed since the sample before: a row for each VMA with the sample
that it came and went with. So are the counts by pattern, and the cuts (see ratchet). There is
nothing of what memory holds. A sample is written whole or not at all, so that the file is good when
the writer is killed.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from itertools import pairwise
from typing import Any, Final, NamedTuple

from vmatrace import abi
from vmatrace.commands.audit.patterns import PATTERNS, assigned
from vmatrace.commands.audit.snapshot import Snapshot
from vmatrace.commands.audit.watch.damage import check
from vmatrace.commands.audit.watch.ratchet import Cuts
from vmatrace.diagnostic import Diagnostic, TraceError
from vmatrace.escape import visible
from vmatrace.importers.looks import SAMPLES_ID
from vmatrace.layout import Layout, Mapping

FORMAT: Final = "vmatrace-samples-1"
#: The year 9999, in seconds since 1970: what can be written as a date.
_LATEST: Final = 253370764800
IN_MEMORY: Final = ":memory:"
_TABLES: Final = """
CREATE TABLE about (key TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID;
CREATE TABLE samples (number INTEGER PRIMARY KEY, at REAL, took REAL, vmas INTEGER,
                      mergeable INTEGER, max_map_count INTEGER);
CREATE TABLE patterns (sample INTEGER, pattern TEXT, vmas INTEGER);
CREATE TABLE kinds (kind INTEGER PRIMARY KEY, flags INTEGER, flags_known INTEGER, codes TEXT,
                    name TEXT, device TEXT, inode INTEGER);
CREATE TABLE vmas (vma INTEGER PRIMARY KEY, start INTEGER, end INTEGER, kind INTEGER,
                   offset INTEGER, anonymous INTEGER, came INTEGER, gone INTEGER);
CREATE TABLE cuts (address INTEGER, pattern TEXT, came INTEGER, gone INTEGER, healed INTEGER,
                      PRIMARY KEY (address, came)) WITHOUT ROWID;
"""


class Sample(NamedTuple):
    """``at`` in seconds since 1970; ``took``: seconds of the kernel for it; ``patterns``: VMAs of
    each.
    """

    at: float
    took: float
    vmas: int
    mergeable: int
    max_map_count: int
    patterns: dict[str, int]


class About(NamedTuple):
    """Whose samples these are. ``started``: when the process did, in ticks since the boot."""

    pid: int
    process: str
    started: int
    kernel: str


class Samples:
    """All samples so far. A context, which is closed when it is left."""

    def __init__(self, path: str, about: About) -> None:
        """Open the file at *path*, which is made, or already holds samples of the same process.

        Raises TraceError for a file that holds something else.
        """
        self.path = path
        self.about = about
        self.taken: list[Sample] = []
        self.cuts = Cuts()
        self._kinds: dict[tuple[Any, ...], int] = {}
        self._rows: dict[tuple[Any, ...], int] = {}
        with _explained(path):
            self._db = sqlite3.connect(path)
            try:
                if self._db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                    self._load(about)
                else:
                    self._make(about)
            except BaseException:
                self._db.close()
                raise

    def __enter__(self) -> Samples:
        return self

    def __exit__(self, *_: object) -> None:
        self._db.close()

    def _make(self, about: About) -> None:
        with self._db:
            identity = int.from_bytes(SAMPLES_ID, "big")
            self._db.executescript(f"PRAGMA application_id = {identity};{_TABLES}")
            self._db.executemany(
                "INSERT INTO about VALUES (?, ?)",
                [
                    ("format", FORMAT),
                    *((key, str(value)) for key, value in about._asdict().items()),
                ],
            )

    def _load(self, about: About) -> None:
        found = _about(self._db, self.path)
        if (found.pid, found.started) != (about.pid, about.started):
            raise _error(
                self.path,
                f"it holds samples of another process, {found.pid} {found.process} (expected a "
                "name that is free, or samples of this process to go on with)",
            )
        check(self._db)
        self.taken = list(_samples(self._db))
        self.cuts = _cuts(self._db)
        for row in self._db.execute("SELECT * FROM kinds"):
            self._kinds[row[1:]] = row[0]
        query = "SELECT start, end, kind, offset, anonymous, vma FROM vmas WHERE gone IS NULL"
        self._rows = {row[:5]: row[5] for row in self._db.execute(query)}

    def add(self, snapshot: Snapshot, at: float, took: float, max_map_count: int) -> Sample:
        """The next sample. Raises TraceError where the file cannot be written."""
        layout = snapshot.layout
        named = assigned(layout)
        mergeable = sum(bool(mapping.vm_flags & abi.VM_MERGEABLE) for mapping in layout)
        sample = Sample(at, took, len(layout), mergeable, max_map_count, dict(Counter(named)))
        number = len(self.taken) + 1
        with _explained(self.path), self._db:
            self._db.execute("INSERT INTO samples VALUES (?, ?, ?, ?, ?, ?)", (number, *sample[:5]))
            self._db.executemany(
                "INSERT INTO patterns VALUES (?, ?, ?)",
                [(number, name, vmas) for name, vmas in sample.patterns.items()],
            )
            self._write_vmas(number, layout)
            came, passed = self.cuts.add(number, layout, named)
            self._db.executemany(
                "INSERT INTO cuts VALUES (?, ?, ?, NULL, NULL)",
                [(_signed(address), name, number) for address, name in came.items()],
            )
            self._db.executemany(
                "UPDATE cuts SET gone = ?, healed = ? WHERE address = ? AND came = ?",
                [(number, p.healed, _signed(p.address), p.came) for p in passed],
            )
        self.taken.append(sample)
        return sample

    def _write_vmas(self, number: int, layout: Layout) -> None:
        now = {}
        for m in layout:
            key = (
                _signed(m.start),
                _signed(m.end),
                self._kind(m),
                _signed(m.offset),
                int(m.faulted),
            )
            now[key] = self._rows.get(key)
        self._db.executemany(
            "UPDATE vmas SET gone = ? WHERE vma = ?",
            [(number, row) for key, row in self._rows.items() if key not in now],
        )
        for key, row in now.items():
            if row is None:
                done = self._db.execute(
                    "INSERT INTO vmas VALUES (NULL, ?, ?, ?, ?, ?, ?, NULL)", (*key, number)
                )
                now[key] = done.lastrowid
        self._rows = {key: row for key, row in now.items() if row is not None}

    def _kind(self, m: Mapping) -> int:
        key = (
            _signed(m.vm_flags), int(m.flags_known), " ".join(m.foreign), m.name, m.device,
            _signed(m.inode),
        )  # fmt: skip
        found = self._kinds.get(key)
        if found is None:
            found = self._kinds[key] = len(self._kinds) + 1
            self._db.execute("INSERT INTO kinds VALUES (?, ?, ?, ?, ?, ?, ?)", (found, *key))
        return found

    def snapshot(self, number: int | None = None) -> Snapshot:
        """The snapshot of a sample, counted from 1; by default the last."""
        with _explained(self.path):
            return _snapshot(self._db, self.path, self.about, number or len(self.taken))


def open_samples(path: str) -> Samples:
    """The samples in the file at *path*. Raises TraceError."""
    with (
        _explained(path),
        closing(sqlite3.connect(f"file:{_quoted(path)}?mode=ro", uri=True)) as db,
    ):
        return Samples(path, _about(db, path))


def _quoted(path: str) -> str:
    from urllib.parse import quote

    return quote(path, errors="surrogateescape")


def _about(db: sqlite3.Connection, path: str) -> About:
    try:
        found = dict(db.execute("SELECT key, value FROM about"))
    except sqlite3.OperationalError:
        found = {}
    if found.get("format") != FORMAT or not set(About._fields) <= set(found):
        what = "it is a database, but not of samples (expected what `audit --every -o` wrote)"
        raise _error(path, what)
    if not all(isinstance(found[name], str) for name in About._fields):
        raise ValueError("what is said about the process is no text")
    pid = int(found["pid"])
    if not 0 < pid < 1 << 31:
        raise ValueError(f"there is no process {pid}")
    return About(pid, found["process"], int(found["started"]), found["kernel"])


def _samples(db: sqlite3.Connection) -> Iterator[Sample]:
    counts: dict[int, dict[str, int]] = {}
    for number, name, vmas in db.execute("SELECT sample, pattern, vmas FROM patterns"):
        counts.setdefault(number, {})[_known(name)] = int(vmas)
    query = "SELECT number, at, took, vmas, mergeable, max_map_count FROM samples ORDER BY number"
    for number, at, took, *rest in db.execute(query):
        vmas, mergeable, limit = map(int, rest)
        if vmas < 0 or limit < 1 or not 0 <= at < _LATEST:
            raise ValueError(f"sample {number} cannot be")
        yield Sample(float(at), float(took), vmas, mergeable, limit, counts.get(number, {}))


def _known(pattern: str) -> str:
    """*pattern*, which must be one."""
    if pattern not in PATTERNS:
        raise ValueError(f"no pattern is called {visible(str(pattern))}")
    return pattern


def _cuts(db: sqlite3.Connection) -> Cuts:
    found = Cuts()
    query = "SELECT address, pattern, came, gone, healed FROM cuts ORDER BY came"
    for address, name, came, gone, healed in db.execute(query):
        found.come(_unsigned(address), came, _known(name))
        if gone is not None:
            found.pass_(_unsigned(address), bool(healed))
    return found


def _snapshot(db: sqlite3.Connection, path: str, about: About, number: int) -> Snapshot:
    layout = []
    query = (
        "SELECT start, end, flags, offset, name, device, inode, flags_known, anonymous, codes "
        "FROM vmas JOIN kinds USING (kind) WHERE came <= ? AND (gone IS NULL OR gone > ?)"
    )
    for *numbers, anonymous, codes in db.execute(query, (number, number)):
        start, end, flags, offset, name, device, inode, known = numbers
        mapping = Mapping(
            _unsigned(start), _unsigned(end), _unsigned(flags), _unsigned(offset), str(name),
            str(device), _unsigned(inode), bool(known),
        )  # fmt: skip
        if mapping.start >= mapping.end:
            raise ValueError("a VMA that ends before it starts")
        mapping.faulted = bool(anonymous)
        mapping.foreign = tuple(codes.split())
        layout.append(mapping)
    layout.sort(key=lambda mapping: mapping.start)
    if any(above.start < below.end for below, above in pairwise(layout)):
        raise ValueError("VMAs that overlap")
    known = all(mapping.flags_known for mapping in layout)
    source = f"/proc/{about.pid}/smaps" if path == IN_MEMORY else path
    return Snapshot(layout, known, True, source, None, about.process)


def _signed(number: int) -> int:
    """A number of 64 bits as SQLite has them."""
    return number - (1 << 64) if number >> 63 else number


def _unsigned(number: int) -> int:
    return number % (1 << 64)


class _explained:  # noqa: N801 a context manager
    """What SQLite says of the file at *path* becomes a TraceError."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __enter__(self) -> None:
        pass

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if isinstance(error, (sqlite3.Error, ValueError, TypeError, KeyError, OverflowError)):
            raise _error(self._path, f"as a file of samples: {error}") from None


def _error(path: str, what: str) -> TraceError:
    return TraceError([Diagnostic(path, 0, 0, what)])
