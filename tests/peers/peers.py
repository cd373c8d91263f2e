"""Suites of others under `vmatrace record --check`: which programs are exact (`make peers`).

Runs stress-ng's memory stressors (Debian: apt install stress-ng), and where their places are given
the tests of the Linux Test Project (a folder of binaries, its testcases/bin) and the kernel's
selftests of mm (a folder where they are built). Writes a table of suites and what was not exact,
with the reason where REASONS has one, into docs/peers.md.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, NamedTuple

HERE: Final = Path(__file__).parent
PAGE: Final = HERE.parents[1] / "docs" / "peers.md"
#: Stressors of the class vm, and of others that map, lock, share or move memory. Not among them:
#: those that take the machine down with them or need another (bad-altstack faults for good).
STRESSORS: Final = (HERE / "stressors.txt").read_text(encoding="ascii").split()
#: What keeps those small that take all the memory there is.
SMALL: Final = {
    "bigheap": ("--bigheap-bytes", "64m"), "brk": ("--brk-bytes", "64m"),
    "vm": ("--vm-bytes", "32m"), "mmap": ("--mmap-bytes", "16m"),
}  # fmt: skip
#: LTP's tests whose names begin so are about memory, and about processes and their ends.
LTP: Final = re.compile(
    r"(?:mmap|munmap|mremap|mprotect|madvise|m?lockall|mlock|munlock|msync|mincore|brk|sbrk|shm|"
    r"pkey|mbind|process_madvise|remap_file|memfd|fork|vma|data_space|stack_space|page\d|mem\d|mtest|"
    r"userfaultfd|personality|[sg]etrlimit|prctl|arch_prctl|clone|vfork|exec|exit|close_range|"
    r"io_setup|io_destroy|kcmp|m(?:ove|igrate)_pages|mseal|ptrace|seccomp|[sg]et_mempolicy|setns|"
    r"unshare|wait|mallocstress|mmstress)"
)
#: Arguments of LTP's tests that would take too long without (its runtest files).
ARGUMENTS: Final = {
    "shm_test": ("-l", "10", "-t", "2"), "shmat1": ("-x", "0.001"), "mmap2": ("-a", "-p"),
    "mmap3": ("-p",), "fork_procs": ("-n", "100"), "mmapstress09": ("-p", "20", "-t", "0.2"),
    "mmapstress10": ("-p", "20", "-t", "0.2"),
}  # fmt: skip
#: What is not run: it takes pages out of use for good, all memory there is, or all process numbers.
HARMFUL: Final = re.compile(
    r".*(?:hwpoison|soft-offline|memory-failure|compaction|transhuge-stress|_32$)|hmm|gup_longterm|"
    r"mtest01$|fork13$"
)
#: Seconds that a run may take.
LIMIT: Final = 90
#: What is not exact, and why: by suite and a name or the beginning of one.
REASONS: Final[dict[tuple[str, str], str]] = {
    ("LTP", "munmap04"): "65,530 VMAs take their time to be replayed; exact without a limit",
    ("LTP", "shm_test"): "its sizes are random; exact without a limit",
}


class Run(NamedTuple):
    """A program of a suite: its name there, and its command."""

    suite: str
    name: str
    command: tuple[str, ...]
    folder: str | None = None


class Outcome(NamedTuple):
    """``verdict``: "exact", or else what vmatrace said or did in one line."""

    run: Run
    verdict: str


def stressors(operations: int) -> Iterator[Run]:
    """stress-ng's, each with few operations."""
    path = shutil.which("stress-ng")
    if path is None:
        return
    version = subprocess.run([path, "--version"], capture_output=True, text=True, check=True)
    suite = "stress-ng " + version.stdout.split()[2].rstrip(",")
    for name in STRESSORS:
        more = (f"--{name}", "1", f"--{name}-ops", str(operations), "--timeout", "5s")
        command = (path, "--quiet", "--no-rand-seed", *more, *SMALL.get(name, ()))
        yield Run(suite, name, command)


def binaries(suite: str, folder: Path, names: re.Pattern[str] | None) -> Iterator[Run]:
    """Each program in *folder* whose name *names* matches."""
    for path in sorted(folder.iterdir()):
        wanted = (names is None or names.match(path.name)) and not HARMFUL.match(path.name)
        if wanted and path.is_file() and os.access(path, os.X_OK) and "." not in path.name:
            more = ARGUMENTS.get(path.name, ()) if suite == "LTP" else ()
            yield Run(suite, path.name, (str(path), *more), str(folder))


