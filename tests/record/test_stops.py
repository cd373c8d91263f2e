"""Waiting for stops and for signals at once."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator

import pytest

from vmatrace.record.stops import Waiter

TERM = signal.SIGTERM


@pytest.fixture
def waiter() -> Iterator[Waiter]:
    with Waiter(frozenset({TERM, signal.SIGHUP})) as opened:
        yield opened


def ended(pid: int) -> bool:
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def child(code: int) -> int:
    pid = os.fork()
    if pid == 0:
        os._exit(code)
    while not ended(pid):
        time.sleep(0.001)
    return pid


def test_a_signal_before_the_wait_and_one_during_it_are_both_seen(waiter: Waiter) -> None:
    pid = os.fork()
    if pid == 0:
        time.sleep(60)
        os._exit(0)
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


@pytest.mark.parametrize("limit", [None, 5.0])
def test_an_end_is_seen_and_then_nobody_is_left(waiter: Waiter, limit: float | None) -> None:
    pid = child(7)
    assert waiter.next(limit) == (pid, 7 << 8)
    assert waiter.next(limit) == (0, 0)


def test_what_can_wait_is_done_only_while_nobody_stops(waiter: Waiter) -> None:
    left = [3]

    def do() -> None:
        left[0] -= 1

    pid = child(0)
    waiter.more, waiter.meanwhile = (lambda: left[0] > 0), do
    assert (waiter.next(), left) == ((pid, 0), [3])
    other = os.fork()
    if other == 0:
        time.sleep(0.3)
        os._exit(0)
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
