"""The trace file as a whole: what it gives, and how it says what is wrong."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tracemalloc
from pathlib import Path

import pytest

from vmatrace.diagnostic import MAX_DIAGNOSTICS
from vmatrace.event import Bound, Event, Expectation, ExpectedMapping, Expr, Fd, File
from vmatrace.trace.file import ProcessState, Sysctl, Trace, TraceError, load_trace

VERSION = "vmatrace: 1\n"
EMPTY = VERSION + "events: []\n"
HEAD = VERSION + "events:\n"

CONTRACT = """\
vmatrace: 1                       # format version
name: ksm-adjacent-anon
description: Two adjacent anonymous mappings under KSM-by-default.
kernel: post-patch
page_size: 4096
sysctl: {max_map_count: 65530, overcommit_memory: 0}
process:
  ksm: false
  brk: 0x555555559000
  mmap_base: 0x7ffff7fff000
files:
  3:    {path: /usr/lib/libc.so.6, fs: ext4}
  shm:  {path: /dev/shm/ring, fs: tmpfs}
  dev:  {path: /dev/example, fs: legacy}     # a driver with only the old .mmap() hook
maps: |
  555555554000-555555559000 r-xp 00000000 fe:00 1234   /usr/bin/app
events:
  - prctl(PR_SET_MEMORY_MERGE, 1, 0, 0, 0) = 0
  - a = mmap(NULL, 3*PAGE_SIZE, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0)
  - fault(a, PAGE_SIZE, PROT_WRITE)
  - mmap(a + 0x3000, 0x3000, PROT_READ, MAP_PRIVATE|MAP_ANONYMOUS|MAP_FIXED, -1, 0)
  - expect: {on: post-patch, vmas: 1}
  - expect: {on: [pre-patch, ">=6.17"], merges: <= 5000}
