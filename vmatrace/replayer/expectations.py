"""Whether an expectation of a trace holds at this point of a replay."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from collections.abc import Mapping as Map

from vmatrace import abi, kernels
from vmatrace.engine import view
from vmatrace.engine.mm import Mm
from vmatrace.event import Expectation, ExpectedMapping, Expr
from vmatrace.kernels import Kernel
from vmatrace.layout import Mapping
from vmatrace.replayer.result import Failure
from vmatrace.replayer.tally import Tally


def applies(expectation: Expectation, kernel: Kernel) -> bool:
    """Whether *expectation* is about this kernel model."""
    return not expectation.on or any(kernels.matches(spec, kernel) for spec in expectation.on)


def check(
    expectation: Expectation, kernel: Kernel, mm: Mm, labels: Map[str, int], tally: Tally
) -> list[Failure] | None:
    """What does not hold, [] when all does, None where the expectation is about other models."""
    if not applies(expectation, kernel):
        return None
    failures = list(counted(expectation, lambda what: count(what, mm, tally)))
    if expectation.maps is not None:
        actual_maps = view.layout(mm)
        if not _maps_hold(expectation.maps, actual_maps, labels):
            wanted = [_resolved(m, labels) for m in expectation.maps]
            failures.append(failed(expectation, "maps", wanted, actual_maps))
    return failures


def counted(expectation: Expectation, actual: Callable[[str], int]) -> Iterator[Failure]:
    """The counts of *expectation* that do not hold for what is *actual*."""
    for what, bound in expectation.counts.items():
        number = actual(what)
        if not bound.holds(number):
            yield failed(expectation, what, bound.shown, number)


def failed(expectation: Expectation, what: str, expected: object, actual: object) -> Failure:
    """That *what* is *actual* and not as *expectation* has it."""
    return Failure(
        expectation.line, expectation.column, expectation.pid, what, expected, actual,
        name=expectation.name,
    )  # fmt: skip


def count(what: str, mm: Mm, tally: Tally) -> int:
    """The number called *what*, one of EXPECTED_COUNTS, as it is now."""
    if what == "vmas":
        return mm.vmas.count
    if what == "peak_vmas":
        return mm.peak_vmas
    if what == "mergeable":
        return sum(bool(vma.flags & abi.VM_MERGEABLE) for vma in mm.vmas)
    if what == "merges":
        return tally.total
    assert what == "blocked_only_by_mergeable"
    return tally.only_mergeable


def _value(value: int | Expr, labels: Map[str, int]) -> int:
    return value.evaluate(labels) if isinstance(value, Expr) else value


def _resolved(expected: ExpectedMapping, labels: Map[str, int]) -> ExpectedMapping:
    return ExpectedMapping(
        _value(expected.start, labels), _value(expected.end, labels), expected.perms,
        expected.offset, expected.name, expected.flags,
    )  # fmt: skip


def _maps_hold(
    expected: tuple[ExpectedMapping, ...], actual: list[Mapping], labels: Map[str, int]
) -> bool:
    return len(expected) == len(actual) and all(
        _holds(want, have, labels) for want, have in zip(expected, actual, strict=True)
    )


def _holds(want: ExpectedMapping, have: Mapping, labels: Map[str, int]) -> bool:
    return (
        _value(want.start, labels) == have.start
        and _value(want.end, labels) == have.end
        and (want.perms is None or want.perms == have.perms)
        and (want.offset is None or want.offset == have.offset)
        and (want.name is None or want.name == have.name)
        and (want.flags is None or set(want.flags) == set(have.codes))
    )
