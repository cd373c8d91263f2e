"""The kernel models and the features as JSON, format vmatrace-kernels/1: one object on one line."""

from __future__ import annotations

from typing import Any, Final, TextIO

from vmatrace.commands.forms import Each, Form
from vmatrace.commands.kernels.question import Known
from vmatrace.kernels import FEATURES, Kernel
from vmatrace.kernels.features import Feature
from vmatrace.render.jsonform import encode

FORMAT: Final = "vmatrace-kernels/1"
SUFFIXES: Final = (".json", ".jsonl")


def form(out: TextIO, count: int) -> Form[Known]:
    """One object."""
    return Each(out, write)


def write(out: TextIO, known: Known) -> None:
    """One object on one line."""
    document = {
        "format": FORMAT,
        "default": known.default,
        "kernels": [_kernel(kernel) for kernel in known.kernels.values()],
        "features": [_feature(feature) for feature in known.features.values()],
    }
    out.write(encode(document) + "\n")


def _kernel(kernel: Kernel) -> dict[str, Any]:
    return {
        "name": kernel.name,
        "release": ".".join(map(str, kernel.release)),
        "summary": kernel.summary,
        "changes": [{"feature": f.name, "added": added} for f, added in kernel.changes],
        "features": [name for name in FEATURES if name in kernel.features],
    }


def _feature(feature: Feature) -> dict[str, Any]:
    return {
        "name": feature.name,
        "summary": feature.summary,
        "commit": feature.commit,
        "subject": feature.subject,
        "release": feature.release,
        "where": feature.where,
        "note": feature.note,
    }