"""


def load(text: str) -> Trace:
    return load_trace(text.encode(), "t.yaml")


def items(text: str) -> list[Event | Expectation]:
    return list(load(text).items())


def events(*entries: str) -> list[Event]:
    read = items(HEAD + "".join(f"  - {entry}\n" for entry in entries))
    return [item for item in read if isinstance(item, Event)]


def errors(text: str) -> list[str]:
    """Every error as LINE:COLUMN: message."""
    with pytest.raises(TraceError) as caught:
        load(text).validate()
    return [f"{d.line}:{d.column}: {d.message}" for d in caught.value.diagnostics]


def entry_errors(*entries: str) -> list[str]:
    return errors(HEAD + "".join(f"  - {entry}\n" for entry in entries))


# --- what a good trace gives --------------------------------------------------------------------


def test_the_header_is_read_at_once() -> None:
    trace = load(CONTRACT)
    assert (trace.name, trace.kernel, trace.page_size) == ("ksm-adjacent-anon", "post-patch", 4096)
    assert trace.sysctl == Sysctl(65530, 0)
    assert trace.process == ProcessState(False, 0x555555559000, 0x7FFFF7FFF000)
    assert trace.files["shm"] == File("/dev/shm/ring", "tmpfs")
    assert [(m.start, m.name) for m in trace.maps] == [(0x555555554000, "/usr/bin/app")]


def test_events_come_in_order_with_their_lines() -> None:
    read = items(CONTRACT)
    assert [item.line for item in read] == [18, 19, 20, 21, 22, 23]
    assert isinstance(read[3], Event)
    assert read[3].args[0] == Expr(("+", "a", 0x3000), "")
    assert read[3].symbolic
    assert read[5] == Expectation(
        "main", 23, 5, ("pre-patch", ">=6.17"), {"merges": Bound("<=", 5000)}
    )


def test_only_version_and_events_are_required() -> None:
    trace = load_trace(io.BytesIO(b"vmatrace: 1\nevents: []\n"), "dir/stem.yaml")
    assert (trace.name, list(trace.items())) == ("stem", [])
    assert (trace.sysctl, trace.process, trace.maps) == (Sysctl(), ProcessState(), [])


def test_items_may_be_read_again() -> None:
    trace = load(CONTRACT)
    assert [repr(i) for i in trace.items()] == [repr(i) for i in trace.items()]


def test_a_kernel_release_is_text_and_not_a_number() -> None:
    assert load("kernel: 6.10\n" + HEAD + "  - munlockall()\n").kernel == "6.10"


def test_json_is_a_trace_too() -> None:
    (event,) = items('{"events": [{"call": "munmap", "addr": 4096, "length": 16}], "vmatrace": 1}')
    assert isinstance(event, Event)
    assert (event.args, event.text) == ((4096, 16), "munmap(0x1000, 0x10)")


def test_keys_after_the_events_count_for_the_events() -> None:
    (event,) = items(HEAD + "- munmap(0, PAGE_SIZE)\npage_size: 65536\n")
    assert isinstance(event, Event)
    assert event.args == (0, 65536)


def test_the_mapping_form_gives_the_same_event_as_the_call_string() -> None:
    string, mapping, whole = events(
        "a = mmap(NULL, 0x2000, PROT_READ, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0) = 0x7000",
        "{call: mmap, addr: NULL, length: 2*PAGE_SIZE, prot: PROT_READ, "
        "flags: MAP_PRIVATE|MAP_ANONYMOUS, fd: -1, offset: 0, label: a, result: 0x7000}",
        '{call: "mmap(NULL, 0x2000, PROT_READ, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0)", '
        "label: a, result: 0x7000}",
    )
    assert string.args == mapping.args == whole.args
    assert string.text == mapping.text == whole.text
    assert {(e.label, e.recorded, e.pid) for e in (string, mapping, whole)} == {
        ("a", 0x7000, "main")
    }


def test_an_expected_layout_is_maps_lines_or_mappings() -> None:
    read = items(
        HEAD + "  - a = mmap(NULL, 4096, 0, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0)\n"
        "  - expect:\n      maps:\n"
        "      - 10000-20000 rw-p 00001000 00:00 0   [heap]\n"
        "      - {start: a, end: a + PAGE_SIZE, perms: rw-p, flags: [rd, wr, mg], name: ''}\n"
    )
    assert isinstance(read[1], Expectation)
    assert read[1].maps == (
        ExpectedMapping(0x10000, 0x20000, "rw-p", 0x1000, "[heap]"),
        ExpectedMapping(
            Expr("a", "a"), Expr(("+", "a", 4096), ""), "rw-p", None, "", ("rd", "wr", "mg")
        ),
    )


def test_smaps_text_gives_the_flags_of_the_starting_layout() -> None:
    smaps = "  1000-2000 rw-p 00000000 00:00 0 \n  Rss: 4 kB\n  VmFlags: rd wr mg \n"
    trace = load("maps: |\n" + smaps + EMPTY)
    assert trace.maps[0].codes == ("rd", "wr", "mg")


# --- processes, labels, files -------------------------------------------------------------------


def test_a_process_goes_by_its_label_and_by_its_number() -> None:
    read = events(
        "child = fork() = 1234",
        "fork() = 99",
        "{pid: child, call: munlockall()}",
        "{pid: 1234, call: munlockall()}",
        "{pid: 99, call: munlockall()}",
        "{pid: main, call: munlockall()}",
    )
    assert [event.pid for event in read[2:]] == ["child", "child", "99", "main"]


def test_a_number_may_name_another_process_after_the_first_has_ended() -> None:
    exit_and_fork = ("fork() = 7", "{pid: 7, call: exit(0)}", "fork() = 7")
    assert len(events(*exit_and_fork, "{pid: 7, call: munlockall()}")) == 4
    assert entry_errors("fork() = 7", "fork() = 7") == ["4:5: process 7 exists already"]


def test_a_failed_fork_creates_no_process() -> None:
    assert entry_errors("c = fork() = -1 EAGAIN", "{pid: c, call: munlockall()}") == [
        "4:11: no process 'c'"
    ]


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        (("fork() = 12", "{pid: 13, call: munlockall()}"), "4:11: no process '13'"),
        (("child = fork()", "{pid: chidl, call: munlockall()}"),
         "4:11: no process 'chidl' (did you mean 'child'?)"),
        (("exit_group(0)", "munlockall()"), "4:5: process 'main' has ended in line 3"),
        (("c = fork()", "c = brk(0)"), "4:5: label 'c' is taken: a process keeps its name"),
        (("munmap(b, 1)",), "3:12: 'b' is not a label bound before"),
        (("a = munmap(a + 1, 1)",), "3:16: 'a' is not a label bound before"),
        (("mmap(0, 1, 0, 0, shm, 0)",), "3:22: 'shm' is neither in files nor a label bound before"),
    ],
)  # fmt: skip
def test_a_name_must_exist_where_it_is_used(entries: tuple[str, ...], message: str) -> None:
    assert entry_errors(*entries) == [message]


def test_a_label_may_be_bound_again() -> None:
    assert len(events("a = brk(0)", "a = brk(a)", "munmap(a, 1)")) == 3


def test_one_mistake_is_one_error() -> None:
    assert len(entry_errors("a = mmpa(0)", "munmap(a, 1)", "munmap(a + 1, 1)")) == 1


def test_a_descriptor_is_what_files_or_its_printed_path_say() -> None:
    files = "files: {3: {path: /a, fs: xfs}, m: {path: /b, fs: fuse, size: 4096}}\n"
    trace = load(files + EMPTY)
    assert trace.file(3) == trace.file(Fd(3, "/a")) == File("/a", "xfs")
    assert trace.file(Fd("m")) == trace.file(Fd(9, "/b")) == File("/b", "fuse", "rw", 4096)
    assert trace.file(Fd(3, "/c")) == File("/c", "ext4")
    assert trace.file(Fd(5, "/memfd:x (deleted)")) == File("/memfd:x (deleted)", "tmpfs")
    assert trace.file(4) is None
    assert trace.file(-1) is None


def test_the_same_descriptor_is_the_same_open_file_and_another_one_is_not() -> None:
    trace = load(EMPTY)
    assert trace.file(Fd(3, "/a")) is trace.file(Fd(3, "/a"))
    assert trace.file(Fd(3, "/a")) is not trace.file(Fd(4, "/a"))


# --- what is wrong ------------------------------------------------------------------------------

_BAD = """\
vmatrace: 1
nam: x
kernel: 6.99
page_size: 4095
sysctl: {max_map_cont: 3}
files:
  shm: {path: /x, fs: ext5}
