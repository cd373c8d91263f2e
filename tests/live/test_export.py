"""Exported programs, compiled, on the running kernel."""

from __future__ import annotations

import io
import shutil
import subprocess
from pathlib import Path

import pytest
from program import EXHIBITS, LIMIT, ROOT

from vmatrace.commands.export import source
from vmatrace.commands.export.program import UnperformableError, program
from vmatrace.kernels import Kernel
from vmatrace.trace.file import Trace, load_trace
from vmatrace.verify import findings

COMPILER = shutil.which("cc")
pytestmark = pytest.mark.skipif(COMPILER is None, reason="no C compiler here")


@pytest.fixture(scope="module")
def kernel(oracle: None) -> Kernel:
    return findings.look().kernel


def performed(trace: Trace, kernel: Kernel, folder: Path) -> subprocess.CompletedProcess[str]:
    """The program of a trace, compiled as strictly as its head says, and run."""
    text = io.StringIO()
    source.write(program(trace, kernel, layouts=True), text)
    (folder / "t.c").write_text(text.getvalue(), encoding="utf-8")
    assert COMPILER is not None
    subprocess.run(
        [COMPILER, "-Wall", "-Wextra", "-Werror", "-static", "-o", "t", "t.c"],
        cwd=folder, check=True,
    )  # fmt: skip
    return subprocess.run(
        [str(folder / "t")],
        cwd=folder,
        text=True,
        capture_output=True,
        timeout=LIMIT,
        check=False,
    )


@pytest.mark.parametrize("name", EXHIBITS)
def test_an_exhibit_passes_as_a_program(name: str, kernel: Kernel, tmp_path: Path) -> None:
    trace = load_trace(ROOT / "traces" / f"{name}.yaml")
    try:
        done = performed(trace, kernel, tmp_path)
    except UnperformableError:
        return
    assert done.returncode == 0 or (done.returncode == 4 and "# SKIP" in done.stdout), done.stdout


def test_a_broken_expectation_makes_it_fail(kernel: Kernel, tmp_path: Path) -> None:
    text = (ROOT / "traces" / "mlock-one-byte.yaml").read_text(encoding="utf-8")
    assert "vmas: 2" in text
    trace = load_trace(text.replace("vmas: 2", "vmas: 3").encode(), "broken.yaml")
    done = performed(trace, kernel, tmp_path)
    assert done.returncode == 1
    assert "# there are 2\nnot ok 5 line 10: vmas 3\n" in done.stdout


def test_accesses_are_what_they_say(kernel: Kernel, tmp_path: Path) -> None:
    """Executing is not reading: of each protection, and of pages that are there or not."""
    both = "MAP_PRIVATE|MAP_ANONYMOUS|MAP_FIXED"
    lines = []
    for i, prot in enumerate(("READ", "WRITE", "EXEC", "READ|PROT_EXEC", "NONE")):
        at = 0x10000000 + i * 0x10000
        lines.append(f"mmap({at:#x}, 3*PAGE_SIZE, PROT_{prot}, {both}, -1, 0)")
        accesses = ("EXEC", "READ", "READ|PROT_EXEC", "WRITE", "WRITE|PROT_EXEC", "EXEC")
        lines += [f"fault({at:#x}, 2*PAGE_SIZE, PROT_{access})" for access in accesses]
        lines.append(f"mprotect({at:#x}, 3*PAGE_SIZE, PROT_READ|PROT_WRITE|PROT_EXEC)")
        lines.append(f"fault({at:#x}, 3*PAGE_SIZE, PROT_WRITE|PROT_EXEC)")
    done = performed(Trace.of(lines), kernel, tmp_path)
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("fault(") == 35
