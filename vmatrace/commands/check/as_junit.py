"""Checks as JUnit XML: a suite for each trace, a case for each model and expectation.

Written so that both published schemas take it: Ant's (JUnit.xsd by Windy Road, which knows no
attribute on <testsuites> and wants every element of a suite) and that of Jenkins' xUnit plugin
(junit-10.xsd); but for ``file`` and ``line`` of a case, which GitLab, CircleCI and others read.
"""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Iterator
from pathlib import PurePath
from typing import Final, TextIO
from xml.etree import ElementTree

from vmatrace.commands.check.question import NO_EXPECTATIONS, Checked
from vmatrace.commands.check.words import (
    failure_line,
    failure_text,
    nothing_expected,
    permit,
    uncovered_text,
)
from vmatrace.commands.form import Form

Element = ElementTree.Element
SUFFIXES: Final = (".xml",)
#: What XML 1.0 cannot hold in any spelling.
_NOT_XML: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def form(out: TextIO, count: int) -> Form[Checked]:
    """One document of all."""
    return _JUnit(out, count)


class _JUnit(Form[Checked]):
    def __init__(self, out: TextIO, count: int) -> None:
        super().__init__(out, count)
        self._root = Element("testsuites")
        self._when = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime())
        self._host = safe(socket.gethostname()) or "localhost"

    def write(self, answer: Checked) -> None:
        cases = list(_cases(answer))
        kinds = [case[0].tag if len(case) else "" for case in cases]
        taken = sum(float(case.get("time", "0")) for case in cases)
        path = PurePath(answer.path)
        suite = ElementTree.SubElement(
            self._root, "testsuite",
            {
                "name": safe(answer.path),
                "package": _dotted(path.parent) or ".",
                "id": str(len(self._root)),
                "tests": str(len(cases)),
                "failures": str(kinds.count("failure")),
                "errors": str(kinds.count("error")),
                "skipped": str(kinds.count("skipped")),
                "time": f"{taken:.3f}",
                "timestamp": self._when,
                "hostname": self._host,
            },
        )  # fmt: skip
        ElementTree.SubElement(suite, "properties")
        suite.extend(cases)
        ElementTree.SubElement(suite, "system-out")
        ElementTree.SubElement(suite, "system-err")

    def finish(self) -> None:
        ElementTree.indent(self._root)
        self.out.write('<?xml version="1.0" encoding="UTF-8"?>\n')
        self.out.write(ElementTree.tostring(self._root, encoding="unicode") + "\n")


def safe(text: str) -> str:
    """*text* with an escape for each character that XML cannot hold."""
    return _NOT_XML.sub(lambda m: m[0].encode("unicode_escape").decode("ascii"), text)


def _dotted(path: PurePath) -> str:
    """A path as CI servers want packages and classes, with dots."""
    return safe(".".join(part for part in path.parts if part not in ("/", ".", "..")))


def _cases(checked: Checked) -> Iterator[Element]:
    path = PurePath(checked.path)
    suite = _dotted(path.with_suffix("") if path.suffix == ".yaml" else path)

    def case(name: str, line: int = 1, seconds: float = 0) -> Element:
        return Element(
            "testcase",
            {
                "name": safe(name), "classname": suite, "time": f"{seconds:.6f}",
                "file": safe(checked.path), "line": str(line),
            },
        )  # fmt: skip

    if checked.error is not None:
        wrong = checked.error.diagnostics
        found = case("the trace can be read", max(wrong[0].line, 1))
        _outcome(found, "error", wrong[0].message, str(checked.error), "TraceError")
        yield found
    for model in checked.models:
        if not model.checks:
            found = case(f"nothing under {model.kernel}", seconds=model.seconds)
            text = nothing_expected(model.kernel)
            if checked.idle:
                _outcome(found, "failure", text + permit(NO_EXPECTATIONS), "", "missing")
            else:
                _outcome(found, "skipped", text)
            yield found
        for check in model.checks:
            name = f"{check.name} under {model.kernel}"
            found = case(name, check.line, model.seconds / len(model.checks))
            if check.failures:
                texts = [failure_text(checked.path, failure) for failure in check.failures]
                message = "; ".join(
                    failure_line(checked.path, failure) for failure in check.failures
                )
                _outcome(found, "failure", message, "\n".join(texts), "expectation")
            yield found
    for lost in checked.uncovered:
        found = case(lost.name, lost.line)
        if checked.unchecked:
            _outcome(found, "failure", uncovered_text(lost.on, False), "", "missing")
        else:
            _outcome(found, "skipped", uncovered_text(lost.on))
        yield found


def _outcome(case: Element, kind: str, message: str, text: str = "", type_: str = "") -> None:
    element = ElementTree.SubElement(case, kind, {"message": safe(message)})
    if type_:
        element.set("type", type_)
        element.text = safe(text)