maps: |

  555555554000-555555559001 r-xp 00000000 fe:00 1234
  foo
events:
  - mummap(0, 1)
  - {call: mmap, adr: 3}
  - expect: {vmas: about 3}
  - expect: {on: post-pach, vmas: 1}
  - expect: {}
  - [munmap(0, 1)]
"""


def test_every_error_of_header_and_events_is_reported_in_one_run() -> None:
    assert errors(_BAD) == [
        "2:1: unknown key 'nam' in a trace (did you mean 'name'?)",
        "3:9: unknown kernel '6.99': 6.19 was the last of 6.x (did you mean '6.19'?)",
        "4:12: expected a page size: 4096, 16384 or 65536, got '4095'",
        "5:10: unknown key 'max_map_cont' in sysctl (did you mean 'max_map_count'?)",
        "7:23: unknown file system 'ext5' (did you mean 'ext4'?)",
        "10:3: the addresses are not multiples of the page size 4096",
        "11:3: not a line of /proc/PID/maps (START-END PERMS OFFSET DEV INODE NAME)",
        "13:5: unknown call 'mummap' (did you mean 'munmap'?)",
        "14:5: mmap lacks 'addr', 'length', 'prot', 'flags', 'fd', 'offset'",
        "14:18: unknown key 'adr' in mmap (did you mean 'addr'?)",
        "15:20: expected a count such as 3 or '<= 5', got 'about 3'",
        "16:18: unknown kernel 'post-pach' (did you mean 'post-patch'?)",
        "17:5: nothing is expected (expected vmas, peak_vmas, mergeable, merges, "
        "blocked_only_by_mergeable, maps)",
        "18:5: expected a call or a mapping, got a list",
    ]


def test_a_call_by_its_parameters_is_wrong_where_it_is_wrong() -> None:
    text = HEAD + "  - {addr: 0, call: mummap}\n  - {cal: mmap, addr: 0}\n"
    assert errors(text) == [
        "3:21: unknown call 'mummap' (did you mean 'munmap'?)",
        "4:6: unknown key 'cal' in an event (did you mean 'call'?)",
    ]


def test_a_descriptor_may_be_what_a_call_has_returned() -> None:
    text = HEAD + "  - a = mmap(NULL, 1, PROT_READ, 2, -1, 0)\n  - mmap(0, 1, 1, 1, a, 0)\n"
    _, event = load(text).items()
    assert isinstance(event, Event)
    descriptor = event.args[4]
    assert isinstance(descriptor, Expr)
    assert (descriptor.tree, descriptor.text) == ("a", "a")


def test_standard_input_is_a_dash(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "sys.stdin", io.TextIOWrapper(io.BytesIO((HEAD + "- munlockall()").encode()))
    )
    trace = load_trace("-")
    assert (trace.path, len(list(trace.items()))) == ("<stdin>", 1)


def test_a_bound_is_printed_as_it_is_read() -> None:
    trace = load(HEAD + '  - expect: {vmas: "<= 5", merges: 3}\n')
    assert str(trace).endswith('- expect: {vmas: "<= 5", merges: 3}')
    assert str(load(str(trace))) == str(trace)


def test_a_pipe_is_read_to_its_end() -> None:
    read, write = os.pipe()
    with open(read, "rb") as ours, open(write, "wb") as theirs:
        theirs.write((HEAD + "- munlockall()\n").encode())
        theirs.close()
        assert len(list(load_trace(ours).items())) == 1


def test_nothing_is_given_after_the_first_error() -> None:
    run = load(HEAD + "  - munmap(0, 1)\n  - foo\n  - munmap(0, 2)\n  - bar\n").items()
    assert next(run).line == 3
    with pytest.raises(TraceError) as caught:
        next(run)
    assert [d.line for d in caught.value.diagnostics] == [4, 6]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "1:1: the file is empty (expected the keys vmatrace and events)"),
        ("foo", "1:1: expected a mapping with the keys vmatrace and events, got 'foo'"),
        ("vmatrace: 1\n", "1:1: the key 'events' is missing"),
        ("events: []\n", "1:1: the key 'vmatrace' is missing"),
        ("vmatrace: 2\nevents: []\n", "1:11: expected the format version, which is 1, got '2'"),
        ("vmatrace: 1\nevents: 3\n", "2:9: expected a list of events, got '3'"),
        (HEAD + "- munlockall()\nvmatrace: 1\n", "4:1: duplicate key 'vmatrace'"),
        (HEAD + "- munlockall()\n---\nfoo\n", "4:1: a second document is not allowed in a trace"),
        (HEAD + "- !!python/name:os.system x\n", "3:3: a tag (!) is not allowed in a trace"),
        (HEAD + "- &a munlockall()\n", "3:3: an anchor (&) is not allowed in a trace"),
        ("name: *a\n" + HEAD + "- munlockall()\n", "1:7: an alias (*) is not allowed in a trace"),
        (HEAD + "- munlockall()\n<<: {}\n", "4:1: a merge key is not allowed in a trace"),
        (HEAD + "- expect: {vmas: [[[[[[[1]]]]]]]}\n", "3:22: nested deeper than 8 levels"),
        (HEAD + "\t- a\n", "3:1: a tab cannot be used for indentation (expected spaces)"),
        (HEAD + "- a: b: c\n", "3:7: unexpected ':' (text that contains ': ' must be in quotes)"),
        (HEAD + "- munmap(\x01)\n", "3:10: control character 0x01"),
        (HEAD + "- munmap(\u2028)\n", "3:10: character U+2028 is not allowed here"),
        ("process: {ksm: yes}\n" + EMPTY, "1:16: expected true or false, got 'yes'"),
        ('process: {ksm: "true"}\n' + EMPTY, "1:16: expected true or false, got 'true'"),
        ("files: {x: [1]}\n" + EMPTY, "1:12: expected a mapping for a file, got a list"),
        ("process: {brk: 1:30}\n" + EMPTY, "1:16: expected an address, got '1:30'"),
        ("sysctl: [1]\n" + EMPTY, "1:9: expected a mapping for sysctl, got a list"),
    ],
)  # fmt: skip
def test_yaml_that_a_trace_does_not_need_is_an_error(text: str, message: str) -> None:
    assert message in errors(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1,\n", "1:1: expected a mapping with the keys vmatrace and events, got a list"),
        ("- 1\n", "1:1: expected a mapping with the keys vmatrace and events, got a list"),
        ('{"stackWalk": [\n', "1:2: unknown key 'stackWalk' in a trace"),
        ("a: 1\nb:\n", "1:1: unknown key 'a' in a trace\n2:1: unknown key 'b' in a trace"),
    ],
)
def test_a_large_file_that_is_no_trace_is_refused_before_it_is_held(
    text: str, message: str
) -> None:
    large = (text + '- {"a": 1},\n' * 100_000 + "? !").encode()
    tracemalloc.start()
    try:
        with pytest.raises(TraceError) as caught:
            load_trace(large, "t.yaml")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    told = [f"{d.line}:{d.column}: {d.message}" for d in caught.value.diagnostics]
    assert "\n".join(told) == message
    assert peak < 3 * len(large)


def test_a_code_that_was_refused_is_not_refused_twice() -> None:
    text = HEAD + "- expect: {maps: [{start: 0, end: 4096, flags: [[rd], wr, zz]}]}\n"
    assert errors(text) == [
        "3:49: expected a VmFlags code, got a list",
        "3:59: unknown VmFlags code 'zz'",
    ]


def test_text_that_is_not_utf_8_is_an_error_with_its_position() -> None:
    with pytest.raises(TraceError) as caught:
        load_trace(b"vmatrace: 1\nname: \xff\n", "t.yaml")
    assert str(caught.value).startswith("t.yaml:2:7: error: byte 0xff is not UTF-8")


def test_aliases_are_refused_before_they_multiply() -> None:
    bomb = "".join(f"k{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 30))
    assert len(errors("k0: &a0 [x]\n" + bomb + HEAD + "- munlockall()\n")) == MAX_DIAGNOSTICS


@pytest.mark.parametrize("bracket", ["[", "{", "? "])
def test_hopeless_nesting_ends_the_reading(bracket: str) -> None:
    found = errors(HEAD + "- foo\n- " + bracket * 100_000)
    assert found[0].startswith("3:6: expected '('")
    assert found[1].endswith("nested deeper than 8 levels")
    assert found[2].endswith("nested too deeply to read on")
    assert found == errors(HEAD + "- foo\n- " + bracket * 900)


def test_errors_beyond_the_cap_are_counted() -> None:
    with pytest.raises(TraceError) as caught:
        load(HEAD + "- foo\n" * (MAX_DIAGNOSTICS + 7)).validate()
    assert len(caught.value.diagnostics) == MAX_DIAGNOSTICS
    assert str(caught.value).endswith("\nt.yaml: error: … and 7 more")


@pytest.mark.parametrize("text", [HEAD + "- foo\n" * 5000, "files: {%s}\n" % ("-1: 3," * 5000)])
def test_reading_stops_when_there_are_far_too_many_errors(text: str) -> None:
    with pytest.raises(TraceError) as caught:
        load(text).validate()
    assert str(caught.value).endswith("more (reading stopped there)")


@pytest.mark.parametrize(
    ("entry", "shown", "column"),
    [
        ("munmap(0, foo bar)", "- munmap(0, foo bar)", 17),
        ('"munmap(0, foo bar)"', '- "munmap(0, foo bar)"', 18),
        ("munmap(0,\n     foo bar)", "foo bar)", 10),
        (">\n    munmap(0,\n    foo bar)", "foo bar)", 9),
    ],
)
def test_the_caret_stands_below_the_token_in_every_style(
    entry: str, shown: str, column: int
) -> None:
    with pytest.raises(TraceError) as caught:
        load(HEAD + "- " + entry + "\n").validate()
    message, source, caret = str(caught.value).splitlines()
    assert message.endswith("error: expected ',' or ')' after an argument, found 'bar'")
    assert source.strip() == shown
    assert source[caret.index("^") :].startswith("bar")
    assert caught.value.diagnostics[0].column == column


def test_a_long_line_is_clipped_around_the_caret() -> None:
    with pytest.raises(TraceError) as caught:
        load(HEAD + f"- munmap(0, {'1+' * 90}foo bar)  # {'x' * 500}\n").validate()
    _, source, caret = str(caught.value).splitlines()
    assert len(source) < 120
    assert source[caret.index("^") :].startswith("bar")


def test_the_caret_allows_for_wide_characters() -> None:
    with pytest.raises(TraceError) as caught:
        load(HEAD + '- "brk(0) 日本 x"\n').validate()
    with pytest.raises(TraceError) as narrow:
        load(HEAD + '- "brk(0) /* 日本 */ x"\n').validate()
    assert str(caught.value).splitlines()[2].index("^") == len('    - "brk(0) ')
    assert str(narrow.value).splitlines()[2].index("^") == len('    - "brk(0) /* .... */ ')
    assert narrow.value.diagnostics[0].column == len('- "brk(0) /* .. */ ') + 1


@pytest.mark.parametrize("kind", ["missing", "directory"])
def test_a_file_that_cannot_be_read_is_a_message(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    if kind == "directory":
        path.mkdir()
    with pytest.raises(TraceError) as caught:
        load_trace(path)
    assert str(caught.value).startswith(f"{path}: error: cannot be read: ")


def test_importing_the_module_does_not_import_yaml() -> None:
    code = "import sys, vmatrace.trace.file; sys.exit('yaml' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
