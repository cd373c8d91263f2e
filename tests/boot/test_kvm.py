"""KVM where it works, else emulation, with the reason: QEMU is a program that plays both here."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from vmatrace.oracle.boot import guest, qemu

#: Greets on its second serial port with the accelerators of GOOD, fails as QEMU does with others.
_QEMU = """#!/usr/bin/env python3
import os, re, sys, time
accelerator = sys.argv[sys.argv.index("-accel") + 1]
with open(os.environ["TRIED"], "a") as file:
    file.write(accelerator + "\\n")
if accelerator not in os.environ["GOOD"].split():
    sys.exit("qemu-system-x86_64: failed to initialize kvm: No such device")
line = next(re.search(r"fd=(\\d+)", x)[1] for x in sys.argv if x.startswith("socket,id=line"))
os.write(int(line), b"serial\\n")
time.sleep(60)
"""


@pytest.fixture
def tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The accelerators that were tried, a line each; /dev/kvm is a file that may be used."""
    program = tmp_path / qemu.QEMU
    program.write_text(_QEMU)
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    path = tmp_path / "tried"
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("TRIED", str(path))
    monkeypatch.setattr(qemu, "KVM", str(tmp_path / "kvm"))
    monkeypatch.setattr(qemu, "_kvm_failed", None)
    monkeypatch.setattr(qemu, "check_image", lambda path: None)
    monkeypatch.setattr(guest, "archive", lambda: b"")
    (tmp_path / "kvm").touch()
    return path


def boot(good: str, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str | None]:
    monkeypatch.setenv("GOOD", good)
    machine = qemu.Qemu("bzImage")
    machine.close()
    return machine.accelerator, machine.why_emulated


def test_kvm_is_taken_where_it_works(tried: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert boot("kvm tcg", monkeypatch) == ("kvm", None)
    assert tried.read_text().split() == ["kvm"]


def test_where_it_fails_the_kernel_is_emulated_and_it_is_not_tried_again(
    tried: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reason = f"{qemu.KVM}: failed to initialize kvm: No such device"
    assert boot("tcg", monkeypatch) == ("tcg", reason)
    assert boot("tcg", monkeypatch) == ("tcg", reason)
    assert tried.read_text().split() == ["kvm", "tcg", "tcg"]


def test_where_there_is_none_nothing_is_said(tried: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.unlink(qemu.KVM)
    assert boot("kvm tcg", monkeypatch) == ("tcg", None)
    assert tried.read_text().split() == ["tcg"]


def test_where_it_may_not_be_used_that_is_the_reason(
    tried: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.unlink(qemu.KVM)
    os.mkdir(qemu.KVM)  # which no one may open for writing, root neither
    assert boot("kvm tcg", monkeypatch) == ("tcg", f"{qemu.KVM}: Is a directory")
