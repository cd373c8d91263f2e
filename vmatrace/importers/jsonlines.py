"""JSON Lines of events: one object a line, the form for programs that write traces themselves.

Knows the keys (docs/reference/inputs.md has them); a call in it is spelled as in a trace.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, cast

from vmatrace import abi
from vmatrace.calls import CALLS
from vmatrace.diagnostic import TraceError, quoted, suggestion
from vmatrace.importers.retold import (
    LogHeader,
    Passed,
    Teller,
    Told,
    Wrong,
    integer,
    result_of,
    retold,
    text_of,
)
from vmatrace.layout import Layout
from vmatrace.trace.file import Trace

#: What makes the first line a header, and its version.
TITLE: Final = "vmatrace-events"
VERSION: Final = 1
_KEYS: Final = ("call", "args", "result", "pid", "tgid", "caller", "maps")
_HEADER_KEYS: Final = (TITLE, "page_size", "arch", "accesses", "start")
#: The keys of a trace file that may stand in start.
START_KEYS: Final = ("kernel", "sysctl", "process", "files", "maps", "partial")
_EVENT: Final = re.compile(r"""\s*\{.*"call"\s*:\s*".*\}\s*$""", re.ASCII)
_HEADER: Final = re.compile(rf"""\s*\{{.*"{TITLE}"\s*:\s*\d""", re.ASCII)  # it may be long
_NAME: Final = re.compile(r"[a-z_][a-z0-9_]{0,60}", re.ASCII)
#: What is written as it is among the arguments: numbers, constants, descriptors with paths,
#: structures, strings.
_PLAIN: Final = re.compile(
    r"-?\d{1,20}(?:<.*>)?|0x[0-9a-fA-F]{1,16}|[A-Z_][A-Z0-9_]*(?:<.*>)?"
    r"|(?:[A-Z_][A-Z0-9_]*|0x[0-9a-fA-F]+|\d+)(?:\|(?:[A-Z_][A-Z0-9_]*|0x[0-9a-fA-F]+|\d+))*"
    r"|[\[{\"].*",
    re.ASCII,
)
_ERROR: Final = re.compile(r"(?:-1 )?(?P<name>E[A-Z0-9]{1,20})\b", re.ASCII)
_CONTROL: Final = re.compile(r"[\x00-\x1f]", re.ASCII)
_DESCRIPTOR: Final = re.compile(r"\d{1,10}", re.ASCII)
_NO_RESULT: Final = ("exit", "exit_group", "fault")


class _BadError(Exception):
    """A line that is not understood: why, and the key whose value it is."""

    def __init__(self, why: str, key: str = "") -> None:
        super().__init__(why)
        self.why = why
        self.key = key


