"""A guest that has gone is an answer, whatever it was being told or asked."""

from __future__ import annotations

import mmap
import socket
from collections.abc import Iterator
from typing import NoReturn

import pytest

from vmatrace.oracle import KernelDied
from vmatrace.oracle import arch as archs
from vmatrace.oracle.boot.channel import SHARED_BYTES, Channel
from vmatrace.oracle.boot.machine import GuestTracee
from vmatrace.oracle.boot.requests import Guest
from vmatrace.oracle.ptrace import CallRun


def silence(why: str | None) -> NoReturn:
    raise KernelDied(why or "ended the virtual machine", [])


@pytest.fixture
def gone() -> Iterator[Channel]:
    """A channel whose other end is closed."""
    ours, theirs = socket.socketpair()
    channel = Channel(ours, mmap.mmap(-1, SHARED_BYTES), silence)
    theirs.close()
    yield channel
    channel.close()


@pytest.mark.parametrize("in_memory", [True, False])
def test_to_tell_a_guest_that_has_gone(gone: Channel, in_memory: bool) -> None:
    gone.in_memory = in_memory
    with pytest.raises(KernelDied, match="ended the virtual machine"):
        gone.submit([(1, 2)], b"data")


@pytest.mark.parametrize("in_memory", [True, False])
def test_to_hear_from_a_guest_that_has_gone(gone: Channel, in_memory: bool) -> None:
    gone.in_memory = in_memory
    with pytest.raises(KernelDied, match="ended the virtual machine"):
        gone.receive(1)


def test_what_a_guest_was_to_run_is_forgotten_when_it_has_gone(gone: Channel) -> None:
    guest = Guest(gone)
    gone.in_memory = True
    with pytest.raises(KernelDied):
        guest.foresee([CallRun(GuestTracee(1, archs.x86_64(), guest, 0), 0, 0, 39, ())] * 3)
    with pytest.raises(KernelDied):
        guest.forget()
    guest.forget()
    with pytest.raises(KernelDied):  # and no assertion
        guest.kill(1)
