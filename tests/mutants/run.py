"""How much of what the code does is held by tests: a fixed sample of mutants, room by room.

``mutmut`` makes the mutants and runs against each the tests that call what it changed, the fastest
first (soonest.py). The sample is the same as long as the code and the seed are: the names with the
smallest hashes. A mutant that no test could catch stands in equivalent.txt, with the line that it
changes and the reason (#); it does not count.

    python tests/mutants/run.py [ROOM ...] [--sample N] [--seed TEXT] [--jobs N] [--show]
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).parent.parent.parent
PLACE: Final = ROOT / "build" / "mutants"
EQUIVALENT: Final = Path(__file__).parent / "equivalent.txt"
SAMPLE: Final = 40
#: Lines whose mutants do what the code does: a type, the words of an invariant that is broken.
SAID_TO_NOBODY: Final = (r"\bcast\(", r"\bAssertionError\(")
#: What mutmut says of a mutant: its tests passed, and there was none.
SURVIVED: Final = (0, 5, 33)


class Room(NamedTuple):
    """What is changed, and the tests that have to notice."""

    sources: list[str]
    tests: list[str]


ROOMS: Final = {
    "engine": Room(
        ["engine", "replayer"],
        [
            "engine",
            "replayer",
            "kernels",
            "measured",
            "recorded",
            "golden",
            "property/test_engine_laws.py",
        ],
    ),
    "importers": Room(
        ["importers"],
        ["importers", "golden/import", "commands/import_", "property/test_strace_laws.py"],
    ),
    "trace": Room(
        ["trace"],
        ["trace", "test_api.py", "property/test_trace_laws.py", "property/test_items_laws.py"],
    ),
    "questions": Room(["commands"], ["commands", "golden", "property/test_diff_laws.py"]),
    "render": Room(["render"], ["render", "commands", "golden"]),
}


def prepare(place: Path, room: Room) -> None:
    """A copy of the project with mutmut's settings for *room*."""
    shutil.rmtree(place, ignore_errors=True)
    files = subprocess.check_output(["git", "ls-files"], cwd=ROOT, text=True).splitlines()
    for file in files:
        (place / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / file, place / file, follow_symlinks=False)
    settings = {
        "source_paths": ["vmatrace"],
        "only_mutate": [f"vmatrace/{name}/*" for name in room.sources],
        "pytest_add_cli_args_test_selection": [f"tests/{name}" for name in room.tests],
        "do_not_mutate_patterns": list(SAID_TO_NOBODY),
        "pytest_add_cli_args": ["-p", "soonest"],
        "also_copy": sorted({file.split("/")[0] for file in files} - {"vmatrace"}),
    }
    with (place / "pyproject.toml").open("a", encoding="utf-8") as project:
        project.write("\n[tool.mutmut]\n")
        project.writelines(f"{key} = {json.dumps(value)}\n" for key, value in settings.items())


def mutmut(place: Path, *arguments: str) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "CI"}
    environment["PYTHONPATH"] = str(Path(__file__).parent)
    done = subprocess.run(
        [str(Path(sys.executable).parent / "mutmut"), *arguments],
        cwd=place, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        check=False,
    )  # fmt: skip
    return done.stdout


def verdicts(place: Path) -> dict[str, int | None]:
    """Each mutant by name with the exit status of its tests; None before they ran."""
    found: dict[str, int | None] = {}
    for file in (place / "mutants").rglob("*.meta"):
        found |= json.loads(file.read_text(encoding="utf-8"))["exit_code_by_key"]
    return found


def sample(names: list[str], count: int, seed: str) -> list[str]:
    return sorted(names, key=lambda name: hashlib.sha256((seed + name).encode()).digest())[:count]


def difference(place: Path, name: str) -> str:
    """What the mutant changes: its function, and the lines that it takes away and adds."""
    lines = mutmut(place, "show", name).splitlines()
    changed = [line for line in lines if line[:1] in "+-" and line[:3] not in ("+++", "---")]
    return " ".join(
        [name.rpartition("__mutmut_")[0], *(" ".join(line.split()) for line in changed)]
    )


def run(title: str, options: argparse.Namespace) -> None:
    """Print how many of a room's sample were caught, and which were not."""
    place = PLACE / title
    prepare(place, ROOMS[title])
    said = mutmut(place, "run", "no.such.mutant")  # makes them, and finds which tests call what
    made = sample(list(verdicts(place)), options.sample, options.seed)
    if not made:
        sys.exit(said[-4000:])
    said = mutmut(place, "run", "--max-children", str(options.jobs), *made)
    after = verdicts(place)
    if any(after[name] is None for name in made):
        sys.exit(said[-4000:])
    excused = set(EQUIVALENT.read_text(encoding="utf-8").splitlines())
    missed = [difference(place, name) for name in made if after[name] in SURVIVED]
    real = [mutant for mutant in missed if mutant not in excused]
    total = len(made) - len(missed) + len(real)
    caught = total - len(real)
    print(f"{title:10} {caught}/{total} caught, {caught / total:.0%}", flush=True)  # noqa: T201
    for mutant in real if options.show else []:
        print(f"  {mutant}", flush=True)  # noqa: T201


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("rooms", nargs="*", metavar="ROOM", help=", ".join(ROOMS))
    parser.add_argument("--sample", type=int, default=SAMPLE, help="mutants in each room")
    parser.add_argument("--seed", default="", help="draw another sample")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes")
    parser.add_argument("--show", action="store_true", help="print what was not caught")
    options = parser.parse_args()
    for title in options.rooms or ROOMS:
        run(title, options)


if __name__ == "__main__":
    main()
