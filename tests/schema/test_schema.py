"""The schemas: they take every trace that the reader takes, and every output that is printed."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml12
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from program import ROOT, RunProgram

from vmatrace import abi, kernels, schema
from vmatrace.calls import CALLS, Call, Param
from vmatrace.event import format_call
from vmatrace.trace.callstring import CallError, parse_call
from vmatrace.trace.file import TraceError, load_trace


@cache
def validator(name: str = "trace") -> Draft202012Validator:
    return Draft202012Validator(schema.schema(name))


def complaints(document: Any, name: str = "trace") -> list[str]:
    return [f"{e.json_path}: {e.message[:200]}" for e in validator(name).iter_errors(document)]


def reader_takes(text: str) -> bool:
    try:
        load_trace(text.encode()).validate()
    except TraceError:
        return False
    return True


# --- the documents --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", schema.NAMES)
def test_a_schema_is_one_of_json_schema_2020_12(name: str) -> None:
    document = schema.schema(name)
    assert document["$schema"] == Draft202012Validator.META_SCHEMA["$id"]
    Draft202012Validator.check_schema(document)


def parts(value: Any) -> Iterator[Any]:
    """Every value inside *value*, and itself."""
    yield value
    for part in value.values() if isinstance(value, dict) else []:
        yield from parts(part)
    for part in value if isinstance(value, list) else []:
        yield from parts(part)


def test_patterns_mean_the_same_in_python_and_in_an_editor() -> None:
    patterns = {p["pattern"] for p in parts(schema.schema()) if isinstance(p, dict) and
                isinstance(p.get("pattern"), str)}  # fmt: skip
    assert len(patterns) > 10
    for pattern in patterns:
        assert pattern.startswith("^")
        assert not re.search(r"\\[AZzGpP]|\(\?[^:!=]|[*+?}]\+", pattern), pattern


@pytest.mark.parametrize(
    "text", ["munmap(" * 9999, "/*" * 9999, "/**/" * 9999, "munmap()" + ")/**/" * 999 + "=",
             "a" * 9999, "a = " * 9999]
)  # fmt: skip
def test_no_pattern_takes_for_ever_to_refuse(text: str) -> None:
    flags = {"call": "mlockall", "flags": text + "!"}
    assert complaints({"vmatrace": 1, "events": [text + "!", flags]})


def test_list_names_every_schema_and_the_default_is_the_trace(run: RunProgram) -> None:
    listed = run("schema", "--list").out.splitlines()
    assert [line.split()[0] for line in listed] == list(schema.NAMES)
    assert all(len(line) <= 80 for line in listed)
    for name in schema.NAMES:
        assert json.loads(run("schema", name).out) == schema.schema(name)
    assert run("schema").out == run("schema", "trace").out


def test_an_unknown_schema_is_bad_usage_and_the_nearest_is_suggested(run: RunProgram) -> None:
    status, out, err = run("schema", "rpelay")
    assert (status, out) == (2, "")
    assert "no schema 'rpelay' (did you mean 'replay'?)" in err


# --- traces ---------------------------------------------------------------------------------------


def test_yaml_is_read_as_editors_read_it() -> None:
    text = "{on: 0x10, off: no, 3: 6.10, a: 1:30, b: 010, c: 0o10, d: , e: NULL, f: 'NULL'}"
    assert yaml12.read(text) == {
        "on": 16, "off": "no", "3": 6.1, "a": "1:30", "b": 10, "c": 8, "d": None, "e": None,
        "f": "NULL",
    }  # fmt: skip


@pytest.mark.parametrize("path", sorted((ROOT / "traces").rglob("*.yaml")), ids=lambda p: p.stem)
def test_an_exhibit_is_valid(path: Path) -> None:
    assert complaints(yaml12.read(path.read_text(encoding="utf-8"))) == []


def test_the_traces_of_the_documents_are_valid() -> None:
    blocks = [
        block
        for page in (ROOT / "README.md", *(ROOT / "docs").rglob("*.md"))
        for block in re.findall(
            r"^```yaml\n(# [\w/-]+\.yaml\nvmatrace: .*?)^```$", page.read_text("utf-8"), re.M | re.S
        )
    ]
    assert len(blocks) >= 10
    for block in blocks:
        assert complaints(yaml12.read(block)) == []


def test_every_key_says_what_it_is() -> None:
    document = schema.schema()
    top, process = document["properties"], document["properties"]["process"]["properties"]
    expect = document["$defs"]["expect"]["properties"]
    calls = [entry["properties"] for entry in top["events"]["items"]["anyOf"][2:]]
    for properties in (top, process, expect, *calls):
        for key, said in properties.items():
            assert said.get("description") or "$ref" in said or key in ("call", "perms"), key
    assert "PROT_READ" in calls[-1]["access"]["description"]


def test_a_call_added_to_the_table_is_in_the_schema(monkeypatch: pytest.MonkeyPatch) -> None:
    new = Call("madd", (Param("addr", "addr"), Param("how", "flags", ("MADV_",))))
    traces = [
        {"vmatrace": 1, "events": [event]}
        for event in ("madd(0, MADV_FREE)", {"call": "madd", "addr": 0, "how": "MADV_FREE"})
    ]
    assert all(complaints(trace) for trace in traces)
    monkeypatch.setitem(CALLS, "madd", new)
    assert not any(
        list(Draft202012Validator(schema.schema()).iter_errors(trace)) for trace in traces
    )


#: In place of the event, or of a line above the events: what is wrong with a trace as such.
WRONG_EVENTS = [
    "munmpa(0, 4096)", "munmap", "munmap(0, 4096", "a b = munmap(0, 4096)", "munmap(0, 4096) = x",
    "5", "", "[]",
    "{}", "{cal: munmap}", "{pid: main}", "{call: 5}", "{call: munmpa, addr: 0, length: 1}",
    "{call: munmap, addr: 0}", "{call: munmap, addr: 0, length: 1, prot: 0}",
    "{call: munmap, addr: 0.5, length: 1}", "{call: munmap, addr: [], length: 1}",
    "{call: mlockall, flags: MCL_CURENT}", "{call: mlockall, flags: PROT_READ}",
    "{call: 'mlockall(0)', addr: 0}", "{call: mlockall, flags: 0, maps: x}",
    "{call: 'mlockall(0)', maps: x}", "{call: 'mlockall(0)', label: a b}",
    "{call: 'mlockall(0)', result: yes}", "{call: 'mlockall(0)', result: -1}",
    "{call: 'mlockall(0)', pid: []}", "{call: prctl, option: 67, arg3: 1}",
    "{expect: {}}", "{expect: }", "{expect: {vmas: 1}, pid: main}", "{expect: {vams: 1}}",
    "{expect: {vmas: -1}}", "{expect: {vmas: '=> 1'}}", "{expect: {vmas: }}",
    "{expect: {vmas: 1, on: '>> 6.1'}}", "{expect: {vmas: 1, on: pre}}",
    "{expect: {maps: {}}}", "{expect: {maps: [1-2]}}", "{expect: {maps: [{start: 0}]}}",
    "{expect: {maps: [{start: 0, end: 4096, perms: rwx}]}}",
    "{expect: {maps: [{start: 0, end: 4096, flags: rd xx}]}}",
    "{expect: {maps: [{start: 0, end: 4096, flags: [zz]}]}}",
    "{expect: {maps: [{start: 0, end: 4096, size: 1}]}}",
]  # fmt: skip
WRONG_LINES = [
    "vmatrace: 2", "vmatrace: '1'", "kernal: x", "kernel: 5.10", "kernel: post-path", "kernel: []",
    "name: []", "name: ", "page_size: 8192", "page_size: '4096'", "sysctl: 5", "sysctl: {max: 1}",
    "sysctl: {max_map_count: many}", "sysctl: {overcommit_memory: 3}", "process: ",
    "process: {ksm: yes}", "process: {ksm: 1}", "process: {brk: -1}", "process: {mmap_base: 5}",
    "process: {rlimits: {stak: 1}}", "files: []", "files: {3: /x}", "files: {3: {fs: ext4}}",
    "files: {3: {path: /x, fs: ext5}}", "files: {3: {path: /x, mode: rwx}}",
    "files: {-3: {path: /x}}", "files: {a b: {path: /x}}", "files: {3: {path: /x, size: -1}}",
    "maps: []", "maps: 5", "events: {}",
]  # fmt: skip


@pytest.mark.parametrize(
    "text",
    [f"vmatrace: 1\nevents:\n  - {event}\n" for event in WRONG_EVENTS]
    + [f"{'' if line[:8] == 'vmatrace' else 'vmatrace: 1'}\n{line}\n"
       f"{'' if line[:6] == 'events' else 'events: []'}\n" for line in WRONG_LINES]
    + ["events: []", "vmatrace: 1", "[]", "5"],
)  # fmt: skip
def test_what_the_reader_refuses_by_its_shape_the_schema_refuses_too(text: str) -> None:
    assert not reader_takes(text)
    assert complaints(yaml12.read(text))


@pytest.mark.parametrize(
    "event",
    ["munmap(a, 4096)", "munmap(0)", "munmap(0, 1) munmap(0, 1)", "mlockall(MCL_CURENT)",
     "{call: 'mlockall(0)', pid: child}", "{expect: {vmas: 1, pid: child}}",
     "{call: mlockall, flags: '|'}"],
)  # fmt: skip
def test_what_only_the_reader_can_know_the_schema_lets_pass(event: str) -> None:
    text = f"vmatrace: 1\nevents:\n  - {event}\n"
    assert not reader_takes(text)
    assert complaints(yaml12.read(text)) == []


# --- laws -----------------------------------------------------------------------------------------

EVERYTHING: dict[str, Any] = {
    "vmatrace": 1, "name": "x", "description": "y", "kernel": "6.12", "page_size": 4096,
    "sysctl": {"max_map_count": 5, "overcommit_memory": 0},
    "process": {"ksm": False, "brk": 4096, "mmap_base": 65536, "rlimits": {"as": 5}},
    "files": {"3": {"path": "/x", "fs": "ext4", "mode": "rw", "size": 5}, "shm": {"path": "/y"}},
    "maps": "1000-2000 rw-p 00000000 00:00 0 \n",
    "events": [
        "a = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0) = 0x7000",
        {"call": "mmap", "label": "b", "addr": "a", "length": 4096, "prot": "PROT_READ",
         "flags": "MAP_SHARED", "fd": "shm", "offset": 0, "result": "-1 ENOMEM"},
        {"call": "prctl", "option": "PR_SET_MEMORY_MERGE", "arg2": 1, "arg3": 0},
        {"call": "munmap(a, 1)", "pid": "main", "result": 0},
        {"call": "execve", "pathname": "/x", "maps": "1000-2000 rw-p 00000000 00:00 0 \n"},
        {"expect": {"vmas": 1, "merges": "<= 5", "on": [">=6.4", "pre-patch"], "pid": "main",
                    "maps": ["1000-2000 rw-p 00000000 00:00 0 ",
                             {"start": 4096, "end": "2*PAGE_SIZE", "perms": "rw-p", "offset": 0,
                              "name": "", "flags": "rd wr"}]}},
    ],
}  # fmt: skip
WORDS = [
    *CALLS, *list(abi.CONSTANTS)[::20], *abi.CODE_TO_VM_FLAG, *list(kernels.KERNELS)[::5],
    *(key for part in parts(EVERYTHING) if isinstance(part, dict) for key in part),
    "v6.12", ">= 6.4", "6.4..6.9", "< 5", "!=3", "-1 EPERM", "?", "0x10", "0", "rd  wr", "x(",
    "munmap(0, 1)", "exit()", " x = fork( ) =5", "execve(\"/x\", [], 0) = 0", "",
]  # fmt: skip
VALUES = st.one_of(
    st.sampled_from(WORDS), st.integers(-2, 9), st.sampled_from([4096, 16384, -4095, 1 << 64]),
    st.booleans(), st.just([]), st.just({}), st.lists(st.sampled_from(WORDS), max_size=2),
)  # fmt: skip


@st.composite
def near_traces(draw: st.DrawFn) -> Any:
    """A good trace of every construct in which a few values are others, gone, or under new keys."""
    trace = copy.deepcopy(EVERYTHING)
    for _ in range(draw(st.integers(1, 2))):
        inner = [p for p in parts(trace) if isinstance(p, (dict, list)) and p]
        where = draw(st.sampled_from(inner))
        if isinstance(where, list):
            where[draw(st.integers(0, len(where) - 1))] = draw(VALUES)
            continue
        key = draw(st.sampled_from(list(where)))
        change = draw(st.sampled_from(["other", "gone", "renamed"]))
        if change == "other":
            where[key] = draw(VALUES)
        else:
            value = where.pop(key)
            if change == "renamed":
                where[draw(st.sampled_from(WORDS))] = value
    return trace


@settings(max_examples=200)
@given(near_traces())
def test_a_trace_that_the_reader_takes_the_schema_takes(trace: Any) -> None:
    if reader_takes(json.dumps(trace)):
        assert complaints(trace) == []


SPACE = st.sampled_from(["", " ", "  ", "\t", "/* x */", " /* 0x43 */ ", "/***/"])
ARGUMENTS = {
    "addr": ["NULL", "0x1000", "(4096)", "-1", "a"], "size": ["PAGE_SIZE", "3*PAGE_SIZE", "010"],
    "int": ["0", "-1", "1 + 2"], "fd": ["3", "-1", "3</x>", "4<socket:[5]>", "shm"],
    "text": ['"/x"', '"a)"...'],
    "any": ["0x7ffc /* 3 vars */", "[{iov_base=a, iov_len=1}]", "{f(x)}", '")"'],
}  # fmt: skip


@st.composite
def call_strings(draw: st.DrawFn) -> str:
    call = draw(st.sampled_from(list(CALLS.values())))
    written = [
        draw(
            st.sampled_from(
                [n for n in abi.CONSTANTS if n.startswith(param.families)]
                if param.kind == "flags"
                else ARGUMENTS[param.kind]
            )
        )
        for param in call.params
    ]
    label = draw(st.sampled_from(["", "a =", "a_1=", "_ = "]))
    result = draw(
        st.sampled_from(
            ["", "= 0", "= 0x7f00", "=-1 ENOMEM (Cannot allocate memory)", "= ?", "= 5 <0.000012>",
             "= ? ERESTARTSYS (To be restarted)", "= - 22", "= -1 E999 (errno 99)"]
        )
    )  # fmt: skip
    inside = ",".join(f"{draw(SPACE)}{text}{draw(SPACE)}" for text in written)
    return (
        f"{draw(SPACE)}{label}{draw(SPACE)}{call.name}{draw(SPACE)}({inside}){draw(SPACE)}{result}"
    )


def call_string_taken(text: str) -> bool:
    return complaints({"vmatrace": 1, "events": [text]}) == []


@settings(max_examples=200)
@given(call_strings(), st.data())
def test_a_call_string_that_the_parser_takes_the_schema_takes(
    text: str, data: st.DataObject
) -> None:
    cut = data.draw(st.integers(0, len(text)))
    for candidate in (text, text[:cut] + text[cut + 1 :]):
        try:
            parse_call(candidate)
        except CallError:
            continue
        assert call_string_taken(candidate)


@pytest.mark.parametrize("call", CALLS.values(), ids=list(CALLS))
def test_a_call_string_of_no_call_is_refused(call: Call) -> None:
    text = format_call(call.name, (0,) * call.required)
    assert call_string_taken(text)
    assert not call_string_taken(text.replace(call.name, call.name + "x"))


@given(st.sampled_from([*kernels.KERNELS, "6.1", "v6", "6.4.", ">=", "..", "v", " "]),
       st.sampled_from(["", ">=", "!= ", "==v", "<", "~", " ", "6.4..", "6.9 .. v"]))  # fmt: skip
def test_the_schema_takes_every_range_of_releases(release: str, before: str) -> None:
    spec = (before + release).strip()
    try:
        kernels.check_spec(spec)
    except ValueError:
        return
    trace = {"vmatrace": 1, "events": [{"expect": {"vmas": 1, "on": spec}}]}
    assert complaints(trace) == []
