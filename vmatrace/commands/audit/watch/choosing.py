"""Which sample of a file is meant: by its number, its time, or how long after the first it was."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, timezone

import click

from vmatrace.commands.audit.parameters import IntervalType
from vmatrace.commands.audit.watch import words
from vmatrace.commands.audit.watch.samples import Sample
from vmatrace.diagnostic import quoted

_EXPECTED = "expected its number, such as 3 or -1 (the last), +10m after the first, or a time"


def chosen(samples: Sequence[Sample], text: str, option: str) -> int:
    """The number, counted from 1, of the sample of *samples* that *text* means: of a time the last
    that was taken by then. Raises click.UsageError, which names *option*.
    """
    if re.fullmatch(r"-?[0-9]{1,9}", text, re.ASCII):
        number = int(text)
        if not 1 <= abs(number) <= len(samples):
            there = f"there are samples 1 to {len(samples)}"
            raise click.UsageError(f"{option}: no sample {number} ({there})")
        return number if number > 0 else len(samples) + 1 + number
    at = _time(samples, text, option)
    found = max((i for i, sample in enumerate(samples, 1) if sample.at < at), default=0)
    if not found:
        first = words.time(samples[0].at)
        raise click.UsageError(f"{option}: no sample by {quoted(text)} (the first is of {first})")
    return found


def _time(samples: Sequence[Sample], text: str, option: str) -> float:
    """The second since 1970 after which *text* is over: what is shown of a time has no parts of
    one.
    """
    if text.startswith("+"):
        try:
            return samples[0].at + IntervalType().convert(text[1:], None, None) + 0.0005
        except click.UsageError as error:
            raise click.UsageError(f"{option}: {error.message}") from None
    day = datetime.fromtimestamp(samples[0].at, timezone.utc).date().isoformat()
    clock = re.fullmatch(r"[0-9]{2}:[0-9]{2}(:[0-9]{2})?Z?", text, re.ASCII)
    try:
        found = datetime.fromisoformat((f"{day}T{text}" if clock else text).replace("Z", "+00:00"))
        if found.tzinfo is None:
            found = found.replace(tzinfo=timezone.utc)
        at = found.timestamp()
    except (ValueError, OverflowError):
        raise click.UsageError(f"{option}: {quoted(text)} is no sample ({_EXPECTED})") from None
    if clock and at + 1 <= samples[0].at and at + 86400 <= samples[-1].at:
        at += 86400  # samples were taken past midnight
    return at + (0.0005 if found.microsecond else 1)
