"""Whether what a trace expects holds, and what is said when it does not."""

from __future__ import annotations

import pytest
from drawing import PAGE, at, draw

from vmatrace.engine.mm import Mm
from vmatrace.event import Bound, Expectation, ExpectedMapping, Expr
from vmatrace.kernels import get_kernel
from vmatrace.replayer.expectations import applies, check
from vmatrace.replayer.result import Failure
from vmatrace.replayer.tally import Tally

POST = get_kernel("post-patch")


def failures(mm: Mm, expectation: Expectation) -> list[Failure]:
    found = check(expectation, POST, mm, {"a": at(0)}, Tally())
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("on", "kernels"),
    [
        ((), {"6.12", "pre-patch", "post-patch"}),
        (("pre-patch",), {"pre-patch"}),
        (("pre-patch", "6.12"), {"pre-patch", "6.12"}),
        ((">=6.17",), {"pre-patch", "post-patch"}),
    ],
)
def test_an_expectation_is_about_the_kernels_it_names(
    on: tuple[str, ...], kernels: set[str]
) -> None:
    expectation = Expectation("main", 1, 1, on)
    names = ("6.12", "pre-patch", "post-patch")
    assert {name for name in names if applies(expectation, get_kernel(name))} == kernels


def test_about_another_kernel_nothing_is_said() -> None:
    wrong = Expectation("main", 1, 1, ("pre-patch",), {"vmas": Bound("==", 99)})
    assert check(wrong, POST, draw("ww"), {}, Tally()) is None


@pytest.mark.parametrize(
    ("what", "bound", "holds"),
    [
        ("vmas", Bound("==", 3), True), ("vmas", Bound("<", 3), False),
        ("mergeable", Bound("==", 1), True), ("mergeable", Bound("!=", 1), False),
        ("peak_vmas", Bound(">=", 3), True), ("peak_vmas", Bound(">", 3), False),
        ("merges", Bound("<=", 0), True), ("merges", Bound("==", 1), False),
    ],
)  # fmt: skip
def test_counts_are_those_of_the_process_now(what: str, bound: Bound, holds: bool) -> None:
    mm = draw("ww|mm..rr")
    mm.peak_vmas = 3
    found = failures(mm, Expectation("main", 3, 5, (), {what: bound}))
    assert (found == []) is holds
    if not holds:
        assert (found[0].what, found[0].line, found[0].column) == (what, 3, 5)


def test_a_layout_must_be_the_whole_layout() -> None:
    first = ExpectedMapping(
        Expr("a", "a"), at(2), "rw-p", 0, "", ("rd", "wr", "mr", "mw", "me", "ac")
    )
    second = ExpectedMapping(at(4), Expr(("+", "a", 6 * PAGE), "a + 6*PAGE_SIZE"), "r--p")
    mm = draw("ww..rr")
    assert failures(mm, Expectation("main", 1, 1, maps=(first, second))) == []
    for wrong in ((first,), (second, first), (first, second, second), ()):
        (failure,) = failures(mm, Expectation("main", 1, 1, maps=wrong))
        assert failure.what == "maps"


@pytest.mark.parametrize(
    "field", [{"start": at(1)}, {"end": at(3)}, {"perms": "r--p"}, {"offset": PAGE}, {"name": "x"},
              {"flags": ("rd",)}],
)  # fmt: skip
def test_every_field_that_is_stated_is_compared(field: dict[str, object]) -> None:
    stated: dict[str, object] = {"start": at(0), "end": at(2), **field}
    wrong = ExpectedMapping(**stated)  # type: ignore[arg-type]
    assert len(failures(draw("ww"), Expectation("main", 1, 1, maps=(wrong,)))) == 1


def test_flags_are_compared_as_a_set() -> None:
    codes = ("ac", "wr", "rd", "me", "mw", "mr")
    right = ExpectedMapping(at(0), at(2), flags=codes)
    assert failures(draw("ww"), Expectation("main", 1, 1, maps=(right,))) == []
