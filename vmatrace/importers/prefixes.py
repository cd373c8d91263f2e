"""What journals, containers, build logs and mail put before each line of a text.

Knows their spellings: journalctl(1) -o short and its kin, RFC 3164 and RFC 5424 of syslog, docker
and kubectl logs with their options, the files of CRI (kubelet), GitHub Actions, GitLab, ts(1),
logcat, quoted mail, grep and cat -n. Also what pages and editors alter in the lines themselves.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

_MONTH: Final = r"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)"
_CLOCK: Final = r"\d\d:\d\d:\d\d(?:[.,]\d{1,9})?"
_ISO: Final = rf"\d{{4}}-\d\d-\d\d[T ]{_CLOCK}(?: ?(?:Z|[+-]\d\d:?\d\d))?"
_WHO: Final = r"[\w.:-]+ [^\s\[:]+(?:\[\d+\])?: ?"  # host ident[pid]:


@dataclass(frozen=True)
class Prefix:
    """One such prefix: ``what`` its lines are called, and what it looks like."""

    what: str
    pattern: str
    _match: re.Pattern[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_match", re.compile(self.pattern))

    def cut(self, lines: Sequence[str]) -> list[str]:
        """*lines* without it; those that do not start with it stay as they are."""
        match = self._match.match
        return [line[found.end() :] if (found := match(line)) else line for line in lines]

    def streamed(self, chunks: Iterator[list[str]]) -> Iterator[list[str]]:
        """cut() for all lines of one text."""
        return map(self.cut, chunks)

    def on(self, lines: Sequence[str]) -> bool:
        """Whether some of *lines* start with it."""
        return any(map(self._match.match, lines))


@dataclass(frozen=True)
class Altered(Prefix):
    """Text that a page or an editor has altered: not before the lines but in them.

    ``marks``: one of them is in each line that ``pattern`` tells. ``undo`` gives it as it was.
    """

    marks: tuple[str, ...] = ()
    undo: Callable[[str], str] = str

    def cut(self, lines: Sequence[str]) -> list[str]:
        """See Prefix."""
        return list(map(self.undo, lines))

    def on(self, lines: Sequence[str]) -> bool:
        """See Prefix."""
        return any(
            self._match.match(line) for line in lines if any(mark in line for mark in self.marks)
        )


def _unescaped(line: str) -> str:
    from html import unescape

    return unescape(line) if "&" in line else line


_MARKDOWN: Final = re.compile(r"\\([\\`*_{}\[\]()#+.!|<>~-])")
#: Quotes, minus and dashes, the hard blank and the ellipsis, as programs print them.
_TYPED: Final = str.maketrans({
    "\u201c": '"', "\u201d": '"', "\u201e": '"', "\u2018": "'", "\u2019": "'", "\u2212": "-",
    "\u2013": "-", "\xa0": " ", "\u2026": "...",
})  # fmt: skip
#: In this order: what is copied out of a page may have been through two of them.
ALTERED: Final = (
    Altered(
        "text escaped for HTML",
        r".*&lt;unfinished \.\.\.&gt;\s*(?:</?\w+>)*\s*$|.*&lt;\.\.\. \w+ resumed&gt;"
        r"|.* = .*&lt;\d+\.\d+&gt;\s*$|[^\"]*\([^\"]*&quot;[^\"]*\)\s+= ",
        ("&lt;", "&quot;"), _unescaped,
    ),
    Altered(
        "text escaped for Markdown", r".*\w\\\(.*\\\)\s+= ", ("\\(",),
        lambda line: _MARKDOWN.sub(r"\1", line),
    ),
    Altered(
        "typographic quotes",
        r".*\(.*(?:[\u201c\u201e][^\u201c\u201d\"]*[\u201c\u201d]|, [\u2212\u2013]\d+).*\)\s+= ",
        ("\u201c", "\u201e", "\u2212", "\u2013"),
        lambda line: line.translate(_TYPED),
    ),
)  # fmt: skip
#: Stands for a line that is a part of a later one.
PART: Final = "\0"
#: So much of a line is put together; the rest of a longer one is lines of its own.
_LONGEST: Final = 1 << 20
#: So many lists of lines are waited for the next part.
_HELD: Final = 64


class Partial(Prefix):
    """A prefix that tells which lines were broken: its groups are ``stream`` and ``tag``, P or F.

    A line becomes PART where it is continued, and whole at its last part.
    """

    def cut(self, lines: Sequence[str]) -> list[str]:
        """See Prefix."""
        return next(self.streamed(iter([list(lines)])))

    def streamed(self, chunks: Iterator[list[str]]) -> Iterator[list[str]]:
        """See Prefix; parts may be in different lists. A last part that is missing is no reason to
        drop the others: what there is stands where the last of them was.
        """
        begun: dict[str, str] = {}
        last: dict[str, tuple[list[str], int]] = {}
        held: list[list[str]] = []
        for chunk in chunks:
            cut: list[str] = []
            held.append(cut)
            for line in chunk:
                found = self._match.match(line)
                if found is None:
                    cut.append(line)
                    continue
                stream = found["stream"]
                whole = begun.pop(stream, "") + line[found.end() :]
                last.pop(stream, None)
                if found["tag"] == "P" and len(whole) <= _LONGEST:
                    begun[stream], last[stream] = whole, (cut, len(cut))
                    whole = PART
                cut.append(whole)
            while held and (len(held) > _HELD or all(held[0] is not c for c, _ in last.values())):
                yield held.pop(0)
        for stream, (cut, at) in last.items():
            cut[at] = begun[stream]
        yield from held


#: Those that say most first: a shorter one would leave the rest of a longer one.
PREFIXES: Final = (
    Prefix(
        "lines of syslog (RFC 5424)", rf"(?:<\d+>)?1 {_ISO} \S+ \S+ \S+ \S+ (?:-|\[.*?\])(?: |$)"
    ),
    Prefix(
        "lines of the journal or of syslog",
        rf"(?:<\d+>)?(?:{_MONTH} [ \d]\d {_CLOCK}|(?:\w{{3}} )?{_ISO}(?: [A-Z]{{2,5}})?|"
        rf"\[ *\d+\.\d{{6}}\]|\d{{9,10}}\.\d{{6}}) {_WHO}",
    ),
    Partial(
        "a container's log (CRI)",
        rf"{_ISO} (?P<stream>stdout|stderr) (?P<tag>[FP])(?::\S*)?(?: |$)",
    ),
    Prefix("a log of GitLab", rf"{_ISO} \d\d[OE][ +]"),
    Prefix("a log of GitHub Actions", rf"[^\t]*\t[^\t]*\t\ufeff?{_ISO} ?"),
    Prefix("lines with a container's name", r"[\w.-]+ +\| ?|\[(?:pod|container)/[^\]]+\] "),
    Prefix("lines with a time stamp", rf"\ufeff?\[?{_ISO}\]? ?"),
    Prefix(
        "lines of logcat",
        rf"(?:\d{{4}}-)?\d\d-\d\d {_CLOCK} +\d+ +\d+ [VDIWEF] [^:]*: |"
        r"[VDIWEF]/[^(]*\( *\d+\): ",
    ),
    Prefix("lines with a time stamp", rf"{_MONTH} [ \d]\d {_CLOCK} |\[{_CLOCK}\] "),
    Prefix("quoted mail", r"(?:> ?)+|\| "),
    Prefix("numbered lines", r" *\d+\t|(?:[\w./-]+:)\d+: ?"),
)