class JsonLines(Teller):
    """Tells the lines of one. ``unknown``: keys that mean nothing here, in order."""

    def tell(self, line: str) -> Told:
        """See Teller."""
        self.caller = self.maps = None
        if not line.strip():
            return Passed("blank")
        try:
            found = _parsed(line)
        except json.JSONDecodeError as error:
            return Wrong(f"not JSON: {error.msg}", min(error.colno - 1, len(line)))
        except ValueError:
            return Wrong("not JSON of an event (numbers are integers, nothing is nested deeply)")
        if not isinstance(found, dict):
            return Wrong("not an event (expected an object with the key call)")
        try:
            return self._event(found)
        except _BadError as bad:
            return Wrong(bad.why, _value_of(bad.key, line))

    def _event(self, found: Mapping[str, Any]) -> Told:
        if TITLE in found and "call" not in found:
            return self._header(found)
        for key in found:
            if key not in _KEYS and (hint := suggestion(key, _KEYS)) and "call" not in found:
                raise _BadError(f"unknown key {quoted(key)}{hint}", key)
        pid = _number(found, "pid")
        if pid is not None and (group := _number(found, "tgid")) is not None:
            self.groups.setdefault(pid, group)
        call = found.get("call")
        if not isinstance(call, str) or not call:
            raise _BadError("the call is missing (expected the key call, a string)", "call")
        if _CONTROL.search(call):
            raise _BadError("a control character in the call (expected an escape)", "call")
        text = self._call(call, found)
        caller = found.get("caller")
        if isinstance(caller, str) and caller.isprintable():
            self.caller = caller
        if "maps" in found:
            self.maps = self._maps(found["maps"])
        return f"{pid} {text}" if pid is not None else text

    def _maps(self, text: object) -> Layout:
        if not isinstance(text, str):
            raise _BadError("not a layout (expected the text of maps or smaps)", "maps")
        return _started({"maps": text}, self.machine.page_size, "maps").maps

    def _header(self, found: Mapping[str, Any]) -> Told:
        if found[TITLE] is True or found[TITLE] != VERSION:
            raise _BadError(f"unknown version (expected {VERSION})", TITLE)
        for key in found:
            if key not in _HEADER_KEYS:
                hint = suggestion(key, _HEADER_KEYS)
                raise _BadError(f"unknown key {quoted(key)}{hint or ''}", key)
        for key, known in (("page_size", abi.PAGE_SIZES), ("arch", tuple(abi.TASK_SIZES))):
            if found.get(key) is not None and found[key] not in known:
                raise _BadError(f"unknown {key} (expected {', '.join(map(str, known))})", key)
        if not isinstance(found.get("accesses", False), bool):
            raise _BadError("expected true or false", "accesses")
        if "start" in found:
            _started(found["start"], self.machine.page_size)
        return Passed("header")

    def _call(self, call: str, found: Mapping[str, Any]) -> str:
        """The call, its arguments and its result in strace's spelling."""
        name, opened, _ = call.partition("(")
        if not _NAME.fullmatch(name):
            raise _BadError("not the name of a call (expected such as mmap)", "call")
        if opened:
            if "args" in found:
                raise _BadError("arguments twice (expected them in call or in args)", "args")
            if "result" not in found and ") = " in call:
                return call
            call = call.rpartition(" = ")[0] if ") = " in call else call
        else:
            call = f"{name}({', '.join(_arguments(name, found.get('args', [])))})"
        if "result" not in found:
            if name not in _NO_RESULT:
                raise _BadError("the result is missing (expected the key result)")
            return f"{call} = 0"
        return f"{call} = {_result(name, found['result'])}"


def _parsed(line: str) -> object:
    """The JSON in *line*, without floats. Raises ValueError, also where it is nested too deeply."""
    try:
        return json.loads(line, parse_float=_no_float, parse_constant=_no_float)
    except RecursionError as error:
        raise ValueError from error


def _no_float(text: str) -> float:
    raise ValueError(text)


def _value_of(key: str, line: str) -> int:
    """Where the value of *key* starts in *line*, or the object."""
    found = re.search(rf'"{re.escape(key)}"\s*:\s*', line) if key else None
    return found.end() if found else len(line) - len(line.lstrip())


def _number(found: Mapping[str, Any], key: str) -> str | None:
    value = found.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < 10**7:
        raise _BadError(f"not a {key} (expected a positive integer)", key)
    return str(value)


def _arguments(name: str, given: object) -> list[str]:
    if isinstance(given, dict):
        given = _ordered(name, given)
    if not isinstance(given, list):
        raise _BadError("not arguments (expected a list, or an object by parameter)", "args")
    call = CALLS.get(name)
    params = call.params if call is not None else ()
    return [
        _argument(value, params[i].kind if i < len(params) else "") for i, value in enumerate(given)
    ]


def _ordered(name: str, given: dict[str, object]) -> list[object]:
    """The arguments of *given* in the order of the parameters."""
    call = CALLS.get(name)
    if call is None:
        raise _BadError("a list is expected for calls that are not modelled", "args")
    names = [param.name for param in call.params]
    for key in given:
        if key not in names:
            hint = suggestion(key, names) or f" (expected {', '.join(names)})"
            raise _BadError(f"unknown parameter {quoted(key)}{hint}", key)
    count = max((names.index(key) + 1 for key in given), default=0)
    missing = [n for n in names[: max(count, call.required)] if n not in given]
    if missing:
        raise _BadError(f"the parameter {missing[0]} is missing", "args")
    return [given[n] for n in names[:count]]


