"""What a format is: a name, how it is known, and how its text becomes a trace.

One module per format makes a Format; the table of them all is ``importers.FORMATS``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Final

from vmatrace.importers.machine import DEFAULT_PAGE_SIZE, LogMachine, guessed
from vmatrace.importers.text import LogText
from vmatrace.trace.file import Trace

#: What of a log counts as written to, unless somebody says otherwise.
DEFAULT_FAULTED: Final = "writable"


@dataclass(frozen=True)
class Reading:
    """How an input is to be read, where that is not left to what it shows.

    ``assume_faulted``: what of a log counts as written to, "none" or "writable"; None:
    DEFAULT_FAULTED. ``form``: the name of a Format that the input has to be of. ``page_size`` in
    bytes and ``arch`` (a key of abi.TASK_SIZES) are of the machine that a log is of; None: as it
    shows (machine()).
    """

    assume_faulted: str | None = None
    form: str | None = None
    page_size: int | None = None
    arch: str | None = None

    @property
    def faulted(self) -> str:
        return self.assume_faulted or DEFAULT_FAULTED

    def machine(self, lines: Sequence[str]) -> LogMachine:
        """The machine that a log is of which starts with *lines*: as said, else as they prove."""
        found = guessed(lines)
        return LogMachine(self.arch or found.arch, self.page_size or found.page_size)

    def remarks(self, machine: LogMachine) -> list[str]:
        """What to say of a *machine* that was guessed (Notes.assumed)."""
        said = []
        if self.page_size is None and machine.page_size != DEFAULT_PAGE_SIZE:
            said.append(
                f"Pages have {machine.page_size} bytes, as all addresses show (--page-size)."
            )
        if self.arch is None and machine.arch not in (None, "x86_64"):
            said.append(f"The machine is {machine.arch}, as the log shows (--arch).")
        return said


@dataclass(frozen=True)
class Format:
    """One format of somebody else's.

    ``name`` is what `vmatrace import` calls it, ``what`` what messages do ("a log of strace"),
    ``made`` a command that makes one. ``looks_like`` tells from the first lines of a text (its line
    breaks and what containers and journals put before each line are gone) whether it is one;
    ``open`` gives the trace, whose ``notes`` count every line (notes.Notes). ``open_set``: as
    ``open``, of the files that the program wrote in place of the path it was given.
    """

    name: str
    what: str
    made: str
    looks_like: Callable[[Sequence[str]], bool]
    open: Callable[[LogText, Reading], Trace]
    open_set: Callable[[str, Sequence[LogText], Reading], Trace] | None = None


def stem(path: str) -> str:
    """The stem of a log's name: ``run`` for run.log, run.strace.gz and run."""
    name = PurePath(path).name.strip("<>")
    for suffix in (".gz", ".xz", ".zst", ".log", ".txt", ".jsonl", ".strace", ".trace"):
        if len(name) > len(suffix):
            name = name.removesuffix(suffix)
    return name
