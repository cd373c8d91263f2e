"""What a function of changed sources does when it is called: itself, or the mutant that is tried.

``make.py`` puts every mutant of a function beside it and this decorator on it. A process knows its
mutant from its environment (MUTANT, as programs that tests start do), or is told when it is forked
from one that has imported everything (:func:`become`). Where no mutant is, nothing is slower.
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from types import FunctionType
from typing import Any, Final

#: The mutants of one function by name; beside them the function, as "_mutmut_orig".
MutantDict = dict[str, Any]

#: The mutant of this process: its module, and what it is called there.
MODULE, _, NAME = os.environ.get("MUTANT", "").rpartition(".")
#: Whether it is asked which functions are called; those that were, since it was emptied.
NOTING: Final = "MUTANTS_NOTED" in os.environ
called: Final[set[str]] = set()
_functions: Final[list[tuple[MutantDict, FunctionType]]] = []


def wrap_in_trampoline(
    mutants: MutantDict, is_classmethod: bool = False
) -> Callable[[FunctionType], Callable[..., Any]]:
    """The decorator; named as mutmut names it, whose sources these are."""
    del is_classmethod

    def decorate(function: FunctionType) -> Callable[..., Any]:
        _functions.append((mutants, function))
        if NOTING:
            return _noted(mutants, function)
        if function.__module__ == MODULE:
            return _switched(mutants, function)
        return function

    return decorate


def _noted(mutants: MutantDict, function: FunctionType) -> Callable[..., Any]:
    name = ""  # which is not known before the mutants are

    @functools.wraps(function)
    def call(*args: Any, **options: Any) -> Any:
        nonlocal name
        if not name:
            own = mutants["_mutmut_orig"].__name__.removesuffix("__mutmut_orig")
            name = f"{function.__module__}.{own}"
        called.add(name)
        return function(*args, **options)

    return call


def _switched(mutants: MutantDict, function: FunctionType) -> Callable[..., Any]:
    @functools.wraps(function)
    def call(*args: Any, **options: Any) -> Any:
        return _plain(mutants.get(NAME, function))(*args, **options)

    return call


def _plain(function: Any) -> FunctionType:
    """What a method of a class is bound to."""
    plain: FunctionType = getattr(function, "__func__", function)
    return plain


def become(mutant: str) -> None:
    """From here on, this process and those that it starts run *mutant* (MODULE.NAME)."""
    global MODULE, NAME
    os.environ["MUTANT"] = mutant
    MODULE, _, NAME = mutant.rpartition(".")
    for mutants, function in _functions:
        if function.__module__ == MODULE and NAME in mutants:
            changed = _plain(mutants[NAME])
            function.__code__ = changed.__code__
            function.__defaults__ = changed.__defaults__
            function.__kwdefaults__ = changed.__kwdefaults__
            return
    if MODULE in sys.modules:
        raise LookupError(f"{MODULE} has no {NAME}")
