"""The command `vmatrace schema`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from vmatrace.commands import options
from vmatrace.commands.inputs import OK

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem


class _Name(click.ParamType):  # type: ignore[type-arg]
    """The name of a schema; the nearest one is suggested."""

    name = "name"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        from vmatrace import schema
        from vmatrace.diagnostic import quoted, suggestion

        if value not in schema.NAMES:
            hint = suggestion(value, schema.NAMES) or f" (expected {', '.join(schema.NAMES)})"
            self.fail(f"no schema {quoted(value)}{hint}", param, ctx)
        return str(value)

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        from vmatrace import schema

        return options.matching(schema.NAMES, incomplete)


@click.command(
    "schema",
    short_help="Print the JSON Schema of traces or of an output.",
    epilog="""\b
Examples:
  vmatrace schema > trace.schema.json     of the trace file
  vmatrace schema replay                  of replay --format json
  vmatrace schema --list                  what there is

\b
With this first line a trace is completed and checked by editors that have the
YAML language server (VS Code, Neovim, Emacs, Helix, ...):
  # yaml-language-server: $schema=trace.schema.json

\b
Exit status: 0 done; 2 bad usage.""",
)
@click.argument("name", type=_Name(), default="trace")
@click.option("--list", "listed", is_flag=True, help="List the names, with what each describes.")
def command(name: str, listed: bool) -> int:
    """Print the JSON Schema (2020-12) of the trace file, or of the output called NAME."""
    import json

    from vmatrace import schema

    if listed:
        for each in schema.NAMES:
            click.echo(f"{each:<10}  {schema.about(each)}")
    else:
        click.echo(json.dumps(schema.schema(name), indent=2, ensure_ascii=False))
    return OK
