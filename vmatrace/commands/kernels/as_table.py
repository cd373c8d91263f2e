"""The kernel models and the features as a changelog, the file systems by their hooks."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import Final, TextIO

from vmatrace import kernels
from vmatrace.commands.form import Form, Pages
from vmatrace.commands.kernels.question import Known
from vmatrace.kernels import Feature, Kernel
from vmatrace.render.paper import Paper

SUFFIXES: Final = (".txt",)
FOR_PEOPLE: Final = True
_INDENT: Final = 6


def form(out: TextIO, count: int) -> Form[Known]:
    """Both tables, or that of the file systems."""
    return Pages(out, write)


def write(paper: Paper, known: Known) -> None:
    """Both tables, or that of the file systems."""
    if known.file_systems_alone:
        _write_file_systems(paper, known)
        return
    paper.line(
        ("Kernel models", "title"),
        "  each is the one before it, or the one named, and what changed",
    )
    paper.line("")
    width = max(map(len, known.kernels)) + 2
    for kernel in known.kernels.values():
        _write_kernel(paper, kernel, width, kernel.name == known.default)
    paper.line("")
    paper.paragraph(
        "Every stable release is a model too, such as 6.12.95, and `running` is this machine's."
    )
    paper.line("")
    paper.line(("Features", "title"), "  switched with --with and --without")
    for feature in known.features.values():
        _write_feature(paper, feature)


def _write_kernel(paper: Paper, kernel: Kernel, width: int, is_default: bool) -> None:
    default = " (default)" if is_default else ""
    margin = " " * (width + 2)
    first, *more = paper.broken(kernel.summary + default, width + 2, width + 2)
    paper.line("  ", (kernel.name.ljust(width), "model"), first)
    for part in more:
        paper.line(margin, part)
    _write_changes(paper, kernel.changes, margin)
    for before, point in pairwise((kernel, *kernels.point_releases(kernel.name))):
        known = set(before.changes) if before is not kernel else set()
        paper.line(margin, (f"{point.name}", "key"))
        _write_changes(paper, [change for change in point.changes if change not in known], margin)


def _write_changes(paper: Paper, changes: Iterable[tuple[Feature, bool]], margin: str) -> None:
    for feature, added in changes:
        sign, style = ("+", "good") if added else ("-", "bad")
        paper.line(margin, (f"{sign} {feature.name}", style))


def _write_feature(paper: Paper, feature: Feature) -> None:
    paper.line("")
    paper.line("  ", (feature.name, "model"), (f"  {_origin(feature)}", ""))
    margin = " " * _INDENT
    paper.paragraph(feature.summary, "", margin, margin)
    if feature.commit:
        paper.paragraph(f'{feature.commit} ("{feature.subject}")', "quiet", margin, margin)
    if feature.note:
        paper.paragraph(feature.note, "warning", margin, margin)
    paper.paragraph(f"see {feature.where}", "quiet", margin, margin)


def _origin(feature: Feature) -> str:
    if not feature.since:
        return feature.kind
    origin = f"since {', '.join(feature.since)}"
    return origin + (f", until {', '.join(feature.until)}" if feature.until else "")


def _write_file_systems(paper: Paper, known: Known) -> None:
    """Which mmap hook each file system and driver has, those that are alike together."""
    paper.line(("File systems and drivers", "title"), "  by the mmap hook that each has")
    alike: dict[tuple[tuple[str, str], ...], list[str]] = {}
    for fs, hooks in known.file_systems.items():
        alike.setdefault(hooks, []).append(fs)
    for hooks, names in sorted(alike.items()):
        paper.line("")
        paper.paragraph(_hooks(hooks), "model", "  ", "    ")
        margin = " " * _INDENT
        paper.paragraph(", ".join(names), "", margin, margin)
    paper.line("")
    for hook, means in HOOKS.items():
        paper.paragraph(means, "", f"  {hook:<14}", " " * 16)


#: What a hook means for KSM by default.
HOOKS: Final = {
    "mmap_prepare": "runs before the merge is attempted; under KSM by default, where the series "
    "is in, a new private mapping has its flag by then and merges",
    "shmem": "runs after it, but is known to change no flag: as mmap_prepare",
    "legacy": "runs after it and may change flags: under KSM by default no new private mapping "
    "merges with one that has the flag",
}


def _hooks(hooks: tuple[tuple[str, str], ...]) -> str:
    (_, first), *later = hooks
    return ", ".join([first, *(f"{hook} since {name}" for name, hook in later)])
