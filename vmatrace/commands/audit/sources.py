"""What `vmatrace audit` is asked about: files, folders, and processes by number, name, cgroup."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

import click

from vmatrace.commands.audit.snapshot import (
    EmptyError,
    ForbiddenError,
    GoneError,
    process_name,
)
from vmatrace.commands.inputs import BAD, check_stdin
from vmatrace.diagnostic import Diagnostic, TraceError
from vmatrace.importers.sources import Input
from vmatrace.importers.text import LogText
from vmatrace.render import words
from vmatrace.snapshots import is_snapshot

#: Where control groups are, of either version.
_CGROUPS: Final = ("/sys/fs/cgroup", "/sys/fs/cgroup/unified", "/sys/fs/cgroup/systemd")
#: As many characters of a process's name the kernel keeps (TASK_COMM_LEN, less the null).
_COMM: Final = 15


class Asked(NamedTuple):
    """A snapshot: what open_snapshot() takes. ``among``: one of many that nobody named by itself,
    so that it may have exited since, and may be nobody's business. ``seen``: a process that was
    there when it was named.
    """

    name: str
    among: bool = False
    seen: bool = False

    @property
    def process(self) -> bool:
        """Whether it is of a process of this machine, and no file."""
        return _is_pid(self.name) or self.name.startswith("/proc/")


def named(sources: Sequence[str], everything: bool = False) -> list[Asked | TraceError]:
    """The snapshots that *sources* name, each once, and an error for each that names none.

    *everything*: all processes too.
    """
    check_stdin(sources)
    found: list[Asked | TraceError] = []
    for source in sources:
        found += _named(source)
    if everything:
        found += [Asked(str(pid), among=True) for pid in _processes()]
    once: dict[object, Asked | TraceError] = {}
    for each in found:
        key = each if isinstance(each, TraceError) else each.name
        once.setdefault(key, each)
    return list(once.values())


def _named(source: str) -> list[Asked | TraceError]:
    if source == "-":
        return [Asked(source)]
    if _is_pid(source):
        return [_process(source)]
    plain = source.rstrip("/")
    if plain.startswith("/proc/") and _is_pid(plain[6:]):
        return [_process(plain[6:])]
    if os.path.isdir(source):
        if os.path.exists(os.path.join(source, "cgroup.procs")):
            return _of_cgroup(source, source)
        return _below(source)
    if os.path.lexists(source):
        return [Asked(source)]
    for root in _CGROUPS:
        folder = f"{root}/{source.strip('/')}"
        if os.path.exists(f"{folder}/cgroup.procs"):
            return _of_cgroup(source, folder)
    if "/" in source:
        return [Asked(source)]  # which says that there is no such file
    pids = [pid for pid in _processes() if _is_called(pid, source)]
    if not pids:
        return [_error(source, "no file, process or control group has that name")]
    return [Asked(str(pid), among=True) for pid in pids]


def _process(pid: str) -> Asked:
    return Asked(pid, seen=os.path.exists(f"/proc/{pid}"))


def _is_pid(text: str) -> bool:
    return text.isascii() and text.isdigit()


def _processes() -> Iterator[int]:
    """All processes but this one, by their numbers."""
    own = os.getpid()
    yield from sorted({int(name) for name in os.listdir("/proc") if _is_pid(name)} - {own})


def _is_called(pid: int, name: str) -> bool:
    """Whether a process has that name: /proc/PID/comm, or how it was started."""
    short = process_name(pid)
    if short == name:
        return True
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            started = os.fsdecode(os.path.basename(file.read(4096).split(b"\0")[0]))
    except OSError:
        return False
    return started == name and (len(name) > _COMM or short == name[:_COMM])


def _of_cgroup(name: str, folder: str) -> list[Asked | TraceError]:
    """The processes of a control group and of those below it."""
    pids: set[int] = set()
    unreadable: list[OSError] = []
    for where, _, files in os.walk(folder, onerror=unreadable.append):
        if "cgroup.procs" in files:
            try:
                with open(os.path.join(where, "cgroup.procs"), encoding="ascii") as file:
                    pids.update(int(line) for line in file)
            except FileNotFoundError:
                continue  # the group is gone
            except OSError as error:
                unreadable.append(error)
    pids -= {0, os.getpid()}  # 0: of a process that is not seen from this PID namespace
    errors = [_error(str(e.filename), f"cannot be read: {e.strerror}") for e in unreadable]
    if not pids and not errors:
        return [_error(name, "there is no process in this control group")]
    return [*(Asked(str(pid), among=True) for pid in sorted(pids)), *errors]


def _below(folder: str) -> list[Asked | TraceError]:
    """The snapshots in *folder*, sorted; other files are passed over, and so is what is no file."""
    unreadable: list[OSError] = []
    paths = sorted(
        os.path.join(where, name)
        for where, _, names in os.walk(folder, onerror=unreadable.append)
        for name in names
    )
    found: list[Asked | TraceError] = []
    for path in filter(os.path.isfile, paths):
        try:
            if is_snapshot(LogText(Input(path)).head):
                found.append(Asked(path))
        except TraceError as error:
            found.append(error)
    errors = [_error(str(e.filename), f"cannot be read: {e.strerror}") for e in unreadable]
    if not found and not errors:
        errors = [_error(folder, "no snapshot in this directory (expected text of smaps or maps)")]
    return [*found, *errors]


def _error(name: str, what: str) -> TraceError:
    return TraceError([Diagnostic(name, 0, 0, what)])


class Lost:
    """Processes without an answer that are no error: of many, some exit, some are others'."""

    def __init__(self, several: bool) -> None:
        self._several = several
        self._forbidden = self._gone = 0
        self.answered = 0

    def excuses(self, source: Asked, error: TraceError) -> bool:
        """Whether the error is none; then it is counted."""
        if source.among and isinstance(error, EmptyError):
            return True
        if source.among and isinstance(error, ForbiddenError):
            self._forbidden += 1
            return True
        if isinstance(error, GoneError) and (source.among or (self._several and source.seen)):
            self._gone += 1
            return True
        return False

    def close(self, status: int) -> int:
        """Say what has to be said of them; the exit status of a run that came to *status*."""
        for count, what in (
            (self._forbidden, "may not be read (expected processes of your own, or root)"),
            (self._gone, "exited meanwhile"),
        ):
            if count:
                many = words.plural(count, "process", "processes")
                click.echo(f"vmatrace: note: {many} {what}", err=True)
        return BAD if self._forbidden and not self.answered else status
