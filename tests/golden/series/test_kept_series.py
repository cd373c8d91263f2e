"""What is printed of samples of a process in a file. ``pytest --update-golden`` rewrites the files.

Its map grows by guard pages which never heal, loses some, and gets a file and a library.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest
from program import RunProgram, check_golden

from vmatrace.commands.audit.snapshot import read
from vmatrace.commands.audit.watch.samples import About, Samples

HERE: Final = Path(__file__).parent
#: 2026-11-27T12:00:00Z, in seconds.
NOON: Final = 1795780800.0
RW: Final = "rd wr mr mw me ac"
#: The status, and the arguments.
CASES: Final[dict[str, tuple[int, str]]] = {
    "audit.txt": (0, "audit FILE"),
    "audit.csv": (0, "audit FILE --format csv"),
    "audit.json": (0, "audit FILE --format json"),
    "compare.txt": (1, "audit --compare FILE SMAPS"),
    "diff.txt": (1, "diff FILE"),
    "diff.csv": (1, "diff FILE --format csv"),
    "diff.md": (2, "diff FILE --format markdown"),
    "diff.chosen.txt": (1, "diff FILE --from 2 --to +20m"),
    "diff.times.txt": (1, "diff FILE --from 12:10 --to 2026-11-27T12:40:00Z"),
    "diff.steps.json": (1, "diff FILE --format json"),
    "report.txt": (0, "report FILE"),
    "wrong.txt": (2, "diff FILE --from 9"),
    "early.txt": (2, "diff FILE --from 11:00"),
    "odd.txt": (2, "diff FILE --to soon"),
    "mixed.txt": (2, "audit FILE SMAPS"),
    "every.txt": (2, "audit FILE --kernel 6.12 --every 5s"),
}


def smaps(number: int) -> str:
    """The map of a sample, all of it by its number."""
    rows = [("555555554000", "555555556000", "r-xp", "rd ex mr mw me", "fe:00 12", "/usr/bin/app")]
    at = 0x7F0000000000
    for piece in range(3 + 4 * number):
        kind = ("---p", "mr mw me") if piece % 2 else ("rw-p", RW + " mg" * (piece % 4 == 0))
        if piece != 5 or number < 3:
            rows.append((f"{at:x}", f"{at + 8192:x}", *kind, "00:00 0", ""))
        at += 8192
    if number >= 4:
        rows.append(
            ("7fff00000000", "7fff00004000", "r--p", "rd mr mw me", "fe:00 13", "/lib/x.so")
        )
    return "".join(
        f"{start}-{end} {perms} 00000000 {inode} {name}\nAnonymous: 4 kB\nVmFlags: {codes} \n"
        for start, end, perms, codes, inode, name in rows
    )


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = str(tmp_path_factory.mktemp("series") / "app.vmas")
    with Samples(path, About(1234, "app", 99, "6.12.5")) as samples:
        for number in range(6):
            late = NOON + 600 * number + 7 * (number == 3)
            samples.add(read(smaps(number)), late, 0.01 * number, 100)
    return path


@pytest.mark.parametrize("name", CASES)
def test_what_is_printed_is_what_is_kept(
    name: str, file: str, run: RunProgram, request: pytest.FixtureRequest
) -> None:
    status, line = CASES[name]
    named = line.replace("FILE", file).replace("SMAPS", "tests/golden/audit/mixed.smaps")
    done = run(*named.split(), columns=80)
    text = (done.out + done.err).replace(file, "app.vmas").replace(str(Path(file).parent), "")
    check_golden(HERE / name, text, request.config.getoption("--update-golden"))
    assert (done.status, bool(done.err)) == (status, status == 2)


def test_every_kept_file_has_a_case() -> None:
    kept = {path.name for path in HERE.iterdir() if path.suffix != ".py"}
    assert kept - {"__pycache__"} == set(CASES)
