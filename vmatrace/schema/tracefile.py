"""The schema of the trace file, made from the tables that its reader works from.

A call, a constant, a file system or a model that is added to its table is in the schema at once; a
new key has to be described here. YAML's integers are integers here (of a trace, 0x… too), NULL is
null, and a release such as 6.12 is a number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import fields
from typing import Any, Final

from vmatrace import abi, kernels
from vmatrace.calls import CALLS, EXECS, Call, Param
from vmatrace.event import EXPECTED_COUNTS
from vmatrace.schema.parts import FLAG, Schema, array, closed, matching, words
from vmatrace.trace.entries import EVENT_KEYS
from vmatrace.trace.expect import EXPECT_KEYS, MAPPING_KEYS
from vmatrace.trace.grammar import NUMBERS
from vmatrace.trace.header import (
    FILE_KEYS,
    FILE_MODES,
    KEYS,
    RLIMITS,
    SYSCTL_MOST,
    VERSION,
    ProcessState,
    Sysctl,
)

#: White space or a comment of a call string. Every character decides what may follow, here and
#: below: a pattern that could match in two ways would take exponential time to fail.
_BLANK: Final = r"[ \t\r\n]|/\*(?:[^*]|\*(?!/))*\*/"
_SPACE: Final = f"(?:{_BLANK})*"
_NAME: Final = "[A-Za-z_][A-Za-z0-9_]*"
_RESULT: Final = rf"(?:\?|-?{_SPACE}[0-9])[\s\S]*"
_RELEASE: Final = r"v?[0-9]+(?:\.[0-9]+){1,2}"
_RANGE: Final = rf"^\s*(?:(?:>=|<=|==|!=|>|<)\s*{_RELEASE}|{_RELEASE}\s*\.\.\s*{_RELEASE})\s*$"
_COUNT: Final = r"^\s*(?:==|!=|<=|>=|<|>)\s*[0-9]{1,18}\s*$"
_MAPS_LINE: Final = "^[0-9a-f]{1,16}-[0-9a-f]{1,16} [r-][w-][x-][sp] "
_DESCRIPTOR: Final = rf"^(?:\+?[0-9]{{1,10}}|0x[0-9a-fA-F]+|0o[0-7]+|{_NAME})$"

#: A scalar as written: a name or a path may look like a number.
_TEXT: Final[Schema] = {"type": ["string", "number", "boolean"]}
_ULONG: Final[Schema] = {"type": "integer", "minimum": 0, "maximum": abi.ULONG_MAX}
_KINDS: Final = {
    "addr": "An address in bytes",
    "size": "A size in bytes",
    "int": "A number",
    "fd": "A descriptor: a number, a name from `files`, or strace's 3</path>",
    "text": "Text",
    "any": "Not interpreted unless the model needs it",
}
_EXPRESSION: Final = "labels, PAGE_SIZE, + - * and parentheses may be used"


def schema() -> Schema:
    """The schema, without the dialect it is written in."""
    return {
        "title": "vmatrace trace",
        "description": "The memory calls of a process, and what is expected of them.",
        **closed({key: _TOP[key]() for key in KEYS}, ("vmatrace", "events")),
        "$defs": {
            "model": _model(),
            "address": {"type": ["integer", "string"], "minLength": 1},
            "result": _result(),
            "expect": _expect(),
            "mapping": _expected_mapping(),
            **{f"argument-{kind}": _argument(kind) for kind in _KINDS},
        },
    }


def _said(description: str, schema: Schema) -> Schema:
    return {"description": description, **schema}


# --- above the events -----------------------------------------------------------------------------


def _model() -> Schema:
    majors = [kernel.release[0] for kernel in kernels.KERNELS.values()]
    return {
        "anyOf": [
            {"enum": [*kernels.KERNELS, "running"]},
            # A release as its developers write it, or as uname(1) prints it.
            {"type": "string", "pattern": r"^v?\d+\.\d+(\.\d+(\.\d.*|[+~_-].*)?|[+~_-]\D.*)?$"},
            # 6.12 without quotes is a number.
            {"type": "number", "minimum": min(majors), "exclusiveMaximum": max(majors) + 1},
        ]
    }


def _files() -> Schema:
    parts: dict[str, Schema] = {
        "path": _said("The path, as /proc/PID/maps shows it.", _TEXT),
        "fs": {
            "description": "What backs it: a file system, `legacy` (a driver with only .mmap) or "
            "`mmap_prepare` (one with .mmap_prepare). Default: tmpfs for a memfd or a SysV "
            "segment, else ext4.",
            "enum": list(kernels.FILE_SYSTEMS),
        },
        "mode": {"description": "How it was opened. Default: rw.", "enum": list(FILE_MODES)},
        "size": {
            "description": "In bytes. Default: large enough for every access.",
            "type": "integer", "minimum": 0, "maximum": (1 << 63) - 1,
        },
        "vmflags": {
            "description": "VmFlags of smaps that its mappings have: what its driver sets (pf io "
            "mm de dd dc …) and, where mr, mw or me are among them, what may be permitted. "
            "Default: what is known of the device by its path, else nothing special.",
            "anyOf": [
                {"type": "array", "items": {"enum": list(abi.CODE_TO_VM_FLAG)}},
                {"type": "string", "pattern": "^[a-z ]*$"},
            ],
        },
    }  # fmt: skip
    return {
        "description": "What a descriptor number, or a name used instead of one, refers to.",
        "type": "object",
        "patternProperties": {
            _DESCRIPTOR: closed({key: parts[key] for key in FILE_KEYS}, ("path",))
        },
        "additionalProperties": False,
    }


def _process() -> Schema:
    parts: dict[str, Schema] = {
        "ksm": _said("true: PR_SET_MEMORY_MERGE is in force already (inherited).", FLAG),
        "brk": _said("The initial program break, in bytes.", _ULONG),
        "mmap_base": {
            "description": "Where the kernel's choice of addresses starts, downwards, in bytes.",
            **_ULONG,
            "multipleOf": min(abi.PAGE_SIZES),
        },
        "rlimits": {
            "description": "Soft limits in bytes. Default: none.",
            **closed({name: _said(f"RLIMIT_{name.upper()}", _ULONG) for name in RLIMITS}),
        },
    }
    return {
        "description": "The first process at the start.",
        **closed({field.name: parts[field.name] for field in fields(ProcessState)}),
    }


def _sysctl() -> Schema:
    def knob(name: str, default: Any) -> Schema:
        most = SYSCTL_MOST.get(name, abi.ULONG_MAX)
        return {"description": f"vm.{name}. Default: {default}.", **_ULONG, "maximum": most}

    return {
        "description": "The vm.* knobs.",
        **closed({field.name: knob(field.name, field.default) for field in fields(Sysctl)}),
    }


_LAYOUT: Final[Schema] = {"type": ["string", "null"]}

_TOP: Final[dict[str, Callable[[], Schema]]] = {
    "vmatrace": lambda: {"description": "The version of the format.", "const": VERSION},
    "name": lambda: _said("Default: the file's name without .yaml.", _TEXT),
    "description": lambda: _said("What the trace shows.", _TEXT),
    "kernel": lambda: {
        "description": "The model to replay against, unless --kernel says otherwise. Default: "
        f"{kernels.DEFAULT}. `vmatrace kernels` lists them.",
        "$ref": "#/$defs/model",
    },
    "page_size": lambda: {
        "description": "In bytes. Default: 4096.", "enum": list(abi.PAGE_SIZES)
    },
    "arch": lambda: {
        "description": "The architecture, as `uname -m` calls it: how far addresses go. Default: "
        "x86_64, of a log any.",
        "enum": list(abi.TASK_SIZES),
    },
    "sysctl": _sysctl,
    "process": _process,
    "files": _files,
    "maps": lambda: _said(
        "The layout at the start: text of /proc/PID/maps or smaps, pasted as a literal block.",
        _LAYOUT,
    ),
    "partial": lambda: _said(
        "Whether the events are of a log that does not show all memory: what their results prove "
        "is assumed. Default: false.",
        {"type": ["boolean", "null"]},
    ),
    "cpus": lambda: _said(
        "How many processors the machine may have, which decides about the size of io_setup()'s "
        "rings. Default: 1.",
        {"type": ["integer", "null"], "minimum": 1, "maximum": 1 << 16},
    ),
    "recorded": lambda: _said(
        "Whether the events are all the calls of a program that ran: what was refused to it for "
        "reasons beside its memory (permissions, the machine's memory) is believed. "
        "Default: false.",
        {"type": ["boolean", "null"]},
    ),
    "events": lambda: array({"anyOf": _entries()}, description="What happened, in order."),
}  # fmt: skip


# --- events ---------------------------------------------------------------------------------------


def _entries() -> list[Schema]:
    call = _said(
        "A call as strace prints it: [label =] name(arg, …) [= result]. What backs an address may "
        f"be an expression: {_EXPRESSION}.",
        _call_string(CALLS),
    )
    expect = closed(
        {"expect": {"$ref": "#/$defs/expect"}}, ("expect",),
        description="What must hold where it stands.",
    )  # fmt: skip
    whole = [
        closed(
            {**_about_event(maps), "call": _call_string(names)}, ("call",),
            description="A call string, and by which process it was made.",
        )
        for maps, names in ((False, CALLS), (True, EXECS))
    ]  # fmt: skip
    return [call, expect, *whole, *map(_by_parameters, CALLS.values())]


def _call_string(names: Iterable[str]) -> Schema:
    """Every call string of *names* matches; one of another name, or cut short, does not."""
    return matching(
        rf"^{_SPACE}(?:{_NAME}{_SPACE}={_SPACE})?{words(names)}{_SPACE}"
        rf"\([\s\S]*\){_SPACE}(?:={_SPACE}{_RESULT})?$",
        f"a call such as munmap(0x1000, 4096) = 0, of {', '.join(names)}",
    )


def _about_event(maps: bool) -> dict[str, Schema]:
    """The keys of a call in mapping form that are no parameters; ``maps`` is execve's alone."""
    parts: dict[str, Schema] = {
        "call": {},
        "pid": _said("The process that makes the call. Default: main, the first one.", _TEXT),
        "label": {
            "description": "A name for the call's result: an address, or of a fork a process.",
            **matching(f"^{_NAME}$", "a name such as heap_2"),
            "type": ["string", "boolean"],
        },
        "result": {"$ref": "#/$defs/result"},
        "maps": _said("The layout right after the execve, as text of maps or smaps.", _LAYOUT),
    }
    return {key: parts[key] for key in EVENT_KEYS if key != "maps" or maps}


