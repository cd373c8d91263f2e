"""How ``make mutants`` puts a mutant in the place of a function (tests/mutants/switch.py)."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

SWITCH = Path(__file__).parent / "mutants" / "switch.py"
#: As mutmut writes a function and a method of a class with their mutants.
CHANGED = """
mutants_x_f__mutmut = {}
@wrap(mutants_x_f__mutmut)
def f(a, b=1):
    return a + b
def x_f__mutmut_orig(a, b=1):
    return a + b
def x_f__mutmut_1(a, b=2):
    return a + b
mutants_x_f__mutmut["_mutmut_orig"] = x_f__mutmut_orig
mutants_x_f__mutmut["x_f__mutmut_1"] = x_f__mutmut_1
mutants_xǁCǁg__mutmut = {}
class C:
    @classmethod
    @wrap(mutants_xǁCǁg__mutmut, is_classmethod=True)
    def g(cls):
        return cls, 1
    @classmethod
    def xǁCǁg__mutmut_1(cls):
        return cls, 2
mutants_xǁCǁg__mutmut["_mutmut_orig"] = C.g
mutants_xǁCǁg__mutmut["xǁCǁg__mutmut_1"] = C.xǁCǁg__mutmut_1
early = f(1)
"""


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The changed module, and the switch as a process with these variables has it."""

    def loaded(**environment: str) -> tuple[ModuleType, Any]:
        for name in ("MUTANT", "MUTANTS_NOTED"):
            monkeypatch.delenv(name, raising=False)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        spec = importlib.util.spec_from_file_location("switch", SWITCH)
        assert spec is not None
        assert spec.loader is not None
        switch = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(switch)
        module = ModuleType("changed")
        monkeypatch.setitem(sys.modules, "changed", module)
        vars(module)["wrap"] = switch.wrap_in_trampoline
        exec(compile(CHANGED, "changed", "exec"), vars(module))
        return module, switch

    return loaded


def test_without_a_mutant_a_function_is_itself(load: Any) -> None:
    module, _ = load()
    assert (module.f(1), module.C.g(), module.early) == (2, (module.C, 1), 2)
    assert not hasattr(module.f, "__wrapped__")


def test_a_process_becomes_a_mutant(load: Any) -> None:
    module, switch = load()
    kept = module.f
    switch.become("changed.x_f__mutmut_1")
    assert (kept(1), kept(1, 5), module.early) == (3, 6, 2)
    switch.become("changed.xǁCǁg__mutmut_1")
    assert module.C.g() == (module.C, 2)
    with pytest.raises(LookupError, match="changed has no x_f__mutmut_9"):
        switch.become("changed.x_f__mutmut_9")
    switch.become("later.x_f__mutmut_1")  # which is not imported yet


@pytest.mark.parametrize(
    ("mutant", "values"),
    [("x_f__mutmut_1", (3, 1, 3)), ("xǁCǁg__mutmut_1", (2, 2, 2)), ("x_f__mutmut_9", (2, 1, 2))],
)
def test_a_process_that_is_started_as_a_mutant_is_it_from_the_start(
    load: Any, mutant: str, values: tuple[int, int, int]
) -> None:
    module, _ = load(MUTANT=f"changed.{mutant}")
    assert (module.f(1), module.C.g()[1], module.early) == values
    module, _ = load(MUTANT=f"other.{mutant}")
    assert (module.f(1), module.C.g()[1], module.early) == (2, 1, 2)


def test_what_is_called_is_noted(load: Any) -> None:
    module, switch = load(MUTANTS_NOTED="1")
    assert switch.called == {"changed.x_f"}
    switch.called.clear()
    assert (module.f(1), switch.called) == (2, {"changed.x_f"})
