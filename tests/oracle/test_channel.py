"""A guest that has gone is an answer, whatever it was being told or asked."""

from __future__ import annotations

import mmap
import os
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import NoReturn

import pytest

from vmatrace.oracle import KernelDied
from vmatrace.oracle import arch as archs
from vmatrace.oracle.boot.channel import SHARED_BYTES, Channel
from vmatrace.oracle.boot.machine import GuestTracee
from vmatrace.oracle.boot.qemu import waited_to_run
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


def test_a_guest_may_be_late_by_as_long_as_it_could_not_run() -> None:
    ours, theirs = socket.socketpair()
    channel = Channel(ours, mmap.mmap(-1, SHARED_BYTES), silence, clock=lambda: 7.0)
    late = threading.Timer(0.6, theirs.sendall, [struct.pack("<I", 3) + b"yes"])
    late.start()
    assert channel.receive(0.001) == b"yes"
    late.join()
    theirs.close()
    channel.close()


def test_how_long_a_process_waited_for_a_processor() -> None:
    busy = [sys.executable, "-c", "print(flush=True)\nwhile True: pass"]
    one = min(os.sched_getaffinity(0))
    processes = [
        subprocess.Popen(
            busy, stdout=subprocess.PIPE, preexec_fn=lambda: os.sched_setaffinity(0, {one})
        )
        for _ in range(2)
    ]
    for process in processes:
        assert process.stdout is not None
        process.stdout.readline()
    before = waited_to_run(processes[0].pid)
    while waited_to_run(processes[0].pid) < before + 0.1:
        pass
    for process in processes:
        process.kill()
        process.communicate()
    assert waited_to_run(processes[0].pid) == 0
