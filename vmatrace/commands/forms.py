"""The forms of a command's answers: which there are, what --format says, and where each goes.

A form is a module ``as_FORM.py`` in the room of its command, and nothing lists it. It has

- ``form(out, count)``: the Form that writes the answers about *count* traces to the stream *out*;
- ``SUFFIXES``, if a file's name can say it: such as ``(".json",)``;
- ``FOR_PEOPLE = True`` if it is read on a terminal, and so written in the encoding of that.

Of a table there are PICTURES, too.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, Generic, NamedTuple, TextIO, TypeVar

import click

from vmatrace.commands.files import CannotWriteError
from vmatrace.commands.form import PICTURES, Answer, Form, Picture
from vmatrace.commands.inputs import write_nowhere

if TYPE_CHECKING:
    from types import ModuleType, TracebackType

    from click.shell_completion import CompletionItem

    from vmatrace.atomic import AtomicFile
    from vmatrace.diagnostic import TraceError

_F = TypeVar("_F", bound=Callable[..., Any])

DEFAULT: Final = "table"
_PREFIX: Final = "as_"


# --- which there are ------------------------------------------------------------------------------


def names(room: str) -> list[str]:
    """The forms of the package *room*, the default first."""
    import pkgutil

    modules = (module.name for module in pkgutil.iter_modules(import_module(room).__path__))
    found = [name.removeprefix(_PREFIX) for name in modules if name.startswith(_PREFIX)]
    found += [name for name in PICTURES if DEFAULT in found]
    return sorted(found, key=lambda name: (name != DEFAULT, name))


def module(room: str, name: str) -> ModuleType | Picture:
    """The module of the form *name*, one of names(*room*)."""
    if name in PICTURES:
        return Picture(_module(room, DEFAULT), name)
    return _module(room, name)


def _module(room: str, name: str) -> ModuleType:
    return import_module(f"{room}.{_PREFIX}{name}")


def _suffixes(room: str, name: str) -> tuple[str, ...]:
    found: tuple[str, ...] = getattr(module(room, name), "SUFFIXES", ())
    return found


def named_by(room: str, path: str) -> list[str]:
    """The forms that the name of the file at *path* can stand for; [] where it says nothing."""
    found = [
        name for name in names(room) if path.lower().endswith(_suffixes(room, name) or ("\0",))
    ]
    suffix = os.path.splitext(path)[1].lower()
    return sorted(found, key=lambda name: f".{name}" != suffix)


# --- what --format says ---------------------------------------------------------------------------


class Wanted(NamedTuple):
    """A form, and the file that it goes to; None is standard output."""

    name: str
    path: str | None = None


class _Type(click.ParamType):  # type: ignore[type-arg]
    """FORM or FORM=FILE, given as Wanted."""

    name = "form"

    def __init__(self, room: str) -> None:
        self.room = room

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Wanted:
        if isinstance(value, Wanted):
            return value
        name, _, path = value.partition("=")
        if name not in (known := names(self.room)):
            from vmatrace.diagnostic import quoted, suggestion

            hint = suggestion(name, known) or f" (expected {', '.join(known)})"
            self.fail(f"no form {quoted(name)}{hint}", param, ctx)
        if not path and "=" in value:
            self.fail(f"a file is missing after {value} (expected such as {value}FILE)", param, ctx)
        try:
            check_name(self.room, name, path)
        except ValueError as error:
            self.fail(str(error), param, ctx)
        return Wanted(name, path if path not in ("", "-") else None)

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        from vmatrace.commands.options import matching

        return matching(names(self.room), incomplete)


def check_name(room: str, name: str, path: str) -> None:
    """Raises ValueError where the name of the file at *path* says another form than *name*."""
    said = named_by(room, path) if path else []
    if said and name not in said:
        raise ValueError(
            f"{path} is a name for {' or '.join(said)}, not for {name} (expected --format "
            f"{said[0]}, or another name)"
        )


def check_known(room: str, wanted: Sequence[Wanted], what: str) -> None:
    """Raises click.UsageError where *room* has not a form: *what* goes before ``--format``."""
    for form, _ in wanted:
        if form not in (known := names(room)):
            raise click.UsageError(f"{what} --format {form} (expected {', '.join(known)})")


def to_file(room: str, wanted: Sequence[Wanted], output: str) -> tuple[Wanted, ...]:
    """*wanted*, where *output* gets what would go to standard output; its name can say the form."""
    to_output = [form.name for form in wanted if form.path is None]
    name = (to_output or named_by(room, output) or [DEFAULT])[0]
    try:
        check_name(room, name, output)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    return (*(form for form in wanted if form.path), Wanted(name, output))


class _Option(click.Option):
    """Lists the forms when the help is asked for, and not before."""

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        assert isinstance(self.type, _Type)
        assert self.help is not None
        self.help = self.help.replace("FORMS", ", ".join(names(self.type.room)))
        return super().get_help_record(ctx)


def option(room: str) -> Callable[[_F], _F]:
    """The option --format, for the forms of *room*: a tuple of Wanted, the parameter ``wanted``."""
    return click.option(
        "--format", "wanted", metavar="FORM[=FILE]", type=_Type(room), multiple=True, cls=_Option,
        help=f"How to print the results: FORMS.  With =FILE they go into that file too; may be "
        f"repeated.  [default: {DEFAULT}]",
    )  # fmt: skip


# --- where each goes ------------------------------------------------------------------------------


class Forms(Generic[Answer]):
    """All forms of one run. A context: its files appear when it is left, if by no exception.

    *count* is how many traces are asked about; *otherwise* is written to standard output where
    no form of *wanted* is. Raises click.UsageError, CannotWriteError.
    """

    def __init__(
        self, room: str, wanted: Sequence[Wanted], count: int = 1, otherwise: str | None = DEFAULT
    ) -> None:
        self.wanted = list(dict.fromkeys(wanted))
        if otherwise is not None and all(path is not None for _, path in self.wanted):
            self.wanted.append(Wanted(otherwise))
        _check_places(self.wanted)
        self._room = room
        self._count = count
        self._files: dict[str, AtomicFile] = {}
        self._failed: CannotWriteError | None = None
        self._forms: list[tuple[str | None, Form[Answer]]] = []

    def _open(self, name: str, path: str | None) -> None:
        found = module(self._room, name)
        out: TextIO = sys.stdout
        if path is None:
            from vmatrace.render import streams

            streams.set_encoding(out, getattr(found, "FOR_PEOPLE", False))
        else:
            from vmatrace.atomic import AtomicFile

            try:
                self._files[path] = AtomicFile(path)
            except OSError as error:
                self._failed = CannotWriteError(path, error)
                if len(self.wanted) == 1:
                    raise self._failed from None
                return  # the others are written all the same
            out = self._files[path].stream
        try:
            self._forms.append((path, found.form(out, self._count)))
        except ValueError as error:
            raise click.UsageError(str(error)) from None

    def __enter__(self) -> Forms[Answer]:
        try:
            for name, path in self.wanted:
                self._open(name, path)
        except BaseException:
            self._discard()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._each(lambda form: form.finish())
                sys.stdout.flush()
                self._commit()
        except BrokenPipeError:
            write_nowhere()
            self._commit()
        finally:
            self._discard()

    def write(self, answer: Answer) -> None:
        """Write the next answer. Raises BrokenPipeError where nobody reads any more."""
        self._each(lambda form: form.write(answer))

    def pass_over(self) -> None:
        """One trace fewer is asked about: it is neither answered nor in error."""
        for _, form in self._forms:
            form.count -= 1

    def refuse(self, error: TraceError) -> None:
        """There is no answer about a trace."""
        self._each(lambda form: form.refuse(error))

    def _each(self, do: Callable[[Form[Answer]], None]) -> None:
        for path, form in list(self._forms):
            try:
                do(form)
            except BrokenPipeError:
                if path is not None:
                    raise
                write_nowhere()
                self._forms.remove((path, form))
                if not self._forms:
                    raise
            except OSError as error:
                if path is None:
                    raise
                raise CannotWriteError(path, error) from None

    def _commit(self) -> None:
        for path, file in self._files.items():
            try:
                if not file.empty:  # what nothing was written to is not touched
                    file.commit()
            except OSError as error:
                self._failed = CannotWriteError(path, error)
        if self._failed is not None:
            raise self._failed

    def _discard(self) -> None:
        for file in self._files.values():
            file.discard()


def _check_places(wanted: Iterable[Wanted]) -> None:
    """Raises click.UsageError where two forms go to one place."""
    places: dict[str | None, str] = {}
    for name, path in wanted:
        place = None if path is None else os.path.realpath(path)
        if place in places:
            where = "standard output" if path is None else path
            raise click.UsageError(
                f"--format {places[place]} and --format {name} both write to {where} (expected "
                f"--format {name}=FILE)"
            )
        places[place] = name
