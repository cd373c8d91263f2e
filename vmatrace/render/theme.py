"""The look of everything that is printed: each thing that can be said has a style by its name.

The names are what the text is, and none says a colour; STYLES alone does. Colours are those of the
terminal's own palette, so that they suit dark and light ones. Nothing is said by colour alone.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from rich.style import Style
    from rich.theme import Theme

STYLES: Final = {
    # text
    "title": "bold",  # what comes now: a trace, a process, a part
    "model": "bold cyan",  # kernel models, features
    "quiet": "dim",  # descriptions, heads of columns, what was left out
    "label": "dim",  # what stands before a value
    "key": "cyan",  # a cause, a source
    # verdicts, in one word or number
    "passed": "bold green",
    "failed": "bold red",
    # what an event did, sentence by sentence
    "good": "green",
    "bad": "red",
    "warning": "yellow",
    "strong-warning": "bold yellow",
    "added": "green",
    "removed": "red",
    # a layout
    "flags": "cyan",
    "ksm": "bold magenta",  # VM_MERGEABLE, and what it keeps apart
    "alike": "bold cyan",  # neighbours that differ in nothing
    "apart": "yellow",  # why neighbours are two
    "anonymous": "dim",
    "gap": "dim",
    "frame": "dim",
}


@cache
def style(name: str) -> Style:
    """The style called *name*; "" is none. Raises KeyError."""
    from rich.style import Style

    return Style.null() if name == "" else Style.parse(STYLES[name])


@cache
def theme() -> Theme:
    """The same for a console, so that a renderable can name its styles."""
    from rich.theme import Theme

    return Theme(STYLES)
