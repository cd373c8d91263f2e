"""Settings of the machine that a test changes: nobody else runs meanwhile, all is put back."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

VM: Final = Path("/proc/sys/vm")
#: A test with this mark changes settings of the machine.
ALONE: Final = "alone_on_machine"
_LIMIT_KB: Final = 48 << 30


@contextmanager
def beside_others(alone: bool) -> Iterator[None]:
    """A test at a time while one is *alone*, else as many as like; also in other processes."""
    try:
        lock = (VM / "overcommit_memory").open(encoding="ascii")
    except OSError:  # no such settings, no such tests
        yield
        return
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        yield


@contextmanager
def strict_overcommit() -> Iterator[None]:
    """vm.overcommit_memory=2 with so much to commit that no program misses anything: 48 TiB."""
    before = {name: (VM / name).read_text() for name in ("overcommit_ratio", "overcommit_kbytes")}
    mode = (VM / "overcommit_memory").read_text()
    try:
        (VM / "overcommit_kbytes").write_text(str(_LIMIT_KB))
        (VM / "overcommit_memory").write_text("2")
        yield
    finally:
        (VM / "overcommit_memory").write_text(mode)
        # The one that is written makes the other 0.
        name = "overcommit_kbytes" if int(before["overcommit_kbytes"]) else "overcommit_ratio"
        (VM / name).write_text(before[name])
