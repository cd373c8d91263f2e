"""Which kernels an expectation's ``on`` covers: a model by its name, or a range of releases."""

from __future__ import annotations

import re
from typing import Final

from vmatrace.kernels.features import Release, numbers
from vmatrace.kernels.models import DEFAULT, KERNELS, Kernel, get_kernel

_RELEASE: Final = r"v?(\d+(?:\.\d+){1,2})"
_COMPARISON: Final = re.compile(rf"(>=|<=|==|!=|>|<)\s*{_RELEASE}")
_SPAN: Final = re.compile(rf"{_RELEASE}\s*\.\.\s*{_RELEASE}")


def _compare(release: Release, text: str) -> int:
    # "6.12" is the whole series, so 6.12.117 equals it; 6.12 itself is 6.12.0.
    wanted = numbers(text)
    have = (*release, 0)[: len(wanted)]
    return (have > wanted) - (have < wanted)


def matches(spec: str, kernel: Kernel) -> bool:
    """Whether an expectation's ``on`` covers the kernel. Raises ValueError as check_spec() does.

    A model's name covers exactly that model, in any configuration: `6.12` neither 6.12.117 nor
    6.12 with a feature switched. A range (`>=6.17`, `<6.12`, `==6.18`, `!=6.16`, `6.4..6.16` with
    both ends) covers what has such a release, switched features or not: a stable kernel counts to
    the series it is named after; pre-patch, post-patch and series-v2 all count as 6.17, the tree
    they share (pre-patch lacks one feature of 6.17, which does not make it 6.16); next and
    converted are newer than every release.
    """
    spec = spec.strip()
    if span := _SPAN.fullmatch(spec):
        if numbers(span[1]) > numbers(span[2]):
            raise ValueError(f"empty version range {spec!r} (expected the older release first)")
        return _compare(kernel.release, span[1]) >= 0 >= _compare(kernel.release, span[2])
    if comparison := _COMPARISON.fullmatch(spec):
        sign = _compare(kernel.release, comparison[2])
        return {
            ">=": sign >= 0,
            "<=": sign <= 0,
            "==": sign == 0,
            "!=": sign != 0,
            ">": sign > 0,
            "<": sign < 0,
        }[comparison[1]]
    if is_range(spec):
        raise ValueError(
            f"malformed version range {spec!r} (expected such as '>=6.17', '6.4..6.16')"
        )
    return get_kernel(spec).name in (kernel.name, kernel.configured().name)


def is_range(spec: str) -> bool:
    """Whether *spec* is, or is meant to be, a range and no model's name."""
    return re.match(r"\s*[<>=!~^]|.*\.\.", spec) is not None


def check_spec(spec: str) -> None:
    """Raise ValueError, with a suggestion, unless ``spec`` is a model's name or a version range."""
    matches(spec, KERNELS[DEFAULT])
