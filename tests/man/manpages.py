"""The man pages, made of what --help prints: ``python tests/man/manpages.py FOLDER``.

Run by `make man`; docs/man/ is what an installation has in share/man/man1.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import click

from vmatrace._version import __version__
from vmatrace.cli import command as program

#: Headings of their own; every other paragraph of an epilog is a note.
_HEADS: Final = {"Examples:": "EXAMPLES", "Exit status:": "EXIT STATUS"}


def pages() -> dict[str, str]:
    """Every page by the name of its file."""
    # click keeps the option for help of the first context that asks: it has to be as in a run.
    with click.Context(program, info_name="vmatrace", **program.context_settings) as context:
        found = {"vmatrace.1": _page(program, context, "vmatrace")}
        for name in program.list_commands(context):
            command = program.get_command(context, name)
            assert command is not None
            with click.Context(command, info_name=name, parent=context) as inner:
                found[f"vmatrace-{name}.1"] = _page(command, inner, f"vmatrace-{name}")
    return found


def _page(command: click.Command, context: click.Context, name: str) -> str:
    lines = [
        f'.TH {name.upper()} 1 "" "vmatrace {__version__}" "User Commands"',
        ".SH NAME", f"{_text(name)} \\- {_text(command.get_short_help_str(200).rstrip('.'))}",
        ".SH SYNOPSIS", f".B {_text(context.command_path)}",
        _text(" ".join(command.collect_usage_pieces(context))),
        ".SH DESCRIPTION", *_paragraphs(command.help or ""),
        ".SH OPTIONS", *_options(command, context),
    ]  # fmt: skip
    if isinstance(command, click.Group):
        lines += [".SH COMMANDS", *_commands(command, context)]
    lines += _epilog(command.epilog or "")
    if name != "vmatrace":
        lines += [".SH SEE ALSO", ".BR vmatrace (1)"]
    return "\n".join(lines) + "\n"


def _options(command: click.Command, context: click.Context) -> Iterator[str]:
    for option in command.get_params(context):
        record = option.get_help_record(context)
        if record is not None and record[1]:
            yield from (".TP", f".B {_text(record[0])}", _text(record[1]))


def _commands(group: click.Group, context: click.Context) -> Iterator[str]:
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield from (".TP", f".BR vmatrace\\-{_text(name)} (1)")
        yield _text(command.get_short_help_str(200))


def _paragraphs(text: str) -> Iterator[str]:
    for number, paragraph in enumerate(re.split(r"\n\s*\n", text.strip())):
        if number:
            yield ".PP"
        if paragraph.startswith("\b"):
            yield from (".nf", *map(_text, paragraph.split("\n")[1:]), ".fi")
        else:
            yield _text(" ".join(paragraph.split()))


def _epilog(text: str) -> Iterator[str]:
    in_notes = False
    for paragraph in re.split(r"\n\s*\n", text.strip()):
        lines = paragraph.removeprefix("\b\n").split("\n")
        head = next((head for head in _HEADS if lines[0].startswith(head)), None)
        if head is not None:
            rest = [lines[0].removeprefix(head).strip(), *lines[1:]]
            yield f".SH {_HEADS[head]}"
            in_notes = False
            if head == "Examples:":
                yield from (".nf", *map(_text, rest[1:]), ".fi")
            else:
                yield _text(" ".join(rest))
            continue
        verbatim = any(line.startswith("  ") for line in lines)
        if not verbatim and not in_notes:
            yield ".SH NOTES"
        elif not verbatim:
            yield ".PP"
        in_notes = in_notes or not verbatim
        if verbatim:
            yield from (".PP", ".nf", *map(_text, lines), ".fi")
        else:
            yield _text(" ".join(" ".join(lines).split()))


def _text(line: str) -> str:
    """*line* as troff prints it."""
    escaped = line.replace("\\", "\\e").replace("-", "\\-").replace("…", "...")
    return f"\\&{escaped}" if escaped[:1] in (".", "'") else escaped


def main(folder: str) -> None:
    """Write every page into *folder*, and take away those of commands that are no more."""
    for old in Path(folder).glob("*.1"):
        old.unlink()
    for name, text in pages().items():
        (Path(folder) / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
