"""Shell completion: bash completes in a terminal; zsh and fish get scripts in their languages."""

from __future__ import annotations

import os
import pty
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from program import LIMIT, ROOT, RunProgram

#: What is typed before the tab key, and what the program is then called with.
TYPED = {
    "repla": "replay",
    "replay --kernel pre-p": "replay --kernel pre-patch",
    "replay -k 7.0.1": "replay -k 7.0.12",
    "replay --without ksm-before": "replay --without ksm-before-merge",
    "replay --format sm": "replay --format smaps",
    "replay README.m": "replay README.md",
    "replay --stri": "replay --strict",
    "schema repla": "schema replay",
    "verify -k post": "verify -k post-patch",
    "check --kernel pre-p": "check --kernel pre-patch",
    "diff --from pre-p": "diff --from pre-patch",
    "diff --from READ": "diff --from README.md",
    "explain --with ksm-la": "explain --with ksm-late-check-before-hook",
}


class Terminal:
    """An interactive bash on a terminal of its own, in the project's directory."""

    def __init__(self, folder: Path) -> None:
        program = folder / "vmatrace"
        program.write_text(
            '#!/bin/sh\ntest -n "$_VMATRACE_COMPLETE" || { echo "ran: $*."; exit; }\n'
            f'exec {sys.executable} -m vmatrace "$@"\n'
        )
        program.chmod(0o755)
        # Not /dev/null: whatever a machine has there, readline reads as key bindings.
        inputrc = folder / "inputrc"
        inputrc.touch()
        ours, theirs = pty.openpty()
        bash = shutil.which("bash")
        assert bash is not None
        self.shell = subprocess.Popen(
            [bash, "--noprofile", "--norc", "-i"], cwd=ROOT, stdin=theirs, stdout=theirs,
            stderr=theirs, start_new_session=True,
            env={"PATH": f"{folder}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT), "PS1": "$ ",
                 "TERM": "dumb", "INPUTRC": str(inputrc), "HISTFILE": ""},
        )  # fmt: skip
        os.close(theirs)
        self.terminal = ours

    def type(self, text: str) -> None:
        os.write(self.terminal, text.encode())

    def read_until(self, end: str) -> str:
        """What is printed, up to *end*; all of it where *end* does not come."""
        text, deadline = "", time.monotonic() + LIMIT
        while end not in text and time.monotonic() < deadline:
            if select.select([self.terminal], [], [], 1)[0]:
                text += os.read(self.terminal, 65536).decode("utf-8", "replace")
        return text

    def close(self) -> None:
        self.shell.kill()
        self.shell.wait()
        os.close(self.terminal)


@pytest.fixture(scope="module")
def bash(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Terminal]:
    """A bash that has read the line of the README."""
    terminal = Terminal(tmp_path_factory.mktemp("bin"))
    terminal.type('eval "$(_VMATRACE_COMPLETE=bash_source vmatrace)"; echo rea""dy\n')
    assert "ready\r\n" in terminal.read_until("ready\r\n")
    yield terminal
    terminal.close()


@pytest.mark.parametrize("typed", TYPED)
def test_bash_completes(bash: Terminal, typed: str) -> None:
    bash.type(f"vmatrace {typed}\t\n")
    assert f"ran: {TYPED[typed]}.\r\n" in bash.read_until(".\r\n")


@pytest.mark.parametrize(
    ("shell", "words"),
    [("bash", ["complete -o nosort -F", "_VMATRACE_COMPLETE=bash_complete"]),
     ("zsh", ["#compdef vmatrace", "compdef _vmatrace_completion vmatrace",
              "_VMATRACE_COMPLETE=zsh_complete"]),
     ("fish", ["complete --no-files --command vmatrace", "_VMATRACE_COMPLETE=fish_complete"])],
)  # fmt: skip
def test_every_shell_gets_its_script(
    run: RunProgram, monkeypatch: pytest.MonkeyPatch, shell: str, words: list[str]
) -> None:
    monkeypatch.setenv("_VMATRACE_COMPLETE", f"{shell}_source")
    status, out, err = run()
    assert (status, err) == (0, "")
    assert all(word in out for word in words), out
