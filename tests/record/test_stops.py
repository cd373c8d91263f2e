"""Waiting for stops and for signals at once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest
from program import LIMIT, ROOT

from vmatrace.record.stops import Waiter

TERM = signal.SIGTERM


@pytest.fixture
def waiter() -> Iterator[Waiter]:
    with Waiter(frozenset({TERM, signal.SIGHUP})) as opened:
        yield opened


def ended(pid: int) -> bool:
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def spawned(script: str) -> int:
    """The number of a child that runs it."""
    return os.posix_spawn("/bin/sh", ["sh", "-c", script], os.environ)


def child(code: int) -> int:
    pid = spawned(f"exit {code}")
    while not ended(pid):
        time.sleep(0.001)
    return pid


def test_a_signal_before_the_wait_and_one_during_it_are_both_seen(waiter: Waiter) -> None:
    pid = spawned("exec sleep 60")
    try:
        os.kill(os.getpid(), TERM)
        assert waiter.next() == (0, TERM)
        main = threading.get_ident()
        threading.Timer(0.2, lambda: signal.pthread_kill(main, signal.SIGHUP)).start()
        assert waiter.next() == (0, signal.SIGHUP)
        assert waiter.next(0.01) == (0, 0)
    finally:
        os.kill(pid, signal.SIGKILL)
        waiter.reap(pid)


_ALONE = """
import os, signal, sys
from vmatrace.record.stops import Waiter

limit = eval(sys.argv[1])
with Waiter(frozenset({signal.SIGTERM})) as waiter:
    pid = os.posix_spawn("/bin/sh", ["sh", "-c", "exit 7"], os.environ)
    while os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        pass
    assert waiter.next(limit) == (pid, 7 << 8)
    assert waiter.next(limit) == (0, 0)
"""


@pytest.mark.parametrize("limit", [None, 5.0])
def test_an_end_is_seen_and_then_nobody_is_left(limit: float | None) -> None:
    """In a process of its own: this one may have children that other tests have left it."""
    subprocess.run([sys.executable, "-c", _ALONE, repr(limit)], cwd=ROOT, check=True, timeout=LIMIT)


def test_what_can_wait_is_done_only_while_nobody_stops(waiter: Waiter) -> None:
    left = [3]

    def do() -> None:
        left[0] -= 1

    pid = child(0)
    waiter.more, waiter.meanwhile = (lambda: left[0] > 0), do
    assert (waiter.next(), left) == ((pid, 0), [3])
    other = spawned("sleep 0.3")
    assert (waiter.next(), left) == ((other, 0), [0])


def test_everything_is_afterwards_as_it_was() -> None:
    def state() -> object:
        kinds = (TERM, signal.SIGCHLD, signal.SIGALRM, signal.SIGHUP)
        handlers = [signal.getsignal(sig) for sig in kinds]
        return handlers, signal.pthread_sigmask(signal.SIG_BLOCK, ()), signal.getitimer(0)

    before = state()
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Waiter(frozenset({TERM, signal.SIGHUP})) as waiter:
            assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
            os.kill(os.getpid(), signal.SIGHUP)
            assert waiter.next(0.05) == (0, 0)
    finally:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
    assert state() == before
