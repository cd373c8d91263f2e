"""The kernel models and the features as a changelog."""

from __future__ import annotations

from typing import Final, TextIO

from vmatrace.commands.forms import Form, Pages
from vmatrace.commands.kernels.question import Known
from vmatrace.kernels import Kernel
from vmatrace.kernels.features import Feature
from vmatrace.render.paper import Paper

SUFFIXES: Final = (".txt",)
FOR_PEOPLE: Final = True


def form(out: TextIO, count: int) -> Form[Known]:
    """Both tables."""
    return Pages(out, write)


def write(paper: Paper, known: Known) -> None:
    """Both tables."""
    paper.line(
        ("Kernel models", "bold"), "  each is the one before it, or the one named, and what changed"
    )
    paper.line("")
    width = max(map(len, known.kernels)) + 2
    for kernel in known.kernels.values():
        _write_kernel(paper, kernel, width, kernel.name == known.default)
    paper.line("")
    paper.line(("Features", "bold"), "  switched with --with and --without")
    for feature in known.features.values():
        _write_feature(paper, feature)


def _write_kernel(paper: Paper, kernel: Kernel, width: int, is_default: bool) -> None:
    default = " (default)" if is_default else ""
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
