"""Requests to the guest program as methods: runs of processes, layouts, system calls of its own.

Knows the words of ``guest.c``; what is done with the answers, ``machine`` knows.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Sequence
from typing import Final

from vmatrace.oracle.boot.channel import SECONDS, Channel
from vmatrace.oracle.errors import KernelDied, SandboxLost, Unavailable
from vmatrace.oracle.ptrace import CONT, CallRun, check_first_stop

_RUN, _ADOPT, _SPAWN, _KILL, _SMAPS, _POKE, _CALL = range(1, 8)
#: How a run ended.
STOPPED, ENDED, FAILED = range(3)
_WITH_SMAPS: Final = 1
#: An argument of _CALL that points to its bytes, plus an offset.
_BYTES: Final = 0x5A5ADA7A << 32
_RUN_ANSWER: Final = struct.Struct("<7Q")
_SMAPS_ANSWER: Final = struct.Struct("<q2Q")
_READ, _WRITE, _OPEN, _CLOSE, _GETPID = 0, 1, 2, 3, 39
_O_WRONLY: Final = 1
_CHUNK: Final = 1 << 16
WORD: Final = 0xFFFFFFFFFFFFFFFF


def as_text(text: str) -> bytes:
    """*text* as a system call takes it."""
    return text.encode(errors="surrogateescape") + b"\0"


def _run_words(
    pid: int, how: int, program: int, number: int, args: Sequence[int], smaps: bool
) -> tuple[int, ...]:
    """The words of a _RUN."""
    return (
        _RUN, pid, how, program, number, _WITH_SMAPS if smaps else 0, len(args),
        *(arg & WORD for arg in args),
    )  # fmt: skip


class Guest:
    """The guest program behind *channel*: requests as methods.

    Layouts come as what differs from the one sent last, so all of them pass through here.
    """

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._smaps = b""
        #: The process that ``_smaps`` is of, and the number of the answer that brought it.
        self._of = (0, 0)
        self._foreseen: deque[tuple[int, ...]] = deque()

    def run(
        self, pid: int, how: int, program: int, number: int, args: Sequence[int], smaps: bool
    ) -> tuple[tuple[int, ...], list[int]]:
        """The answer's words up to the number of births, then the births."""
        words = _run_words(pid, how, program, number, args, smaps)
        if self._foreseen:
            assert self._foreseen.popleft() == words, "not what was foreseen"
        else:
            self._channel.submit((words,))
        return self._take_run(words)

    def foresee(self, runs: Sequence[CallRun]) -> None:
        """Request *runs* now, with the layouts after them; they will be asked for in this order."""
        words = [_run_words(r.tracee.pid, *r[1:], True) for r in runs]
        self._foreseen.extend(words)
        self._channel.submit(words)

    def forget(self) -> None:
        """Let the runs be that were foreseen and not asked for."""
        try:
            while self._foreseen:
                self._take_run(self._foreseen.popleft())
        except KernelDied:  # which answers nothing more
            self._foreseen.clear()
            raise

    def _ask(
        self, words: tuple[int, ...], data: bytes = b"", seconds: float | None = None
    ) -> bytes:
        assert not self._foreseen, "runs were foreseen that have not been asked for"
        self._channel.submit((words,), data)
        return self._channel.receive() if seconds is None else self._channel.receive(seconds)

    def _take_run(self, words: tuple[int, ...]) -> tuple[tuple[int, ...], list[int]]:
        seconds = SECONDS
        if words[2] == CONT and words[6] == 3:
            seconds += words[9] / 1000  # pages to touch
        answer = self._channel.receive(seconds)
        head = _RUN_ANSWER.unpack_from(answer)
        births = head[6]
        end = _RUN_ANSWER.size + 8 * births
        if words[5] and head[0] == STOPPED:
            self._take_smaps(words[1], answer, end)
        return head, list(struct.unpack_from(f"<{births}Q", answer, _RUN_ANSWER.size))

    def smaps(self, pid: int) -> bytes:
        """Header and VmFlags line of each mapping of *pid*."""
        if self._of != (pid, self._channel.turns):
            answer = self._ask((_SMAPS, pid))
            if not answer:
                raise SandboxLost(f"process {pid} of the sandbox is gone")
            self._take_smaps(pid, answer, 0)
        return self._smaps

    def _take_smaps(self, pid: int, answer: bytes, at: int) -> None:
        error, start, end = _SMAPS_ANSWER.unpack_from(answer, at)
        before = self._smaps
        middle = answer[at + _SMAPS_ANSWER.size :]
        self._smaps = before[:start] + middle + before[len(before) - end :]
        self._of = (pid, self._channel.turns)
        if error < 0:
            raise SandboxLost(f"the layout of process {pid} cannot be read: {-error}")

    def adopt(self, pid: int) -> int:
        """Take over the current stop of *pid*; its stack pointer."""
        status, error, stack = struct.unpack("<3Q", self._ask((_ADOPT, pid)))
        if status != STOPPED:
            raise SandboxLost(f"process {pid} is gone: error {error}")
        return int(stack)

    def spawn(self, image: bytes) -> tuple[int, int]:
        """Start *image*; its pid and stack pointer. Raises Unavailable."""
        answer = self._ask((_SPAWN,), image)
        status, detail, pid, stack = struct.unpack("<4Q", answer)
        if status == ENDED:
            check_first_stop(detail)
        if status != STOPPED:
            raise Unavailable(f"the image cannot be traced in the guest: error {detail}")
        return pid, stack

    def kill(self, pid: int) -> None:
        self._ask((_KILL, pid))

    def poke(self, pid: int, address: int, data: bytes) -> int:
        """Write to the memory of *pid*; 0 or -errno."""
        answer = self._ask((_POKE, pid, address & WORD), data)
        return int(struct.unpack("<q", answer)[0])

    def call(self, number: int, *args: int | bytes, wanted: int = 0) -> tuple[int, bytes]:
        """Make a system call in the guest program: result, and the first *wanted* bytes.

        An argument of bytes is passed by address; those bytes are what *wanted* counts.
        """
        data, words = b"", []
        for arg in args:
            if isinstance(arg, bytes):
                words.append(_BYTES | len(data))
                data += arg
            else:
                words.append(arg & WORD)
        words += [0] * (6 - len(words))
        answer = self._ask((_CALL, number, *words, wanted), data)
        return struct.unpack_from("<q", answer)[0], answer[8:]

    def ask_for_life(self, seconds: float) -> None:
        """Make a request that takes no time. Raises KernelDied."""
        self._ask((_CALL, _GETPID, *[0] * 7), b"", seconds)

    def read(self, path: str) -> bytes:
        """The content of file *path*. Raises OSError."""
        fd, _ = self.call(_OPEN, as_text(path), 0, 0)
        if fd < 0:
            raise OSError(-fd, f"{path} cannot be opened in the guest")
        content = b""
        while True:
            size, data = self.call(_READ, fd, _BYTES, _CHUNK, wanted=_CHUNK)
            if size <= 0:
                break
            content += data[:size]
        self.call(_CLOSE, fd)
        return content

    def write(self, path: str, content: bytes) -> bool:
        """Write *content* to the existing file *path*; whether that worked."""
        fd, _ = self.call(_OPEN, as_text(path), _O_WRONLY, 0)
        if fd < 0:
            return False
        written, _ = self.call(_WRITE, fd, content, len(content))
        self.call(_CLOSE, fd)
        return written == len(content)
