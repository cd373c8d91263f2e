"""Values that print as their command prints them: ``print(vmatrace.replay(…))``.

A value names what writes it as text and does not import it, so that who computes knows nothing of
any output.
"""

from __future__ import annotations

import io
from importlib import import_module
from typing import ClassVar


class Printable:
    """A value that some command shows. ``shown_by`` is ``module:function``; the function takes a
    Paper and the value.
    """

    __slots__ = ()
    shown_by: ClassVar[str]

    def __str__(self) -> str:
        """What the command prints to a pipe, without a line break at the end."""
        module, _, function = self.shown_by.partition(":")
        out = io.StringIO()
        paper = import_module("vmatrace.render.paper").on(out)
        getattr(import_module(module), function)(paper, self)
        return out.getvalue().rstrip("\n")
