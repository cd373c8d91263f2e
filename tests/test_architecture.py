"""The order of the house: who may import whom, who may use what, how large a room may be.

Every import counts, also one inside a function. A new module needs a place in ROOMS; one of the
engine also a row in ENGINE.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "vmatrace"

#: Each room: what lives in it (a module, or a package with everything below), whom it may import.
ROOMS: dict[str, tuple[set[str], set[str]]] = {
    "facts": (
        {
            "abi", "alignment", "atomic", "cache", "calls", "_version", "diagnostic",
            "escape", "groups", "inputsize", "kernels", "layout", "notes", "printable",
            "snapshots", "structures", "syscalls", "workers",
        },
        set(),
    ),
    "event": ({"event"}, {"facts"}),
    "trace": ({"trace"}, {"facts", "event"}),
    "engine": ({"engine"}, {"facts", "event"}),
    "oracle": ({"oracle"}, {"facts", "event"}),
    "replayer": ({"replayer"}, {"facts", "event", "trace", "engine"}),
    "importers": ({"importers"}, {"facts", "event", "trace"}),
    "cluster": ({"cluster"}, {"facts", "event", "trace", "importers"}),
    "record": ({"record"}, {"facts", "event", "trace", "oracle"}),
    "schema": ({"schema"}, {"facts", "event", "trace"}),
    "search": ({"search"}, {"facts", "event", "trace", "engine", "replayer"}),
    "verify": ({"verify"}, {"facts", "event", "trace", "engine", "oracle", "replayer", "search"}),
    "render": ({"render"}, {"facts", "event", "trace", "engine", "replayer"}),
    "commands": (
        {"commands"},
        {
            "facts", "event", "trace", "engine", "oracle", "replayer", "importers", "cluster",
            "record", "schema", "search", "verify", "render",
        },
    ),
    "program": (
        {"", "api", "cli", "__main__", "process", "pytest_plugin", "pytest_items"},
        {"facts", "event", "trace", "engine", "replayer", "importers", "render", "commands"},
    ),
}  # fmt: skip

#: The engine from the ground up: a module imports only from rows before its own.
ENGINE = [
    {"engine", "engine.vmfile"},
    {"engine.vma", "engine.ranges"},
    {"engine.vmamap"},
    {"engine.ksm", "engine.limits", "engine.merge", "engine.placement"},
    {"engine.refusal", "engine.world"},
    {"engine.mm"},
    {"engine.faults", "engine.region", "engine.view", "engine.walk"},
    {"engine.syscalls", "engine.syscalls.mapping"},
    {
        "engine.syscalls.advice", "engine.syscalls.aio", "engine.syscalls.control",
        "engine.syscalls.heap", "engine.syscalls.locking", "engine.syscalls.policy",
        "engine.syscalls.protection", "engine.syscalls.remapping", "engine.syscalls.sharing",
        "engine.syscalls.uffd",
    },
]  # fmt: skip

#: Third parties: who may import them.
THIRD_PARTIES = {
    "yaml": {"trace.yamlstream"},
    "rich": {"printable", "render", "commands", "cli"},
    "click": {"cli", "commands"},
    "tomli": {"commands.config"},
    "tomllib": {"commands.config"},  # of Python itself from 3.11 on
    "pytest": {"pytest_plugin", "pytest_items"},
    "distributed": {"cluster"},
}

#: Modules past 400 lines, the most that each may have, and why it is one.
LARGE = {
    "abi": (420, "a table"),
    "oracle.probe": (530, "one function for each experiment"),
    "oracle.sandbox": (470, "what runs an event, and what foresees the same run, side by side"),
    "engine.vmamap": (450, "the order of VMAs and the index of it are one structure"),
    "engine.syscalls.remapping": (460, "one call, as it was before 6.15, before 6.17 and since"),
    "importers.strace.reader": (660, "the halves of a call and its process are one thought"),
    "kernels.features": (500, "a table"),
    "process": (420, "a method for each call of the table"),
    "record.tracer": (500, "every stop of a thread ends in its going on, here and nowhere else"),
    "trace.yamlstream": (450, "all that is known of yaml is here"),
}


@cache
def modules() -> tuple[str, ...]:
    """All modules by dotted name without ``vmatrace.``; the package itself is ""."""
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        found.append(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    return tuple(found)


def source(module: str) -> Path:
    path = PACKAGE.joinpath(*module.split(".")) if module else PACKAGE
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


@cache
def tree(module: str) -> ast.Module:
    return ast.parse(source(module).read_text(encoding="utf-8"))


@cache
def imported(module: str) -> tuple[str, ...]:
    """Full names of what a module imports; ``from package import module`` is that module."""
    return tuple(_imported(module))


def _imported(module: str) -> Iterator[str]:
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: imports are absolute"
            assert node.module is not None
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                yield name if name.removeprefix("vmatrace.") in modules() else node.module


@cache
def ours(module: str) -> frozenset[str]:
    """The modules of this project that a module imports."""
    names = (n for n in imported(module) if n.split(".")[0] == "vmatrace")
    return frozenset(n.removeprefix("vmatrace").removeprefix(".") for n in names) - {module}


def room(module: str) -> str | None:
    """The room of a module: the one that names the longest part of it."""
    named = {
        name: max((len(m) for m in members if inside(module, m)), default=-1)
        for name, (members, _) in ROOMS.items()
    }
    best = max(named, key=named.__getitem__)
    return best if named[best] >= 0 else None


def inside(module: str, member: str) -> bool:
    return module == member or (member != "" and module.startswith(member + "."))


def test_every_module_has_a_room_and_every_named_module_exists() -> None:
    assert [m for m in modules() if room(m) is None] == []
    known = {m for members, _ in ROOMS.values() for m in members}
    assert (known | {m for row in ENGINE for m in row} | set(LARGE)) - set(modules()) == set()


@pytest.mark.parametrize("module", modules())
def test_a_module_imports_only_from_its_room_and_those_below(module: str) -> None:
    here = room(module)
    assert here is not None
    allowed = {here} | ROOMS[here][1]
    assert {other: room(other) for other in ours(module) if room(other) not in allowed} == {}


def test_rooms_are_in_order_too() -> None:
    order: list[str] = []
    for name, (_, below) in ROOMS.items():
        assert below <= set(order), name
        order.append(name)


def test_the_engine_is_built_from_the_ground_up() -> None:
    rows = {module: i for i, row in enumerate(ENGINE) for module in row}
    assert {m for m in modules() if inside(m, "engine")} == set(rows)
    for module, row in rows.items():
        for other in ours(module) & set(rows):
            assert rows[other] < row, f"{module} imports {other}"


def test_nothing_is_imported_in_a_circle() -> None:
    tuple(TopologicalSorter({m: ours(m) for m in modules()}).static_order())


@pytest.mark.parametrize("module", modules())
def test_third_parties_are_used_only_where_they_belong(module: str) -> None:
    tops = {name.split(".")[0] for name in imported(module)}
    for top in tops - set(sys.stdlib_module_names) - {"vmatrace"}:
        assert any(inside(module, user) for user in THIRD_PARTIES.get(top, set())), top


def test_the_command_line_starts_without_yaml_and_rich() -> None:
    code = "import sys, vmatrace.cli; print(sorted({'yaml', 'rich'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize("module", modules())
def test_every_module_and_every_public_function_says_what_it_is(module: str) -> None:
    assert ast.get_docstring(tree(module)), "the module has no docstring"
    silent = [
        node.name
        for node in tree(module).body
        if isinstance(node, ast.FunctionDef | ast.ClassDef)
        and not node.name.startswith("_")
        and not any(isinstance(d, ast.Name) and d.id == "overload" for d in node.decorator_list)
        and not ast.get_docstring(node)
    ]
    assert silent == []


@pytest.mark.parametrize("module", modules())
def test_a_module_past_400_lines_has_a_reason(module: str) -> None:
    most, _ = LARGE.get(module, (400, ""))
    assert len(source(module).read_text(encoding="utf-8").splitlines()) <= most


def test_no_reason_outlives_what_it_excuses() -> None:
    for module in LARGE:
        assert len(source(module).read_text(encoding="utf-8").splitlines()) > 400, module


def everything_below(module: str) -> set[str]:
    """All modules of this project that *module* imports, and those that they import."""
    found: set[str] = set()
    waiting = {module}
    while waiting:
        found |= waiting
        waiting = {other for one in waiting for other in ours(one)} - found
    return found - {module}


@pytest.mark.parametrize("question", [m for m in modules() if m.endswith(".question")])
def test_a_question_knows_no_screen(question: str) -> None:
    """Its answer is values: neither rendering nor a form nor words are below it."""
    below = everything_below(question)
    assert {m for m in below if inside(m, "render") or ".as_" in m or m.endswith(".words")} == set()


#: Names that the reader of logs shares with others: of what it reads, they are the right ones.
OF_LOGS = {"Names", "Process", "Processes", "Reader", "Table"}


def test_no_two_public_classes_share_a_name() -> None:
    where: dict[str, list[str]] = {}
    for module in modules():
        for node in tree(module).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                if inside(module, "importers") and node.name in OF_LOGS:
                    continue
                where.setdefault(node.name, []).append(module)
    assert {name: found for name, found in where.items() if len(found) > 1} == {}
