"""Values that print as their command prints them: by ``print()`` as in a pipe, by ``rich.print()``
as on a terminal, and in a notebook.

A value names what writes it as text and does not import it, so that who computes knows nothing of
any output.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions
    from rich.segment import Segment


class Printable:
    """A value that some command shows. ``shown_by`` is ``module:function``; the function takes a
    Paper and the value.
    """

    __slots__ = ()
    shown_by: ClassVar[str]

    def _write(self, paper: Any) -> None:
        module, _, function = self.shown_by.partition(":")
        getattr(import_module(module), function)(paper, self)

    def __str__(self) -> str:
        """What the command prints to a pipe, without a line break at the end."""
        out = io.StringIO()
        self._write(import_module("vmatrace.render.paper").plain(out))
        return out.getvalue().rstrip("\n")

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Segment]:
        """What the command prints to such a console."""
        drawing = import_module("vmatrace.render.drawing")
        segments: Iterator[Segment] = drawing.segments(console, options, self._write)
        return segments

    def _repr_mimebundle_(self, include: Any = (), exclude: Any = (), **_: Any) -> dict[str, str]:
        """The same in a notebook."""
        mixin = import_module("rich.jupyter").JupyterMixin
        bundle: dict[str, str] = mixin._repr_mimebundle_(self, include, exclude)
        return bundle
