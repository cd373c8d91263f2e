"""Expressions, and the spelling of calls."""

from __future__ import annotations

import pytest

from vmatrace import abi
from vmatrace.event import Bound, Expr, Fd, format_call, format_flags, format_result


def test_an_expression_is_evaluated_with_the_labels_of_the_moment() -> None:
    expr = Expr(("+", "a", ("*", 3, ("-", "b", 1))), "a + 3*(b - 1)")
    assert expr.evaluate({"a": 0x1000, "b": 3}) == 0x1006
    assert list(expr.labels()) == ["a", "b"]


@pytest.mark.parametrize(
    ("value", "families", "text"),
    [
        (0, ("PROT_",), "PROT_NONE"),
        (3, ("PROT_",), "PROT_READ|PROT_WRITE"),
        (0x22, ("MAP_",), "MAP_PRIVATE|MAP_ANONYMOUS"),
        (0x01, ("MAP_",), "MAP_SHARED"),
        (0x03, ("MAP_",), "MAP_SHARED_VALIDATE"),
        (12, ("MADV_",), "MADV_MERGEABLE"),
        (77, ("MADV_",), "77"),
        (0x40, ("MREMAP_",), "0x40"),
    ],
)
def test_flags_are_written_as_strace_prints_them(
    value: int, families: tuple[str, ...], text: str
) -> None:
    assert format_flags(value, families) == text


def test_a_call_is_written_as_strace_prints_it() -> None:
    args = (0, 8192, 3, 0x22, Fd(3, "/lib/x"), 0)
    assert format_call("mmap", args) == (
        "mmap(NULL, 0x2000, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS, 3</lib/x>, 0)"
    )


@pytest.mark.parametrize(
    ("result", "kind", "text"),
    [(-12, "int", "-1 ENOMEM"), (0, "int", "0"), (0x1000, "addr", "0x1000"), (1234, "pid", "1234")],
)
def test_a_result_is_written_as_strace_prints_it(result: int, kind: str, text: str) -> None:
    assert format_result(result, kind) == text


@pytest.mark.parametrize(
    ("operator", "below", "equal", "above"),
    [
        ("==", False, True, False),
        ("!=", True, False, True),
        ("<", True, False, False),
        ("<=", True, True, False),
        (">", False, False, True),
        (">=", False, True, True),
    ],
)
def test_a_bound_compares_the_actual_count_with_its_value(
    operator: str, below: bool, equal: bool, above: bool
) -> None:
    bound = Bound(operator, 5)
    assert [bound.holds(n) for n in (4, 5, 6)] == [below, equal, above]


@pytest.mark.parametrize("exponent", [0, 16, 21, 30, 34, 63])
def test_the_size_of_huge_pages_is_one_number(exponent: int) -> None:
    value = 0x40022 | exponent << 26
    text = format_flags(value, ("MAP_",))
    assert "UNINITIALIZED" not in text
    parsed = sum(
        abi.CONSTANTS[word] if word in abi.CONSTANTS else int(word, 0) for word in text.split("|")
    )
    assert parsed == value