def _by_parameters(call: Call) -> Schema:
    """The mapping form of one call; an optional parameter needs those before it."""
    optional = [param.name for param in call.params if param.optional]
    needs = {name: optional[:i] for i, name in enumerate(optional) if i}
    names = ", ".join(f"[{p.name}]" if p.optional else p.name for p in call.params)
    return closed(
        {
            **_about_event(call.name in EXECS),
            "call": {"const": call.name},
            **{param.name: _parameter(param) for param in call.params},
        },
        ("call", *(param.name for param in call.params if not param.optional)),
        description=f"{call.name}({names})",
        **({"dependentRequired": needs} if needs else {}),
    )


def _parameter(param: Param) -> Schema:
    if param.kind != "flags":
        return {"description": f"{param.name}. {_KINDS[param.kind]}.",
                "$ref": f"#/$defs/argument-{param.kind}"}  # fmt: skip
    known = [name for name in abi.CONSTANTS if name.startswith(param.families)]
    return {
        "description": f"{param.name}. Constants joined by |: {', '.join(known)}.",
        **matching(_flags_pattern(known), f"constants joined by |: {', '.join(known)}"),
        "type": ["integer", "string", "null"],
        "examples": known,
    }


def _flags_pattern(known: list[str]) -> str:
    """Numbers, *known* constants, operators, comments; every start decides which of them it is."""
    names = words([*known, *NUMBERS, "PAGE_SIZE"])
    number = "[0-9][0-9A-Za-z]*(?![0-9A-Za-z_])"
    return rf"^(?:{_BLANK}|[()|+*-]|<<|{number}|{names})+$"


