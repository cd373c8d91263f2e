"""What the exported program prints where the kernel is the model, without running anything."""

from __future__ import annotations

from typing import TextIO

from vmatrace.commands.export.program import CProgram


def write(made: CProgram, out: TextIO) -> None:
    """KTAP with a line for each check of the program, all of which hold."""
    titles = (title for line in made.lines for title in line.titles)
    out.write(f"KTAP version 1\n1..{made.tests}\n")
    for number, title in enumerate(titles, 1):
        out.write(f"ok {number} {title}\n")
    out.write(f"# passed {made.tests} of {made.tests}\n")
