"""A page of HTML that needs nothing else: its template filled, and a policy that lets none in."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Mapping


def filled(template: str, parts: Mapping[str, str]) -> Iterator[str]:
    """*template* with each ``{{name}}`` replaced by its part. One pass: a part is not looked at."""
    before, *rest = template.split("{{")
    yield before
    for piece in rest:
        name, _, after = piece.partition("}}")
        yield parts[name] + after


def head(title: str, style: str, script: str | None = None) -> str:
    """All before the body; *title* is escaped. *script* is the only one that may run."""
    return f"""\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{_policy(style, script)}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<title>{title}</title>
<style>{style}</style>
</head>
"""


def _policy(style: str, script: str | None) -> str:
    """The Content-Security-Policy of a page with this style and script, and nothing else."""
    scripts = f"script-src {_hash(script)}; " if script is not None else ""
    return (
        f"default-src 'none'; {scripts}style-src {_hash(style)}; base-uri 'none'; "
        "form-action 'none'"
    )


def _hash(text: str) -> str:
    """How a policy names an inline script or style."""
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
