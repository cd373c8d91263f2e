"""The kernel models, the features and the file systems as JSON, format vmatrace-kernels/1."""

from __future__ import annotations

from typing import Any, Final, TextIO

from vmatrace import kernels
from vmatrace.commands.form import Each, Form
from vmatrace.commands.kernels.question import Known
from vmatrace.kernels import FEATURES, Feature, Kernel
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
        "file_systems": [
            {"name": fs, "hooks": [{"since": since, "hook": hook} for since, hook in hooks]}
            for fs, hooks in known.file_systems.items()
        ],
    }
    out.write(encode(document) + "\n")


def _kernel(kernel: Kernel) -> dict[str, Any]:
    return {
        "name": kernel.name,
        "release": ".".join(map(str, kernel.release)),
        "summary": kernel.summary,
        "changes": _changes(kernel),
        "features": [name for name in FEATURES if name in kernel.features],
        "stable": [
            {"name": point.name, "changes": _changes(point)}
            for point in kernels.point_releases(kernel.name)
        ],
    }


def _changes(kernel: Kernel) -> list[dict[str, Any]]:
    return [{"feature": feature.name, "added": added} for feature, added in kernel.changes]


def _feature(feature: Feature) -> dict[str, Any]:
    return {
        "name": feature.name,
        "summary": feature.summary,
        "commit": feature.commit,
        "subject": feature.subject,
        "release": feature.release,
        "backports": list(feature.since[1:]),
        "until": list(feature.until),
        "kind": feature.kind or "release",
        "where": feature.where,
        "note": feature.note,
    }
