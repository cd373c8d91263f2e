"""Pages of HTML that need nothing else: no network, no fonts, no framework.

A page is a template, page.html, in the package of its form, with its own style and scripts beside
it; what several pages have in common is in this package: their style (page.css), the head, the
switch of colours, the maps of two address spaces, tables that sort. ``write()`` makes one file of
it all, and gives it a policy that lets nothing else in. What comes from a trace is data in JSON,
which the page puts on the screen as text, or is escaped: it is never markup.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from typing import Final, TextIO

from vmatrace.escape import visible

SUFFIXES: Final = (".html", ".htm")
#: The scripts of any page, and those of one that shows two address spaces; in order.
BASE: Final = ("elements.js", "tables.js", "theme.js")
MAPS: Final = (
    *BASE, "unpack.js", "words.js", "maps.js", "overview.js", "goto.js", "describe.js",
)  # fmt: skip
#: So many characters of data stay as they are, for whoever looks into the file.
_PLAIN: Final = 100_000
#: Where a commit of Linux can be read.
_COMMITS: Final = "https://git.kernel.org/linus/"


def write(
    out: TextIO,
    package: str,
    title: str,
    scripts: Sequence[str],
    parts: Mapping[str, str],
    data: object = None,
) -> None:
    """The page of *package*: *parts* of markup in its template, *data* for its *scripts*.

    Beside *parts* the template can have ``{{head}}`` and ``{{scripts}}``.
    """
    script = "'use strict';\n(async () => {\n"
    script += "\n".join(part(package, name) for name in scripts) + "})();\n"
    style = part(__package__, "page.css") + part(package, "page.css")
    out.writelines(
        filled(
            part(package, "page.html"),
            {**parts, "head": _head(title, style, script), "scripts": _scripts(script, data)},
        )
    )


def part(package: str, name: str) -> str:
    """The file *name* of *package*, or of this one."""
    own = files(package).joinpath(name)
    found = own if own.is_file() else files(__package__).joinpath(name)
    return found.read_text(encoding="utf-8")


def filled(template: str, parts: Mapping[str, str]) -> Iterator[str]:
    """*template* with each ``{{name}}`` replaced by its part. One pass: a part is not looked at."""
    before, *rest = template.split("{{")
    yield before
    for piece in rest:
        name, _, after = piece.partition("}}")
        yield parts[name] + after


def top(verb: str, tools: str = "") -> str:
    """The bar at the top: what the page is, *tools* (markup), and the switch of colours."""
    return "".join(filled(part(__package__, "top.html"), {"verb": verb, "tools": tools}))


def maps(label: str) -> str:
    """Two address spaces beside each other, empty as yet: MAPS fill it. *label* says what it is."""
    return "".join(filled(part(__package__, "maps.html"), {"label": label}))


def text(said: str) -> str:
    """*said* as text of the page."""
    return html.escape(visible(said))


def commit_url(commit: str | None) -> str:
    """Where the commit can be read; "" where there is none."""
    return f"{_COMMITS}{commit}" if commit else ""


# --- head and scripts -----------------------------------------------------------------------------


def _head(title: str, style: str, script: str) -> str:
    """All before the body. *script* is the only one that may run."""
    return f"""\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{_policy(style, script)}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<title>{text(title)}</title>
<style>{style}</style>
</head>
"""


def _policy(style: str, script: str) -> str:
    """The Content-Security-Policy of a page with this style and script, and nothing else."""
    return (
        f"default-src 'none'; script-src {_hash(script)}; style-src {_hash(style)}; "
        "base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    """How a policy names an inline script or style."""
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def _scripts(script: str, data: object) -> str:
    if data is None:
        return f"<script>{script}</script>\n"
    kind, packed = _data(json.dumps(data, ensure_ascii=False, separators=(",", ":")))
    return f'<script type="{kind}" id="data">{packed}</script>\n<script>{script}</script>\n'


def _data(packed: str) -> tuple[str, str]:
    """The data as the page holds it, and the type that says how: as it is, or compressed.

    Compressed it is a fifth, and takes some 30 ms more of a browser to open.
    """
    if len(packed) <= _PLAIN:
        return "application/json", _inert(packed)
    smaller = zlib.compress(packed.encode(), 6)  # 9 takes five times as long for a tenth less
    return "application/zlib;base64", base64.b64encode(smaller).decode()


def _inert(data: str) -> str:
    """JSON in which nothing can end the script element or start a comment in it."""
    return data.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


# --- tables ---------------------------------------------------------------------------------------


def table(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """What is in a table of texts; the first cell of a row is its head."""
    head = "".join(f'<th scope="col">{text(each)}</th>' for each in heads)
    body = "".join(
        f'<tr><th scope="row">{text(str(first))}</th>'
        + "".join(f"<td>{text(str(cell))}</td>" for cell in cells)
        + "</tr>"
        for first, *cells in rows
    )
    return f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody>"
