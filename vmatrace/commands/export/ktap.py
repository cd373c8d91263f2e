"""What the exported program prints where the kernel is the model, without running anything."""

from __future__ import annotations

import re
from typing import TextIO

from vmatrace.commands.export.program import CProgram

_TITLE = re.compile(r'"((?:[^"\\]|\\.)*)"\);$')


def write(made: CProgram, out: TextIO) -> None:
    """KTAP with a line for each check of the program, all of which hold."""
    titles = [
        found[1] for line in made.lines for code in line.code if (found := _TITLE.search(code))
    ]
    out.write(f"KTAP version 1\n1..{made.tests}\n")
    for number, title in enumerate(titles, 1):
        plain = re.sub(r"\\(\d{3})", lambda octal: chr(int(octal[1], 8)), title)
        out.write(f"ok {number} {plain}\n")
    out.write(f"# passed {made.tests} of {made.tests}\n")
