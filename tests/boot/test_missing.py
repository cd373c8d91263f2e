"""What booting a kernel takes, and what is said where it is missing: exit status 2."""

from __future__ import annotations

from pathlib import Path

import pytest
from program import RunProgram

from vmatrace.oracle import Unavailable
from vmatrace.oracle.boot import guest, qemu


def test_a_file_that_is_no_kernel_is_said_to_be_none(run: RunProgram, tmp_path: Path) -> None:
    path = tmp_path / "vmlinuz"
    path.write_bytes(b"\x7fELF" + bytes(4096))
    done = run("verify", "--boot", str(path), "--probe")
    assert (done.status, done.out) == (2, "")
    expected = "no bootable kernel image (expected a bzImage for x86-64)"
    assert done.err in (
        f"vmatrace: error: {path}: {expected}\n",
        f"vmatrace: error: no {qemu.QEMU} (Debian: apt install qemu-system-x86)\n",
    )


def test_an_image_that_is_not_there_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="vmlinuz: cannot be read: No such file"):
        qemu.check_image(str(tmp_path / "vmlinuz"))


def test_without_qemu_it_is_said_how_to_get_it(
    run: RunProgram, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    done = run("verify", "--boot", "vmlinuz", "--random", "1")
    assert (done.status, done.out) == (2, "")
    assert "no qemu-system-x86_64" in done.err


def test_without_a_compiler_it_is_said_what_it_is_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    with pytest.raises(Unavailable, match="no C compiler"):
        guest.archive()


def test_a_compiler_that_fails_is_quoted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiler = tmp_path / "broken-cc"
    compiler.write_text("#!/bin/sh\necho cannot find as >&2\nexit 1\n")
    compiler.chmod(0o755)
    monkeypatch.setenv("CC", str(compiler))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(Unavailable, match=r"cannot compile guest\.c: cannot find as"):
        guest.archive()


def test_boot_goes_with_no_recording(run: RunProgram) -> None:
    assert run("verify", "--boot", "x", "--replay-recording", "y").status == 2