def _argument(kind: str) -> Schema:
    if kind in ("text", "any"):
        return {"type": ["string", "number", "boolean", "null"], "minLength": 1}
    return {
        "type": ["integer", "string", "null"], "minLength": 1,
        "minimum": -(1 << 63), "maximum": abi.ULONG_MAX,
    }  # fmt: skip


def _result() -> Schema:
    return {
        "description": "What the real call returned: a number, '-1 ENOMEM', or '?'.",
        **matching(f"^{_SPACE}{_RESULT}$", "a number, -1 ENOMEM, or ?"),
        "type": ["integer", "string"],
        "minimum": -4095,
        "maximum": abi.ULONG_MAX,
        "not": {"const": -1},
    }


# --- expectations ---------------------------------------------------------------------------------


def _expect() -> Schema:
    releases = matching(_RANGE, "a kernel model, or releases such as '>=6.17'")
    models = {"anyOf": [{"$ref": "#/$defs/model"}, releases]}
    parts: dict[str, Schema] = {
        **{name: _count(name) for name in EXPECTED_COUNTS},
        "maps": array(
            {
                "anyOf": [
                    matching(_MAPS_LINE, "a line of /proc/PID/maps"),
                    {"$ref": "#/$defs/mapping"},
                ]
            },
            description="The whole layout of the process: lines of /proc/PID/maps, or mappings.",
        ),
        "pid": _said("The process that is meant. Default: main, the first one.", _TEXT),
        "on": {
            "description": "The models it is about: one, a list, or a range of releases such as "
            "'>=6.17' and 6.4..6.16. Default: every model.",
            "anyOf": [*models["anyOf"], array(models)],
        },
        "name": _said(
            "What reports call it, whatever line it is in. Default: made of what it states and of "
            "the call before it.",
            _TEXT,
        ),
    }
    return closed(
        {key: parts[key] for key in EXPECT_KEYS},
        anyOf=[{"required": [key]} for key in (*EXPECTED_COUNTS, "maps")],
    )


