"""What a name can fail to be; the message says what was expected, or the nearest name."""

from __future__ import annotations

from collections.abc import Iterable


class UnknownKernel(ValueError):  # noqa: N818
    """No model of that name."""


class UnknownFeature(ValueError):  # noqa: N818
    """No feature of that name."""


class UnknownFileSystem(ValueError):  # noqa: N818
    """No file system of that name."""


def nearest(word: str, words: Iterable[str]) -> str:
    """`` (did you mean 'mseal'?)``, or nothing where no word is near."""
    import difflib  # only an error needs it

    near = difflib.get_close_matches(word, words, n=1, cutoff=0.5)
    return f" (did you mean {near[0]!r}?)" if near else ""
