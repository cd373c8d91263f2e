"""The rewritings: a module each, with its rule and what it changes in meaning.

A module has NAME, RULE and MEANING (sentences for people), FEATURES (those of the kernel that it
takes), and ``make()``, a Rewriting. Of two that save the same, the one that stands first here is
preferred: what removes a difference stands before what works around one.
"""

from __future__ import annotations

from types import ModuleType
from typing import Final

from vmatrace.commands.whatif.rewritings import (
    arenas,
    dontfork,
    guards,
    locking,
    mergeable,
    names,
    noreserve,
    reserve,
)

ALL: Final[tuple[ModuleType, ...]] = (
    names, noreserve, dontfork, mergeable, locking, guards, arenas, reserve,
)  # fmt: skip
