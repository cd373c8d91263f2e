"""How much of what the code does is held by tests: a fixed sample of mutants, room by room.

``mutmut`` makes the mutants (make.py); each runs the tests that call what it changes, the fastest
first (trial.py). The sample is the same as long as the code and the seed are: the names with the
smallest hashes. A mutant that no test could catch stands in equivalent.txt, with the line that it
changes and the reason (#); it does not count. What was found is kept in build/mutants as long as
code and tests stay as they are: a run that was broken off goes on where it was.

    python tests/mutants/run.py [ROOM ...] [--sample N] [--seed TEXT] [--jobs N] [--show]
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final, NamedTuple

HERE: Final = Path(__file__).parent
ROOT: Final = HERE.parent.parent
PLACE: Final = ROOT / "build" / "mutants"
EQUIVALENT: Final = HERE / "equivalent.txt"
SAMPLE: Final = 40
#: Lines whose mutants do what the code does: a type, an invariant and the words where it is broken,
#: what zip() does unasked, an encoding in capitals.
SAID_TO_NOBODY: Final = re.compile(
    r" - [^+]*(\bcast\(|\bAssertionError\()|\bstrict=True\b[^+]* \+ .*(strict=(None|False)|, \):)"
    r'|encoding="utf-8"[^+]* \+ .*encoding="UTF-8"'
    r"|\bstrict=False\b[^+]* \+ .*(strict=None|, \))"
)


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
    "questions": Room(
        ["commands"], ["commands", "golden", "property/test_diff_laws.py", "test_api.py"]
    ),
    "render": Room(["render"], ["render", "commands", "golden"]),
}


def _digest(paths: Iterable[str]) -> dict[str, str]:
    return {
        path: hashlib.sha256((ROOT / path).read_bytes()).hexdigest()
        for path in paths
        if (ROOT / path).is_file()
    }


class Place:
    """A copy of the project, in which the sources of one room carry their mutants."""

    def __init__(self, title: str) -> None:
        self.path = PLACE / title
        self.room = ROOMS[title]
        listed = subprocess.check_output(["git", "ls-files"], cwd=ROOT, text=True)
        self.files = _digest(listed.splitlines())
        self.code = {path: it for path, it in self.files.items() if path.startswith("vmatrace/")}

    def load(self, name: str) -> dict[str, Any]:
        file = self.path / name
        return dict(json.loads(file.read_bytes())) if file.exists() else {}

    def save(self, name: str, value: object) -> Path:
        file = self.path / name
        file.write_text(json.dumps(value), encoding="utf-8")
        return file

    def _copy(self, paths: Iterable[str]) -> None:
        for path in paths:
            (self.path / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / path, self.path / path, follow_symlinks=False)

    def mutants(self) -> dict[str, str]:
        """Each by name with what it changes; made anew where the code is another one."""
        if self.load("made.json").get("code") != self.code:
            shutil.rmtree(self.path, ignore_errors=True)
            self._copy(self.files)
            with (self.path / "pyproject.toml").open("a", encoding="utf-8") as project:
                project.write('\n[tool.mutmut]\nsource_paths = ["vmatrace"]\n')
            rooms = [self.path / "vmatrace" / name for name in self.room.sources]
            sources = sorted(
                str(file.relative_to(self.path)) for room in rooms for file in room.rglob("*.py")
            )
            made = subprocess.run(
                [sys.executable, HERE / "make.py", *sources],
                cwd=self.path, stdout=subprocess.PIPE, check=True,
            )  # fmt: skip
            self.save("made.json", {"code": self.code, "mutants": json.loads(made.stdout)})
        found = self.load("made.json")["mutants"]
        return {name: what for name, what in found.items() if not SAID_TO_NOBODY.search(what)}

    def notes(self) -> dict[str, Any]:
        """By test: seconds, and what it calls. Only files of tests that changed run again."""
        kept = self.load("notes.json")
        changed = dict(self.files.items() - kept.get("files", {}).items()).keys()
        self._copy(changed - self.code.keys())
        again = [path for path in sorted(changed) if self._selected(path)]
        if again:
            new = self.path / "new.json"
            new.unlink(missing_ok=True)
            options = ["--note-mutants", str(new)]
            options += again if kept else self.tests()
            said = self.pytest(options, MUTANTS_NOTED="1")
            if not new.exists():
                sys.exit(said.stdout[-4000:])
            if said.returncode:  # which need what is not here, or a machine of their own
                left = re.findall(r"^(?:FAILED|ERROR) (\S+)", said.stdout, re.MULTILINE)
                print(f"{self.path.name:10} without {', '.join(left)}", flush=True)  # noqa: T201
            tests = kept.get("tests", {}) | self.load("new.json")
            self.save("notes.json", {"files": self.files, "tests": tests})
        return dict(self.load("notes.json")["tests"])

    def tests(self) -> list[str]:
        return [f"tests/{name}" for name in self.room.tests]

    def _selected(self, path: str) -> bool:
        inside = any(path == one or path.startswith(f"{one}/") for one in self.tests())
        return inside and Path(path).match("test_*.py")

    def verdicts(self, names: list[str], jobs: int) -> dict[str, int]:
        """The exit status of each mutant's tests: 0 if it survived."""
        notes = self.notes()
        file = self.path / f"verdicts-{_hash(json.dumps(self.files, sort_keys=True))}.jsonl"
        known = _read(file)
        calls = {test: set(note[1]) for test, note in notes.items()}
        imported = calls.pop("")
        # The fastest first; of those about as fast, which call the least beside.
        order = sorted(calls, key=lambda test: (int(8 * notes[test][0]), len(calls[test])))
        trials = {
            name: {test: notes[test][0] for test in order if _function(name) in calls[test]}
            for name in names
            if name not in known
        }
        wanted = {test.partition("::")[0] for tests in trials.values() for test in tests}
        options = ["--try-mutants", str(self.save("trials.json", trials))]
        options += ["--verdicts-mutants", str(file), "--jobs-mutants", str(jobs)]
        said = self.pytest(["-x", *options, *sorted(wanted)]) if wanted else None
        known = _read(file)
        # What runs while modules are imported ran before the process became the mutant.
        early = [name for name in names if not known.get(name) and _function(name) in imported]
        for name in early:
            known[name] = self.pytest(["-x", *self.tests()], MUTANT=name).returncode
        if said and not known.keys() >= trials.keys():
            sys.exit(said.stdout[-4000:])
        return known

    def pytest(self, options: list[str], **variables: str) -> subprocess.CompletedProcess[str]:
        environment = {name: value for name, value in os.environ.items() if name != "CI"}
        always = ["-q", "-n0", "--assert=plain", "-p", "trial"]
        return subprocess.run(
            [sys.executable, "-m", "pytest", *always, *options],
            cwd=self.path, env=environment | {"PYTHONPATH": str(HERE)} | variables, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
        )  # fmt: skip


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _function(name: str) -> str:
    return name.rpartition("__mutmut_")[0]


def _read(file: Path) -> dict[str, int]:
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    return dict(json.loads(line) for line in lines)


def run(title: str, options: argparse.Namespace) -> None:
    """Print how many of a room's sample were caught, and which were not."""
    place = Place(title)
    mutants = place.mutants()
    names = sorted(mutants, key=lambda name: _hash(options.seed + name))[: options.sample]
    verdicts = place.verdicts(names, options.jobs)
    excused = set(EQUIVALENT.read_text(encoding="utf-8").splitlines())
    missed = [mutants[name] for name in names if not verdicts.get(name)]
    real = [mutant for mutant in missed if mutant not in excused]
    total = len(names) - len(missed) + len(real)
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
