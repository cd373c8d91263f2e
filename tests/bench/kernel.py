"""How fast the running kernel makes a log's memory calls, from C: ``calls_per_second()``.

The yardstick of a replay: kernel.c reads a script of the same calls and makes them.
"""

from __future__ import annotations

import platform
import shutil
import subprocess
from pathlib import Path

import vmatrace
from vmatrace import abi
from vmatrace.event import Event

_LETTERS = {"mmap": "m", "munmap": "u", "mprotect": "p", "madvise": "a", "brk": "b"}
_FILE = "/usr/bin/env"


def calls_per_second(log: Path, folder: Path, runs: int) -> float | None:
    """Calls a second of CPU time, the best of *runs*; None where C is not compiled or run."""
    compiler = shutil.which("gcc")
    if compiler is None or platform.machine() != "x86_64":
        return None
    program, script = folder / "kernel", folder / "script"
    source = Path(__file__).with_name("kernel.c")
    subprocess.run([compiler, "-O2", "-static", "-no-pie", "-o", program, source], check=True)
    with script.open("w", encoding="ascii") as file:
        for item in vmatrace.open_trace(log).items():
            if isinstance(item, Event) and item.name in _LETTERS:
                assert item.recorded is not None
                numbers = [arg if isinstance(arg, int) else 0 for arg in item.args]
                arguments = "".join(f" {number & abi.ULONG_MAX:x}" for number in numbers)
                file.write(f"{_LETTERS[item.name]}{arguments}={item.recorded & abi.ULONG_MAX:x}\n")
    best = 0.0
    for _ in range(runs):
        argv = ["setarch", "-R", str(program), str(script), _FILE]
        calls, others, seconds = subprocess.check_output(argv, text=True).split()
        assert others == "0", f"{others} of {calls} calls answered otherwise"
        best = max(best, int(calls) / float(seconds))
    return best
