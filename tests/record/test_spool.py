"""What a recording is kept in: where that has no room, nothing is written any more."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from vmatrace.event import Event
from vmatrace.oracle.errors import Unavailable
from vmatrace.record.spool import Spool


def test_without_room_it_says_so_once_and_keeps_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    full = Path("/dev/full").open  # every write there fails with ENOSPC
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda *_, **__: full("w", buffering=1))
    spool = Spool()
    for _ in range(500):
        spool.add(Event("munmap", (0x1000, 0x1000), "", recorded=0))
    assert spool.much_waits()
    with pytest.raises(Unavailable, match="cannot be kept there: No space left"):
        spool.write_some()
    assert not spool.much_waits()
    spool.write_some()
