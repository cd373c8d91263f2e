"""Audits as one HTML page that needs nothing else.

All of it is there without scripts, which sort its tables and switch its colours. What comes from a
snapshot is text on the page, never markup.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, TextIO

from vmatrace._version import __version__
from vmatrace.commands.audit import filltable
from vmatrace.commands.audit.patterns import PATTERNS as ORDER
from vmatrace.commands.audit.patterns import assigned
from vmatrace.commands.audit.patternwords import PATTERNS
from vmatrace.commands.audit.question import LIKELY, Audit, by_cause
from vmatrace.commands.audit.words import ACTIONS, SENTENCES
from vmatrace.commands.form import Form
from vmatrace.kernels import KSM_BEFORE_MERGE
from vmatrace.render import htmlpage, layouts, words
from vmatrace.render.htmlpage import text

SUFFIXES: Final = htmlpage.SUFFIXES
_SCRIPTS: Final = (*htmlpage.BASE, "main.js")
#: So many groups, and so many audits, are on the page.
_GROUPS: Final = 60
_AUDITS: Final = 50
#: The map is so many columns wide, and has so many colours.
_COLUMNS: Final = 1000
_COLOURS: Final = 8


def form(out: TextIO, count: int) -> Form[Audit]:
    """One page about all, the nearest to its limit first."""
    return _Page(out, count)


class _Page(Form[Audit]):
    def __init__(self, out: TextIO, count: int) -> None:
        super().__init__(out, count)
        self._rows: list[tuple[float, int, str, str, str]] = []

    def write(self, answer: Audit) -> None:
        number = len(self._rows) + 1
        body = "".join(_audit(answer, 1 if self.count == 1 else 2))
        row = _row(answer, number)
        self._rows.append((answer.share(answer.vmas), number, answer.title, row, body))

    def finish(self) -> None:
        if not self._rows:
            return
        self._rows.sort(key=lambda row: (-row[0], row[1]))
        one = self.count == 1
        title = f"{self._rows[0][2]}: what fills its map" if one else "vmatrace audit"
        footer = (
            f"Made by vmatrace {__version__}. Nothing on this page is fetched, and nothing of what "
            "memory holds is in it."
        )
        body = self._rows[0][4] if one else "".join(self._several())
        parts = {"top": htmlpage.top("audit"), "body": body, "footer": footer}
        htmlpage.write(self.out, __name__, title, _SCRIPTS, parts)

    def _several(self) -> Iterator[str]:
        said = words.plural(len(self._rows), "address space")
        yield f'<section class="head"><h1>{said}</h1></section>'
        heads = ("VMAs", "of limit", "headroom", "savable", "most of it", "process")
        yield _table("Processes", heads, (row for *_, row, _ in self._rows))
        for _, number, title, _, body in self._rows[:_AUDITS]:
            yield (
                f'<details class="each"><summary>{text(title)}</summary>'
                f'<div id="audit-{number}">{body}</div></details>'
            )
        if len(self._rows) > _AUDITS:
            more = len(self._rows) - _AUDITS
            yield f'<p class="lead">And {more} more; --format json has them all.</p>'


def _audit(audit: Audit, level: int) -> Iterator[str]:
    """All about one; its title is a heading of *level*."""
    kernel = audit.kernel.name if audit.kernel is not None else "not known"
    source = audit.snapshot.source
    source = f"{text(source)}; " if source != audit.title else ""
    yield (
        f'<section class="head"><h{level}>{text(audit.title)}</h{level}>'
        f'<p class="lead">{source}kernel {text(kernel)}</p></section>'
    )
    yield from _summary(audit)
    yield from _patterns(audit, level + 1)
    yield from _groups(audit, level + 1)
    yield from _lookalikes(audit, level + 1)


def _summary(audit: Audit) -> Iterator[str]:
    left = audit.share(audit.headroom)
    bad = " bad" if filltable.style(left) == "failed" else ""
    mapped = words.size(sum(use.bytes for use in audit.patterns))
    facts = (
        ("max_map_count", f"{audit.max_map_count:,}" + " (assumed)" * audit.assumed),
        ("headroom", f"{audit.headroom:,} ({filltable.percent(left)})"),
        ("mapped", mapped),
        ("mergeable", f"{audit.mergeable:,}" if audit.snapshot.flags_known else "not known"),
        ("could be saved", f"{audit.savable:,}"),
    )
    rows = "".join(f'<tr><th scope="row">{name}</th><td>{value}</td></tr>' for name, value in facts)
    yield (
        f'<section class="summary" aria-label="Summary of {text(audit.title)}"><div class="hero">'
        f'<span class="hero-number{bad}">{audit.vmas:,}</span><p class="hero-words">VMAs, '
        f"<strong>{filltable.percent(audit.share(audit.vmas))}</strong> of the limit</p></div>"
        f'<table class="facts"><tbody>{rows}</tbody></table></section>'
    )


def _patterns(audit: Audit, level: int) -> Iterator[str]:
    colours = {use.name: min(rank, _COLOURS - 1) for rank, use in enumerate(audit.patterns)}
    layout = audit.snapshot.layout
    yield f'<section><h{level}>What fills the map</h{level}><div class="box">'
    yield from _strip(assigned(layout), colours)
    first, last = layout[0].start, layout[-1].end
    yield (
        f'<p class="axis"><code>{first:x}</code><span>VMAs by address, each as wide as the '
        f"others</span><code>{last:x}</code></p></div>"
    )
    rows = []
    for use in audit.patterns:
        said = PATTERNS[use.name]
        rows.append(
            f"<tr>{_numbers(audit, use.vmas, use.bytes)}"
            f"<td>{_bar(audit.share(use.vmas), colours[use.name])}</td>"
            f'<th scope="row">{_swatch(colours[use.name])}<strong>{text(said.title)}</strong>'
            f"{_said(use.name)}</th></tr>"
        )
    yield _table("Patterns", ("VMAs", "of limit", "size", "", "pattern"), rows) + "</section>"


def _strip(named: Sequence[str], colours: dict[str, int]) -> Iterator[str]:
    """All VMAs in a row. A column of several has the colour of most."""
    width = max(len(named), 1)
    yield (
        f'<svg class="strip-map" viewBox="0 0 {width} 1" preserveAspectRatio="none" role="img" '
        'aria-label="The VMAs by address, coloured by pattern; the table below has the numbers">'
    )
    step = -(-width // _COLUMNS)
    columns = [
        max(
            Counter(named[at : at + step]).items(),
            key=lambda each: (each[1], -ORDER.index(each[0])),
        )[0]
        for at in range(0, len(named), step)
    ]
    start = 0
    for at in range(1, len(columns) + 1):
        if at == len(columns) or columns[at] != columns[start]:
            name = columns[start]
            end = min(at * step, width)
            wide = end - start * step
            yield (
                f'<rect class="c{colours[name]}" x="{start * step}" width="{wide}" height="1">'
                f"<title>{text(PATTERNS[name].title)}: {wide}</title></rect>"
            )
            start = at
    yield "</svg>"


def _said(name: str) -> str:
    """What usually makes a pattern, and what would be done."""
    if name in filltable.SILENT:
        return ""
    said = PATTERNS[name]
    tried = f"<p><b>try</b> vmatrace whatif: {said.rewriting}</p>" if said.rewriting else ""
    made = f"<p><b>made by</b> {text(said.made_by)}</p>"
    return f"{made}<p><b>to do</b> {text(said.remedy)}</p>{tried}"


def _swatch(colour: int) -> str:
    return (
        '<svg class="swatch" viewBox="0 0 1 1" aria-hidden="true">'
        f'<rect class="c{colour}" width="1" height="1"/></svg>'
    )


def _bar(share: float, colour: int) -> str:
    """The part of the limit, to scale: the whole bar is the limit."""
    return (
        '<svg class="bar" viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true">'
        f'<rect width="100" height="8"/><rect class="c{colour}" '
        f'width="{min(100 * share, 100):.2f}" height="8"/></svg>'
    )


def _groups(audit: Audit, level: int) -> Iterator[str]:
    rows = [
        f"<tr>{_numbers(audit, group.vmas, group.bytes)}"
        f'<td class="less">{filltable.sizes(group)}</td>'
        f"<td><code>{group.key.perms}</code>{' mg' * group.key.mergeable}</td>"
        f'<th scope="row"><code>{text(group.key.name or group.key.backing)}</code></th></tr>'
        for group in audit.groups[:_GROUPS]
    ]
    yield f"<section><h{level}>VMAs of one kind</h{level}>"
    yield _table("Groups", ("VMAs", "of limit", "size", "each", "perms", "backing"), rows)
    if len(audit.groups) > _GROUPS:
        more = len(audit.groups) - _GROUPS
        yield f'<p class="lead">And {words.plural(more, "smaller kind")}.</p>'
    yield "</section>"


def _lookalikes(audit: Audit, level: int) -> Iterator[str]:
    yield f"<section><h{level}>Neighbours that look alike</h{level}>"
    if not audit.savable:
        yield '<p class="lead">None that look alike are apart.</p></section>'
        return
    yield f'<p class="lead">{audit.savable} VMAs of {audit.vmas} could be saved.</p>'
    yield '<ul class="alike">'
    for causes, runs in by_cause(audit.runs).items():
        saved = sum(run.savable for run in runs)
        likely = [cause.name for cause in causes if cause.confidence == LIKELY]
        why = "; ".join(SENTENCES[name] for name in likely) or "no cause is likelier than others"
        do = "; ".join(ACTIONS[name] for name in likely if name in ACTIONS)
        place = layouts.address_range(runs[0].start, runs[0].end)
        yield (
            f"<li><strong>{saved} less</strong> in {words.plural(len(runs), 'run')}, the longest "
            f"at <code>{place}</code>: {text(why)}.{' To do: ' + _linked(do) + '.' if do else ''}"
            "</li>"
        )
    yield "</ul></section>"


def _linked(said: str) -> str:
    """*said* as text, the commit in it a link."""
    commit = str(KSM_BEFORE_MERGE.commit)
    return text(said).replace(commit, f'<a href="{htmlpage.commit_url(commit)}">{text(commit)}</a>')


def _row(audit: Audit, number: int) -> str:
    most = PATTERNS[audit.patterns[0].name].title
    title = f'<a href="#audit-{number}">{text(audit.title)}</a>'
    return (
        f"<tr>{_counted(audit.vmas)}{_share(audit, audit.vmas)}"
        f"{_cell(f'{audit.headroom:,}', audit.headroom, 'n less')}"
        f'{_counted(audit.savable)}<td>{text(most)}</td><th scope="row">{title}</th></tr>'
    )


def _numbers(audit: Audit, vmas: int, size: int) -> str:
    return _counted(vmas) + _share(audit, vmas) + _cell(words.size(size), size)


def _counted(number: int) -> str:
    return _cell(f"{number:,}", number)


def _share(audit: Audit, vmas: int) -> str:
    return _cell(filltable.percent(audit.share(vmas)), vmas / max(audit.max_map_count, 1))


def _cell(shown: str, value: float, name: str = "n") -> str:
    """A cell of numbers, sorted by *value*."""
    return f'<td class="{name}" data-value="{value:.9g}">{text(shown)}</td>'


#: The classes of columns: numbers, and what a narrow screen has no room for.
_CLASSES: Final = {
    **dict.fromkeys(("VMAs", "of limit", "size", "savable"), "n"), "headroom": "n less",
    "each": "less",
}  # fmt: skip


def _table(label: str, heads: Sequence[str], rows: Iterable[str]) -> str:
    head = "".join(
        f'<th scope="col" class="{_CLASSES.get(name, "")}">{name}</th>' if name else "<td></td>"
        for name in heads
    )
    return (
        f'<div class="box"><table aria-label="{label}"><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )
