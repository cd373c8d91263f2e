"""The command `vmatrace audit`."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import click

from vmatrace.commands import forms, options
from vmatrace.commands.inputs import BAD, DIFFERS, OK

if TYPE_CHECKING:
    from vmatrace.kernels import Kernel

_SYSCTL = "/proc/sys/vm/max_map_count"


@click.command(
    "audit",
    short_help="What keeps the VMAs of a running process apart.",
    epilog="""\b
Examples:
  vmatrace audit 1234                         a running process
  vmatrace audit smaps.txt --kernel 6.12      a saved /proc/PID/smaps
  ssh host cat /proc/1234/smaps | vmatrace audit - --kernel 6.6
  vmatrace audit 1234 --format json | jq .savable

\b
One snapshot shows less than the kernel compares. So the causes are what may
hide behind it: likely, or possible. Of a PID the kernel is the running one, by
its release; a distribution may have put later fixes into it.

\b
Exit status: 0 no neighbours that look alike are apart; 1 some are;
2 bad usage or bad input.""",
)
@click.argument("source", metavar="SMAPS|PID", shell_complete=options.complete_files)
@click.option("-k", "--kernel", type=options.Model(), metavar="MODEL",
              help="The kernel that the snapshot is of (see `vmatrace kernels`).  [default: of a "
              "PID the running one]")  # fmt: skip
@click.option("--max-map-count", type=click.IntRange(1), metavar="N",
              help="The sysctl vm.max_map_count there.  [default: of a PID what it is here, else "
              "65530]")  # fmt: skip
@forms.option(__package__)
def command(
    source: str, kernel: Kernel | None, max_map_count: int | None, wanted: tuple[forms.Wanted, ...]
) -> int:
    """Find neighbours that look alike and are two VMAs, in one snapshot of a process.

    The snapshot is the text of /proc/PID/smaps (or of maps, which tells less) in a file or on
    standard input (-), or a number: that of a running process.
    """
    from vmatrace.commands.audit import question
    from vmatrace.diagnostic import Diagnostic, TraceError
    from vmatrace.layout import LayoutError

    path = f"/proc/{source}/smaps" if source.isascii() and source.isdigit() else source
    live = path.startswith("/proc/")
    try:
        text = _read(path, live)
        try:
            snapshot = question.read(text)
        except LayoutError as error:
            line = text.splitlines()[error.line - 1]
            raise TraceError([Diagnostic(path, error.line, 1, error.message, line)]) from None
        if not snapshot.layout:
            what = "nothing is mapped there (a kernel thread, or it has exited)" if live else (
                "no mapping in it (expected the text of /proc/PID/smaps or maps)")  # fmt: skip
            raise TraceError([Diagnostic(path, 0, 0, what)])
    except TraceError as error:
        click.echo(str(error), err=True)
        return BAD
    if live:
        kernel = kernel or question.running(os.uname().release)
        max_map_count = max_map_count or _limit()
    found = question.audit(snapshot, kernel, max_map_count or question.DEFAULT_MAX_MAP_COUNT)
    shown = "<stdin>" if source == "-" else path
    with forms.Forms[question.Audited](__package__, wanted) as out:
        out.write(question.Audited(shown, found, max_map_count is None))
    return DIFFERS if found.savable else OK


def _read(path: str, live: bool) -> str:
    """The text at *path*. Raises TraceError."""
    from vmatrace.diagnostic import Diagnostic, TraceError

    try:
        if path == "-":
            data = sys.stdin.buffer.read()
        else:
            with open(path, "rb") as file:
                data = file.read()
    except OSError as error:
        why = f"cannot be read: {error.strerror}"
        if live and isinstance(error, PermissionError):
            why += " (expected a process of your own, or root)"
        elif live and isinstance(error, (FileNotFoundError, ProcessLookupError)):
            why = "there is no such process"
        raise TraceError([Diagnostic(path, 0, 0, why)]) from None
    # A path in it may be in any encoding; it is only compared and shown.
    return data.decode("utf-8", "backslashreplace")


def _limit() -> int | None:
    try:
        with open(_SYSCTL, encoding="ascii") as file:
            return int(file.read())
    except (OSError, ValueError):
        return None
