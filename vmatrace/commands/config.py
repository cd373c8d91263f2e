"""The settings of a project: ``vmatrace.toml``, or ``[tool.vmatrace]`` in pyproject.toml.

Those of the working directory, else of the nearest directory above that has some; paths in them
are from there. What the command line says comes before them.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from fnmatch import fnmatch
from typing import Any, Final, NamedTuple

from vmatrace import kernels
from vmatrace.diagnostic import Diagnostic, TraceError, quoted, suggestion
from vmatrace.event import EXPECTED_COUNTS

_OWN: Final = "vmatrace.toml"
_SHARED: Final = "pyproject.toml"
_SECTION: Final = re.compile(rb"^\s*\[+\s*tool\s*\.\s*vmatrace\b", re.MULTILINE)
#: No project has more settings than this, in bytes.
_LARGEST: Final = 1 << 20


class Budget(NamedTuple):
    """The most that a count (one of EXPECTED_COUNTS) may be at the end of traces like ``files``."""

    what: str
    most: int
    files: str = "*"

    def is_for(self, path: str) -> bool:
        """Whether it is about the trace at *path*."""
        return fnmatch(os.path.abspath(path), self.files)


@dataclass(frozen=True)
class Settings:
    """What a project says. Empty or None: nothing is said."""

    traces: tuple[str, ...] = ()
    kernels: tuple[str, ...] = ()
    from_: str | None = None
    to: str | None = None
    allow: tuple[str, ...] = ()
    budgets: tuple[Budget, ...] = field(default=())

    def allowed(self, given: tuple[str, ...], kinds: tuple[str, ...]) -> tuple[str, ...]:
        """Those of *kinds* that are allowed where the command line has *given*."""
        return given or tuple(kind for kind in self.allow if kind in kinds)


#: Every key, as it is written.
KEYS: Final = tuple(entry.name.rstrip("_") for entry in fields(Settings))
#: What --allow takes, in any command.
ALLOWABLE: Final = ("no-expectations", "uncovered", "new", "removed", "fewer-expectations")


def settings() -> Settings:
    """load(), for a command: what is wrong in the file ends it with that message."""
    import click

    from vmatrace.commands.inputs import BAD

    try:
        return load()
    except TraceError as error:
        click.echo(str(error), err=True)
        raise click.exceptions.Exit(BAD) from None


def traces(given: tuple[str, ...], project: Settings) -> tuple[str, ...]:
    """The traces of a command line that has *given*, else of the project; else a usage error."""
    import click

    if not given and not project.traces:
        raise click.UsageError(
            'no TRACE (expected such as traces/, or traces = ["traces"] in vmatrace.toml)'
        )
    return given or project.traces


def load() -> Settings:
    """The settings of the project that the working directory is in. Raises TraceError."""
    folder = os.getcwd()
    while True:
        for name in (_OWN, _SHARED):
            path = os.path.join(folder, name)
            found = _read(path, name == _SHARED) if os.path.isfile(path) else None
            if found is not None:
                return found
        above = os.path.dirname(folder)
        if above == folder:
            return Settings()
        folder = above


def _read(path: str, shared: bool) -> Settings | None:
    """The settings in the file at *path*; None where a *shared* one has none."""
    shown = os.path.relpath(path)
    try:
        with open(path, "rb") as file:
            data = file.read(_LARGEST + 1)
    except OSError as error:
        raise _error(shown, 0, f"cannot be read: {error.strerror}") from None
    if shared and b"vmatrace" not in data:
        return None
    if len(data) > _LARGEST:
        raise _error(shown, 0, f"it is larger than {_LARGEST} bytes, so it holds no settings")
    try:
        text = data.decode("utf-8")
        document = _toml(text)
    except ValueError as error:
        place = re.search(r" \(at line (\d+), column \d+\)", str(error))
        line = int(place[1]) if place else data.count(b"\n") + 1  # at the end of the document
        if shared and not _SECTION.search(data):
            return None  # whose it is, says so
        what = str(error).partition(" (at ")[0]
        raise _error(shown, line, f"not TOML: {what[:1].lower()}{what[1:]}") from None
    if shared:
        document = document.get("tool", {}).get("vmatrace")
        if document is None:
            return None
    return _Reader(shown, os.path.dirname(path), text, shared).settings(document)


def _toml(text: str) -> dict[str, Any]:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    document: dict[str, Any] = tomllib.loads(text)
    return document


def _error(path: str, line: int, message: str) -> TraceError:
    return TraceError([Diagnostic(path, line, 1 if line else 0, message)])


class _Reader:
    """Checks the values of one file; all that is wrong is reported together."""

    def __init__(self, path: str, folder: str, text: str, shared: bool) -> None:
        self._path = path
        self._folder = folder
        self._lines = text.split("\n")
        self._first = 0
        if shared:
            starts = (i for i, line in enumerate(self._lines) if "vmatrace" in line and "[" in line)
            self._first = next(starts, 0)
        self._wrong: list[Diagnostic] = []

    def settings(self, document: Any) -> Settings:
        """The settings that *document* holds. Raises TraceError."""
        if not isinstance(document, dict):
            raise _error(self._path, self._first + 1, "tool.vmatrace is no table")
        known: dict[str, Callable[[str, Any], Any]] = {
            "traces": self._paths, "kernels": self._models, "from": self._side, "to": self._side,
            "allow": self._kinds, "budgets": self._budgets,
        }  # fmt: skip
        values: dict[str, Any] = {}
        for key, value in document.items():
            read = known.get(key)
            if read is None:
                self._unknown(key, KEYS)
            else:
                values["from_" if key == "from" else key] = read(key, value)
        if self._wrong:
            raise TraceError(self._wrong)
        return Settings(**values)

    def _unknown(self, key: str, known: tuple[str, ...], what: str = "setting") -> None:
        hint = suggestion(key, known) or f" (expected {', '.join(known)})"
        self._say(key, f"no {what} {quoted(key)}{hint}")

    def _say(self, key: str, message: str) -> None:
        line, column = self._place(key)
        self._wrong.append(Diagnostic(self._path, line, column, message))

    def _place(self, key: str) -> tuple[int, int]:
        """Line and column where *key* (or a value) first stands in the part that is read."""
        word = re.compile(rf"(?<![\w-]){re.escape(key)}(?![\w-])")
        for number, line in enumerate(self._lines[self._first :], self._first + 1):
            if match := word.search(line.partition("#")[0]):
                return number, match.start() + 1
        return self._first + 1, 1

    def _texts(self, key: str, value: Any) -> tuple[str, ...]:
        values = [value] if isinstance(value, str) else value
        if isinstance(values, list) and all(isinstance(one, str) and one for one in values):
            return tuple(values)
        self._say(key, f"{key} is {_kind(value)} (expected a text, or a list of texts)")
        return ()

    def _paths(self, key: str, value: Any) -> tuple[str, ...]:
        return tuple(self._from_here(one) for one in self._texts(key, value))

    def _from_here(self, path: str) -> str:
        return os.path.relpath(os.path.join(self._folder, path))

    def _models(self, key: str, value: Any) -> tuple[str, ...]:
        named = self._texts(key, value)
        for name in named:
            try:
                if name != "all":
                    kernels.get_kernel(name)
            except ValueError as error:
                self._say(name, str(error))
        return named

    def _side(self, key: str, value: Any) -> str | None:
        """A model or the like; else a path."""
        if not isinstance(value, str) or not value:
            self._say(key, f"{key} is {_kind(value)} (expected a model, or a file)")
            return None
        if value == "running" or value.startswith("boot:"):
            return value
        try:
            kernels.get_kernel(value)
        except ValueError:
            path = self._from_here(value)
            return path if os.sep in path else os.path.join(os.curdir, path)
        return value

    def _kinds(self, key: str, value: Any) -> tuple[str, ...]:
        kinds = self._texts(key, value)
        for kind in kinds:
            if kind not in ALLOWABLE:
                self._unknown(kind, ALLOWABLE, "kind to allow")
        return kinds

    def _budgets(self, key: str, value: Any) -> tuple[Budget, ...]:
        if not isinstance(value, dict):
            self._say(key, f"budgets is {_kind(value)} (expected a table such as peak_vmas = 100)")
            return ()
        return tuple(self._budgets_in(value, "*"))

    def _budgets_in(self, table: Mapping[str, Any], files: str) -> Iterator[Budget]:
        for key, value in table.items():
            if isinstance(value, dict) and files == "*":
                yield from self._budgets_in(value, os.path.join(self._folder, key))
            elif key not in EXPECTED_COUNTS:
                self._unknown(key, EXPECTED_COUNTS, "budget")
            elif type(value) is not int or value < 0:
                self._say(key, f"{key} is {_kind(value)} (expected a number)")
            else:
                yield Budget(key, value, files)


def _kind(value: Any) -> str:
    names = {bool: "true or false", int: "a number", float: "a number", str: "a text",
             list: "a list", dict: "a table"}  # fmt: skip
    return names.get(type(value), "a date") if value != "" else "empty"
