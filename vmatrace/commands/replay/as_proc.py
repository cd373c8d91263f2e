"""The final layouts as /proc/PID/maps and /proc/PID/smaps have them, and nothing else.

One process is printed bare, as the kernel would. Several are told apart by headers like those of
head(1), ``==> TRACE: PID <==``.
"""

from __future__ import annotations

from typing import TextIO

from vmatrace.layout import maps_text, smaps_text
from vmatrace.render.paper import visible
from vmatrace.replayer.result import Result


def write(out: TextIO, result: Result, form: str, alone: bool) -> None:
    """*form* is "maps" or "smaps". *alone*: this is the only trace that is printed."""
    bare = alone and len(result.processes) == 1
    for process in result.processes:
        if not bare:
            out.write(f"==> {visible(result.trace)}: {visible(process.pid)} <==\n")
        layout = process.layout
        out.write(maps_text(layout) if form == "maps" else smaps_text(layout, result.page_size))
        if not bare:
            out.write("\n")