def outcome(run: Run) -> Outcome:
    """Record *run* and hold it against the kernel."""
    with tempfile.TemporaryDirectory() as folder:
        trace = os.path.join(folder, "trace.yaml")
        command = (sys.executable, "-m", "vmatrace", "record", "--check", "-o", trace, "--")
        process = subprocess.Popen(
            [*command, *run.command], cwd=run.folder or folder, text=True, errors="replace",
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            start_new_session=True,
            env={**os.environ, "PYTHONPATH": str(HERE.parents[1]), "LTP_RUNTIME_MUL": "0.1",
                 "PATH": f"{os.environ['PATH']}:{run.folder or ''}"},
        )  # fmt: skip
        try:
            _, said = process.communicate(timeout=LIMIT)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            return Outcome(run, f"not done after {LIMIT} s")
    return Outcome(run, verdict(said))


def verdict(said: str) -> str:
    """What the standard error of a recording comes to."""
    lines = said.splitlines()
    ours = [line.removeprefix("vmatrace: ") for line in lines if line.startswith("vmatrace: ")]
    if "Traceback (most recent call last):" in lines:
        return f"traceback: {lines[-1]}"
    last = ours[-1] if ours else "nothing was said"
    if not last.startswith("check: exact"):
        return last
    return "exact" if "believed" not in last else "exact, refusals believed"


def table(outcomes: Iterable[Outcome]) -> str:
    """The page: a row for each suite, and one for each program that was not exact."""
    suites: dict[str, list[Outcome]] = {}
    for each in outcomes:
        suites.setdefault(each.run.suite, []).append(each)
    release = os.uname().release.partition("-")[0]
    lines = [
        "# Other people's suites", "",
        "Programs of suites that test kernels, each under `vmatrace record --check`: its whole",
        "process tree is recorded and replayed, and every layout compared. Written by `make peers`",
        f"on {release}.",
        "", "| suite | runs | exact | not exact |", "|---|---|---|---|",
    ]  # fmt: skip
    odd: list[str] = []
    for suite, ran in suites.items():
        wrong = [one for one in ran if not one.verdict.startswith("exact")]
        lines.append(f"| {suite} | {len(ran)} | {len(ran) - len(wrong)} | {len(wrong)} |")
        for one in wrong:
            why = reason(one)
            odd.append(f"| {suite} | `{one.run.name}` | {one.verdict} | {why} |")
    if odd:
        lines += ["", "| suite | program | what it came to | reason |", "|---|---|---|---|", *odd]
    for suite, ran in suites.items():
        names = ", ".join(f"`{one.run.name}`" for one in ran if one.verdict.startswith("exact"))
        lines += ["", *textwrap.wrap(f"Exact of {suite}: {names}.", 98, break_on_hyphens=False)]
    lines += ["", "Not all can run everywhere: without root, huge pages, NUMA nodes or swap a",
              "program may end at once, and is exact up to there.", ""]  # fmt: skip
    return "\n".join(lines)


def reason(one: Outcome) -> str:
    """Why *one* is not exact, as far as that is known."""
    known = (
        why
        for (suite, name), why in REASONS.items()
        if one.run.suite.startswith(suite) and one.run.name.startswith(name)
    )
    return next(known, "not known")


def main() -> None:
    """Run what there is, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ltp", type=Path, help="a folder of LTP's binaries")
    parser.add_argument("--selftests", type=Path, help="the kernel's selftests/mm, built")
    parser.add_argument("--no-stress-ng", action="store_true")
    parser.add_argument("--operations", type=int, default=20, help="bogo operations of a stressor")
    parser.add_argument("--only", default="", help="a regular expression of names")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("-o", "--output", type=Path, default=PAGE)
    given = parser.parse_args()
    runs = [] if given.no_stress_ng else list(stressors(given.operations))
    if given.ltp is not None:
        runs += binaries("LTP", given.ltp, LTP)
    if given.selftests is not None:
        runs += binaries("selftests/mm", given.selftests, None)
    runs = [run for run in runs if re.search(given.only, run.name)]
    if not runs:
        parser.error("nothing to run: no stress-ng (Debian: apt install stress-ng), nor a folder")
    done: list[Outcome] = []
    with ThreadPoolExecutor(given.jobs) as pool:
        for each in pool.map(outcome, runs):
            sys.stderr.write(f"{each.run.suite} {each.run.name}: {each.verdict}\n")
            done.append(each)
    given.output.write_text(table(done), encoding="utf-8")


if __name__ == "__main__":
    main()