_COUNTS: Final = {
    "vmas": "VMAs of the process",
    "peak_vmas": "The most VMAs that the process had so far",
    "blocked_only_by_mergeable": "How many merges VM_MERGEABLE alone has prevented so far",
    "mergeable": "VMAs of the process with VM_MERGEABLE (mg)",
    "merges": "VMA merges so far",
}


def _count(name: str) -> Schema:
    return {
        "description": f"{_COUNTS[name]}: a number, or a bound such as '<= 5000'.",
        **matching(_COUNT, "a count such as 3 or '<= 5'"),
        "type": ["integer", "string"],
        "minimum": 0,
    }


def _expected_mapping() -> Schema:
    codes = list(abi.CODE_TO_VM_FLAG)
    text = rf"^\s*(?:{words(codes)}\s*)*$"
    address = {"$ref": "#/$defs/address"}
    parts: dict[str, Schema] = {
        "start": _said(f"The first address in bytes; {_EXPRESSION}.", address),
        "end": _said(f"The address behind the last byte; {_EXPRESSION}.", address),
        "perms": matching("^[r-][w-][x-][sp]$", "permissions such as rw-p"),
        "offset": _said("Of the file, in bytes.", _ULONG),
        "name": {
            "description": "The path or [name] of the line.",
            "type": ["string", "number", "boolean", "null"],
        },
        "flags": {
            "description": "The VmFlags of /proc/PID/smaps, in any order: rd wr mr mw me ac mg.",
            "anyOf": [matching(text, "codes such as rd wr mr"), array({"enum": codes})],
        },
    }
    return closed({key: parts[key] for key in MAPPING_KEYS}, ("start", "end"))
