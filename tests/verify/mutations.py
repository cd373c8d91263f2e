"""Can the comparison fail? Break one rule of the model at a time; verify has to catch each.

    .venv/bin/python tests/verify/mutations.py [PROGRAMS]

A mutation is a text substitution in a copy of the package in a temporary directory; there
`vmatrace verify --random` runs with a fixed seed against the running kernel. Prints a table; the
exit status is 1 if a mutation survives or no longer applies, or if the model as it is differs.
Not collected by pytest: each mutation costs up to some seconds of a kernel.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

PACKAGE: Final = Path(__file__).parents[2] / "vmatrace"
#: What is compiled (`make compiled`) would be found before the source that is changed.
SOURCE: Final = shutil.ignore_patterns("__pycache__", "*.so")
SEED: Final = "mutation"


class Mutation(NamedTuple):
    """In *module* of the engine, *old*, which stands there once, becomes *new*."""

    rule: str
    module: str
    old: str
    new: str


MUTATIONS: Final = (
    Mutation("flags have to be equal", "merge",
             "if (vma.flags ^ flags) & _COMPARED:", "if False:"),
    Mutation("VM_MERGEABLE counts among the flags", "merge",
             "_COMPARED: Final = ~IGNORED_FLAGS",
             "_COMPARED: Final = ~(IGNORED_FLAGS | abi.VM_MERGEABLE)"),
    Mutation("VM_MAYBE_GUARD does not", "merge",
             "IGNORED_FLAGS: Final = abi.VM_SOFTDIRTY | abi.VM_MAYBE_GUARD",
             "IGNORED_FLAGS: Final = abi.VM_SOFTDIRTY"),
    Mutation("VM_SPECIAL never merges", "merge", "if flags & _SPECIAL:", "if False:"),
    Mutation("files have to be the same", "merge", "if vma.file is not file:", "if False:"),
    Mutation("page offsets have to continue", "merge", "if vma.skew != skew:", "if False:"),
    Mutation("two anon_vmas do not merge", "merge",
             "elif theirs or not (rules", "elif not (rules"),
    Mutation("an unfaulted VMA merges with a faulted one", "merge",
             "elif theirs or not (rules.unfaulted_reason if mask else rules.unfaulted_target):",
             "elif True:"),
    Mutation("a forked anon_vma does not take in others", "merge",
             "            if vma.chain != 1:\n                mask |= FORKED",
             "            pass"),
    Mutation("nor is it taken in", "merge", "elif chain > 1:", "elif False:"),
    Mutation("policies have to be equal", "merge",
             "POLICY if a.policy != b.policy else 0", "0"),
    Mutation("userfaultfds have to be equal", "merge", "UFFD if a.uffd != b.uffd else 0", "0"),
    Mutation("three VMAs merge only if both sides agree", "merge",
             "elif anon_conflict(prev, following):\n", "elif False:\n"),
    Mutation("a merge hands on the anon_vma", "mm",
             "            vma.anon, vma.chain = following.anon, following.chain\n\n    def insert",
             "            pass\n\n    def insert"),
    Mutation("a new VMA is marked before its merge", "region",
             "if late and mm.world.ksm_early and ksm.can_set_early(file):", "if False:"),
    Mutation("but not of a driver with only .mmap", "region",
             "if late and mm.world.ksm_early and ksm.can_set_early(file):",
             "if late and mm.world.ksm_early:"),
    Mutation("the heap is marked before its merge", "region",
             "    if late and mm.world.ksm_early:\n        late = False\n", "    if False:\n"),
    Mutation("shared memory is not marked", "ksm",
             "abi.VM_SHARED | abi.VM_MAYSHARE | abi.VM_SPECIAL", "abi.VM_SPECIAL"),
    Mutation("droppable memory is not marked", "ksm", " | abi.VM_DROPPABLE", ""),
    Mutation("PR_SET_MEMORY_MERGE 0 unmarks", "mm",
             "            vma.flags &= ~abi.VM_MERGEABLE", "            pass"),
    Mutation("mprotect to the same merges nothing", "syscalls/protection",
             "    if new == old:\n        return vma\n", ""),
    Mutation("mprotect charges what becomes writable", "syscalls/protection",
             "            new |= abi.VM_ACCOUNT", "            pass"),
    Mutation("and gives back what was never written", "syscalls/protection",
             "        new &= ~abi.VM_ACCOUNT", "        pass"),
    Mutation("a neighbour's anon_vma is used again", "faults",
             "if following is not None and _reusable(following, vma, following):", "if False:"),
    Mutation("unless a fork shares it", "faults", "        and old.chain == 1\n", ""),
    Mutation("the stack keeps its guard gap", "faults",
             "        and position - prev.end < world.guard\n", "        and False\n"),
    Mutation("a hint leaves the guard gap alone", "placement",
             "floor = max(vma.start - guard, 0) if vma.flags & abi.VM_STARTGAP else vma.start",
             "floor = vma.start"),
    Mutation("huge mappings are aligned", "placement",
             "return offset + length >= aligned + PMD_SIZE", "return False"),
    Mutation("a sealed VMA is not unmapped", "region",
             "_CUT_CAREFULLY: Final = abi.VM_SEALED | ", "_CUT_CAREFULLY: Final = "),
)  # fmt: skip


def outcome(tree: Path, programs: int) -> dict[str, object]:
    """The JSON that verify prints when it is run from *tree*."""
    done = subprocess.run(
        [sys.executable, "-m", "vmatrace", "verify", "--random", str(programs), "--seed", SEED,
         "--kernel", model(), "--format", "json", "--exhibit", "exhibit.yaml"],
        cwd=tree, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode not in (0, 1):
        return {"verdict": "crash", "events": 0, "what": done.stderr.strip().splitlines()[-1:]}
    result: dict[str, object] = json.loads(done.stdout)
    return result


def model() -> str:
    """The model that the unbroken package finds this kernel to be."""
    done = subprocess.run(
        [sys.executable, "-m", "vmatrace", "verify", "--probe", "--format", "json"],
        cwd=PACKAGE.parent, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return str(json.loads(done.stdout)["kernel"])


class StaleError(ValueError):
    """The text of a mutation does not stand once where it should."""


@contextlib.contextmanager
def broken(mutation: Mutation) -> Iterator[Path]:
    """A folder with a copy of the package in which that rule is broken. Raises StaleError."""
    with tempfile.TemporaryDirectory() as directory:
        tree = Path(directory)
        shutil.copytree(PACKAGE, tree / "vmatrace", ignore=SOURCE)
        path = tree / "vmatrace" / "engine" / f"{mutation.module}.py"
        text = path.read_text(encoding="utf-8")
        if text.count(mutation.old) != 1:
            raise StaleError(f"stands {text.count(mutation.old)} times in {mutation.module}")
        path.chmod(0o644)  # the project may be one that cannot be written
        path.write_text(text.replace(mutation.old, mutation.new), encoding="utf-8")
        yield tree


def check(mutation: Mutation, programs: int) -> tuple[str, str]:
    """Whether *mutation* was caught, and by what."""
    try:
        with broken(mutation) as tree:
            result = outcome(tree, programs)
    except StaleError as reason:
        return "STALE", str(reason)
    if result["verdict"] == "exact":
        return "SURVIVED", f"{result['events']} events"
    if result["verdict"] == "crash":
        return "crash", str(result["what"])
    mismatch = result["mismatch"]
    what = str(mismatch["call"] if isinstance(mismatch, dict) else "not repeatable")
    return "caught", f"after {result['events']} events: {what}"


def hunted(mutation: Mutation, name: str, *arguments: str) -> dict[str, Any]:
    """What a hunt between the broken model *name* and the running kernel comes to."""
    with broken(mutation) as tree:
        done = subprocess.run(
            [sys.executable, "-m", "vmatrace", "hunt", "--from", name, "--to", "running",
             "--seed", "mutation", "--format", "json", *arguments],
            cwd=tree, capture_output=True, text=True, check=False,
        )  # fmt: skip
    if done.returncode not in (0, 1):
        raise RuntimeError(done.stderr)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def main(programs: int) -> int:
    """Print the table; the exit status."""
    with tempfile.TemporaryDirectory() as directory:
        shutil.copytree(PACKAGE, Path(directory) / "vmatrace", ignore=SOURCE)
        unbroken = outcome(Path(directory), programs)
    print(f"unbroken: {unbroken['verdict']}, {unbroken['events']} events")  # noqa: T201
    failed = unbroken["verdict"] != "exact"
    for mutation in MUTATIONS:
        word, how = check(mutation, programs)
        failed |= word in ("SURVIVED", "STALE")
        print(f"{word:<8}  {mutation.rule:<46}  {how[:90]}", flush=True)  # noqa: T201
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 2000))
