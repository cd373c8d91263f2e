"""Pages of equal contents: how many ksmd would leave of them, all read or only a sample.

A class is all pages of one content. Knows nothing of processes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil, comb
from typing import Final

#: A class seen more often than that in a sample is as large as that says: n/share.
_LARGE: Final = 40
_ROUNDS: Final = 4000


@dataclass(frozen=True)
class Sharing:
    """What merging comes to, in pages: ``merged`` take part, ``kept`` of them are left.

    ``error``: one standard deviation of ``saved``, which is 0 unless pages were sampled.
    """

    merged: int = 0
    kept: int = 0
    error: int = 0

    @property
    def saved(self) -> int:
        return self.merged - self.kept

    def __add__(self, other: Sharing) -> Sharing:
        error = round((self.error**2 + other.error**2) ** 0.5)
        return Sharing(self.merged + other.merged, self.kept + other.kept, error)


@dataclass(frozen=True)
class KsmSettings:
    """Settings of ksmd: ``max_page_sharing``, how many pages may become one; ``zero_pages``: those
    of nothing but zeros become the kernel's own (use_zero_pages).
    """

    max_page_sharing: int = 256
    zero_pages: bool = False


def sharing(sizes: Iterable[int], share: float, settings: KsmSettings) -> Sharing:
    """What comes of classes of which so many pages each were seen, in a sample of *share*."""
    seen = Counter(sizes)
    if share >= 1:
        return _of(seen, settings.max_page_sharing)
    large = Counter({round(n / share): k for n, k in seen.items() if n > _LARGE})
    small = _likely({n: k for n, k in seen.items() if n <= _LARGE}, share)
    merged = sum(n * k for n, k in small.items() if n > 1)
    kept = sum(ceil(n / settings.max_page_sharing) * k for n, k in small.items() if n > 1)
    twice = sum(k for n, k in seen.items() if 1 < n <= _LARGE)
    error = (merged - kept) / twice**0.5 if twice else 0.0
    found = Sharing(round(merged), round(kept), round(error))
    return found + _of(large, settings.max_page_sharing)


def zeros(count: int, share: float, settings: KsmSettings) -> Sharing:
    """What comes of the pages of nothing but zeros, of which *count* were seen."""
    pages = round(count / share)
    if settings.zero_pages:
        return Sharing(pages, 0)
    return _of(Counter({pages: 1}), settings.max_page_sharing)


def _of(classes: Counter[int], most: int) -> Sharing:
    """A class of n pages leaves one for each *most* of them (stable_node_dup, mm/ksm.c)."""
    merged = sum(n * k for n, k in classes.items() if n > 1)
    return Sharing(merged, sum(ceil(n / most) * k for n, k in classes.items() if n > 1))


def _likely(seen: dict[int, int], share: float) -> dict[int, float]:
    """How many classes of each size most likely led to what was *seen*, class sizes in the sample.

    A page is in the sample with probability *share*, so of a class of n there are j with that of
    the binomial distribution; the classes of each size are found by expectation maximization.
    """
    if not seen:
        return {}
    most = round(max(seen) / share * 1.5) + 2
    sizes = sorted({min(round(1.25**i) + i % 9, most) for i in range(100)} | set(range(1, 9)))
    sizes = [n for n in sizes if n <= most]
    chance = {j: [_binomial(n, j, share) for n in sizes] for j in seen}
    visible = [1 - (1 - share) ** n for n in sizes]
    guess = [sum(seen.values()) / len(sizes)] * len(sizes)
    for _ in range(_ROUNDS):
        pull = [0.0] * len(sizes)
        for j, count in seen.items():
            row = chance[j]
            expected = sum(map(float.__mul__, guess, row))
            if expected > 0:
                weight = count / expected
                pull = [p + weight * c for p, c in zip(pull, row, strict=True)]
        guess = [g * p / v for g, p, v in zip(guess, pull, visible, strict=True)]
    return dict(zip(sizes, guess, strict=True))


def _binomial(n: int, j: int, share: float) -> float:
    return comb(n, j) * share**j * (1 - share) ** (n - j) if n >= j else 0.0
