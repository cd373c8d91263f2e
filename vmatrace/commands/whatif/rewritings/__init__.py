"""The rewritings: a module each, with its rule and what it changes in meaning.

A module has NAME, RULE and MEANING (sentences for people), and ``make()``, whose
``rewritten(step)`` gives the events that stand in the place of the step's, or None where it stays
as it is; FEATURES are those of the kernel that it takes.
"""

from __future__ import annotations

from types import ModuleType
from typing import Final

from vmatrace.commands.whatif.rewritings import dontfork, guards, names, noreserve

ALL: Final[tuple[ModuleType, ...]] = (guards, names, noreserve, dontfork)