def _argument(value: object, kind: str) -> str:
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        if value is None:
            return "NULL"
        raise _BadError("not an argument (expected an integer or a string)", "args")
    if isinstance(value, int):
        if not -(1 << 63) <= value < 1 << 64:
            raise _BadError("an argument has more than 64 bits", "args")
        return hex(value) if value > 9 and kind in ("addr", "size") else str(value)
    if kind == "text" and not value.startswith('"'):
        return text_of(value)
    value = value.strip()
    if kind == "" and not _PLAIN.fullmatch(value):
        return text_of(value)
    if _CONTROL.search(value):
        raise _BadError("a control character in an argument", "args")
    return value


def _result(name: str, value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise _BadError("not a result (expected an integer, or such as '-1 ENOMEM')", "result")
    if isinstance(value, int):
        if not -(1 << 63) <= value < 1 << 64:
            raise _BadError("a result has more than 64 bits", "result")
        return result_of(value, name)
    error = _ERROR.match(value)
    if error is not None and error["name"] in abi.ERRNO_NAME.values():
        return f"-1 {error['name']}"
    if re.fullmatch(r"0x[0-9a-fA-F]{1,16}|-?\d{1,19}", value):
        return result_of(integer(value), name)
    if value == "?":
        return value
    raise _BadError("not a result (expected an integer, or such as '-1 ENOMEM')", "result")


def _header(lines: Sequence[str]) -> LogHeader:
    line = next((line for line in lines if line.strip()), "")
    if not _HEADER.match(line):
        return LogHeader()
    try:
        found = cast("dict[str, Any]", _parsed(line))
    except ValueError:
        return LogHeader()
    size, arch = found.get("page_size"), found.get("arch")
    size = size if size in abi.PAGE_SIZES else None
    start = None
    if "start" in found:
        with contextlib.suppress(_BadError):  # which is said where the line is read
            start = _started(found["start"], size or abi.PAGE_SIZES[0])
    return LogHeader(
        size,
        arch if isinstance(arch, str) and arch in abi.TASK_SIZES else None,
        found.get("accesses") is True,
        start,
    )


def _started(found: object, page_size: int, key: str = "start") -> Trace:
    """The start that *found* says, in the keys of a trace file. Raises _BadError."""
    if not isinstance(found, dict):
        raise _BadError("not a start (expected an object)", key)
    for name in found:
        if name not in START_KEYS:
            hint = suggestion(name, START_KEYS) or f" (expected {', '.join(START_KEYS)})"
            raise _BadError(f"unknown key {quoted(name)}{hint}", name)
    given = dict(found)
    if isinstance(given.get("files"), dict):  # the keys of JSON are texts
        given["files"] = {
            int(key) if _DESCRIPTOR.fullmatch(key) else key: value
            for key, value in given["files"].items()
        }
    if not isinstance(given.get("maps", ""), str):
        raise _BadError("not a layout (expected the text of maps or smaps)", "maps")
    partial = given.pop("partial", False)
    if not isinstance(partial, bool):
        raise _BadError("expected true or false", "partial")
    try:
        start = Trace.of([], page_size=page_size, **given)
    except TraceError as error:
        raise _BadError(error.diagnostics[0].message, key) from None
    except RecursionError:
        raise _BadError("nested too deeply", key) from None
    for name in start.files:
        if not isinstance(name, int):
            raise _BadError(f"{quoted(str(name))} is no descriptor (expected a number)", "files")
    return replace(start, partial=partial)


def _looks(lines: Sequence[str]) -> bool:
    return any(_EVENT.match(line) or _HEADER.match(line) for line in lines)


FORMAT: Final = retold(
    "jsonl", "JSON Lines of events", "one object a line, see Inputs in the documentation", _looks,
    JsonLines, _header,
)  # fmt: skip
