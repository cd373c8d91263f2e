"""Requests to the guest program and its answers, through shared memory or the serial port.

The format is that of ``guest.c``, which describes it: a length, 64-bit words, bytes. Knows the way
there and when nobody answers any more; what the words mean, ``machine`` knows.
"""

from __future__ import annotations

import mmap
import select
import socket
import struct
import time
from collections.abc import Callable, Sequence
from typing import Final, NoReturn

#: Bytes of the memory shared with the guest.
SHARED_BYTES: Final = 1 << 20
_REQUESTS, _ANSWERS = 0x1000, 0x40000
_REQUEST_BYTES, _ANSWER_BYTES = 1 << 17, 1 << 19
#: Where each index stands: bytes ever written to a ring, and read from it.
_REQUEST_HEAD, _REQUEST_TAIL, _ANSWER_HEAD, _ANSWER_TAIL = 0, 64, 128, 192
_INDEX: Final = struct.Struct("<I")
_WRAP: Final = 0xFFFFFFFF
#: A guest that does not answer for so long does not answer any more.
SECONDS: Final = 120.0
#: The greeting says how the guest will answer.
_GREETINGS: Final = {b"shared\n": True, b"serial\n": False}

#: Says why there is no answer: "has not answered for 120 s", or None where the line is closed.
Silence = Callable[["str | None"], NoReturn]


class Channel:
    """A connection to the guest program. ``turns`` counts the answers taken; ``in_memory`` says
    that they come through the shared memory.

    *line* is the guest's second serial port; *silence* is called, and raises, when no answer comes.
    *clock* has the seconds in which the guest could have answered.
    """

    def __init__(
        self,
        line: socket.socket,
        shared: mmap.mmap,
        silence: Silence,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.turns = 0
        self._line = line
        self._shared = shared
        self._silence = silence
        self._clock = clock
        self.in_memory = False
        self._received = bytearray()
        self._poll = select.poll()
        self._poll.register(line, select.POLLIN)

    def close(self) -> None:
        """Give the connection up. May be called again."""
        self._line.close()
        self._shared.close()

    def wait_for_greeting(self, seconds: float) -> bool:
        """Wait for the guest program to start; whether it has the shared memory."""
        text = b""
        deadline = self._clock() + seconds
        while True:
            for greeting, in_memory in _GREETINGS.items():
                if text.endswith(greeting):
                    self.in_memory = in_memory
                    return in_memory
            text += self._line_bytes(deadline, seconds)

    def submit(self, requests: Sequence[tuple[int, ...]], data: bytes = b"") -> None:
        """Make *requests*, the last of them with *data*. Each is answered, in order."""
        body = b"".join(
            struct.pack(
                f"<I{len(words)}Q",
                8 * len(words) + (len(data) if i == len(requests) else 0),
                *words,
            )
            for i, words in enumerate(requests, 1)
        )
        if self.in_memory:
            self._write(body + data, self._clock() + SECONDS, SECONDS)
        else:
            self._send(body + data)

    def receive(self, seconds: float = SECONDS) -> bytes:
        """The next answer. Waits for it at most *seconds*."""
        self.turns += 1
        deadline = self._clock() + seconds
        size = _INDEX.unpack(self._take(4, deadline, seconds))[0]
        return self._take(size, deadline, seconds)

    # --- the rings ----------------------------------------------------------------------------

    def _write(self, data: bytes, deadline: float, seconds: float) -> None:
        shared = self._shared
        head = _INDEX.unpack_from(shared, _REQUEST_HEAD)[0]
        while data:
            tail = _INDEX.unpack_from(shared, _REQUEST_TAIL)[0]
            room = _REQUEST_BYTES - (head - tail & _WRAP)
            if room == 0:
                self._check(deadline, seconds)
                time.sleep(0.001)
                continue
            at = head % _REQUEST_BYTES
            part = data[: min(room, _REQUEST_BYTES - at)]
            shared[_REQUESTS + at : _REQUESTS + at + len(part)] = part
            data = data[len(part) :]
            head = head + len(part) & _WRAP
            _INDEX.pack_into(shared, _REQUEST_HEAD, head)
            self._send(b"!")

    def _take(self, size: int, deadline: float, seconds: float) -> bytes:
        received = self._received
        while len(received) < size:
            if not self.in_memory:
                received += self._line_bytes(deadline, seconds)
            elif not self._drain():
                self._line_bytes(deadline, seconds)
        result = bytes(received[:size])
        del received[:size]
        return result

    def _drain(self) -> bool:
        """Take what is in the ring of answers; whether there was something."""
        shared = self._shared
        head = _INDEX.unpack_from(shared, _ANSWER_HEAD)[0]
        tail = _INDEX.unpack_from(shared, _ANSWER_TAIL)[0]
        ready = head - tail & _WRAP
        if ready == 0:
            return False
        at = tail % _ANSWER_BYTES
        first = min(ready, _ANSWER_BYTES - at)
        self._received += shared[_ANSWERS + at : _ANSWERS + at + first]
        self._received += shared[_ANSWERS : _ANSWERS + ready - first]
        _INDEX.pack_into(shared, _ANSWER_TAIL, head)
        return True

    # --- the line -----------------------------------------------------------------------------

    def _send(self, data: bytes) -> None:
        try:
            self._line.sendall(data)
        except OSError:  # a virtual machine that has gone; no closed pipe of a reader of ours
            self._silence(None)

    def _line_bytes(self, deadline: float, seconds: float) -> bytes:
        """The next bytes from the serial port."""
        while not self._poll.poll(max(0.0, min(0.5, deadline - self._clock())) * 1000):
            self._check(deadline, seconds)
        try:
            data = self._line.recv(1 << 16)
        except OSError:
            data = b""
        if not data:
            self._silence(None)
        return data

    def _check(self, deadline: float, seconds: float) -> None:
        if self._clock() >= deadline:
            self._silence(f"has not answered for {seconds:.0f} s")
