"""The kernel models and the features: as a changelog, and as JSON (vmatrace-kernels/1)."""

from __future__ import annotations

import json
from typing import Any, Final, TextIO

from vmatrace import kernels
from vmatrace.kernels import Kernel
from vmatrace.kernels.features import Feature
from vmatrace.render.paper import Paper

FORMAT: Final = "vmatrace-kernels/1"


def write(paper: Paper) -> None:
    """Both tables."""
    paper.line(
        ("Kernel models", "bold"), "  each is the one before it, or the one named, and what changed"
    )
    paper.line("")
    width = max(map(len, kernels.KERNELS)) + 2
    for kernel in kernels.KERNELS.values():
        _write_kernel(paper, kernel, width)
    paper.line("")
    paper.line(("Features", "bold"), "  switched with --with and --without")
    for feature in kernels.FEATURES.values():
        _write_feature(paper, feature)


def _write_kernel(paper: Paper, kernel: Kernel, width: int) -> None:
    default = " (default)" if kernel.name == kernels.DEFAULT else ""
    margin = " " * (width + 2)
    first, *more = paper.broken(kernel.summary + default, width + 2, width + 2)
    paper.line("  ", (kernel.name.ljust(width), "bold cyan"), first)
    for part in more:
        paper.line(margin, part)
    for feature, added in kernel.changes:
        sign, style = ("+", "green") if added else ("-", "red")
        paper.line(margin, (f"{sign} {feature.name}", style))


def _write_feature(paper: Paper, feature: Feature) -> None:
    paper.line("")
    paper.line("  ", (feature.name, "bold cyan"), (f"  {_origin(feature)}", ""))
    margin = " " * 6
    paper.paragraph(feature.summary, "", margin, margin)
    if feature.commit:
        paper.paragraph(f'{feature.commit} ("{feature.subject}")', "dim", margin, margin)
    if feature.note:
        paper.paragraph(feature.note, "yellow", margin, margin)
    paper.paragraph(f"see {feature.where}", "dim", margin, margin)


def _origin(feature: Feature) -> str:
    if feature.release:
        return f"since {feature.release}"
    return "" if feature.note else "release not established"


def write_json(out: TextIO) -> None:
    """One object on one line."""
    document = {
        "format": FORMAT,
        "default": kernels.DEFAULT,
        "kernels": [_kernel(kernel) for kernel in kernels.KERNELS.values()],
        "features": [_feature(feature) for feature in kernels.FEATURES.values()],
    }
    json.dump(document, out, ensure_ascii=False, separators=(",", ":"))
    out.write("\n")


def _kernel(kernel: Kernel) -> dict[str, Any]:
    return {
        "name": kernel.name,
        "release": ".".join(map(str, kernel.release)),
        "summary": kernel.summary,
        "changes": [{"feature": f.name, "added": added} for f, added in kernel.changes],
        "features": [name for name in kernels.FEATURES if name in kernel.features],
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
