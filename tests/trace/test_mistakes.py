"""What is wrong in a trace, and the caret below where it is: each mistake that the format knows.

A line that holds nothing but ``^`` and words is no line of the trace: it names an error that the
line above it has, at that column. All errors are those, in this order line by line.
"""
# ruff: noqa: E501

from __future__ import annotations

import re

import pytest

from vmatrace.trace.file import TraceError, load_trace

MARK = re.compile(r" *\^ (.*)")

HEADERS = """\
vmatrace: one
          ^ expected the format version, which is 1, got 'one'
name: [x]
      ^ expected text, got a list
description: {a: b}
             ^ expected text, got a mapping
kernel: [6.12]
        ^ expected the name of a kernel model, got a list
page_size: 8192
           ^ expected a page size: 4096, 16384 or 65536, got '8192'
arch: x86
      ^ unknown architecture 'x86' (did you mean 'x86_64'?)
sysctl: {max_map_count: 2147483648, overcommit_memory: 3, mmap_min_addr: -1, nr_hugepages: a}
                        ^ expected a number, at most 2147483647
                                                       ^ expected a number, at most 2
                                                                         ^ expected a number, at least 0
                                                                                           ^ expected a number, got 'a'
process: {ksm: 1, brk: x, mmap_base: 0x1001, rlimits: {stack: -1, nofile: 3}}
               ^ expected true or false, got '1'
                       ^ expected an address, got 'x'
                                     ^ expected a multiple of the page size
                                                              ^ expected a number, at least 0
                                                                  ^ unknown key 'nofile' in rlimits
files: {-1: {path: /a}, 2147483648: {path: /a}, NULL: {path: /a}, a b: {path: /a}}
        ^ expected a descriptor number or a name, got '-1'
                        ^ expected a descriptor number or a name, got '2147483648'
                                                ^ expected a descriptor number or a name, got nothing
                                                                  ^ expected a descriptor number or a name, got 'a b'
maps: [a]
      ^ expected text of /proc/PID/maps or smaps, got a list
cpus: 0
      ^ expected a number of processors, at least 1
partial: 1
         ^ expected true or false, got '1'
recorded: maybe
          ^ expected true or false, got 'maybe'
events: []
---
vmatrace: 1
process: []
         ^ expected a mapping for process, got a list
sysctl: x
        ^ expected a mapping for sysctl, got 'x'
files: [1]
       ^ expected a mapping of descriptors to files, got a list
cpus: 65537
      ^ expected a number of processors, at most 65536
maps: {a: b}
      ^ expected text of /proc/PID/maps or smaps, got a mapping
events: []
---
vmatrace: 1
process: {rlimits: 3, mmap_base: []}
                   ^ expected a mapping for rlimits, got '3'
                                 ^ expected an address, got a list
sysctl: {max_map_count: []}
                        ^ expected a number, got a list
files: {3: {fs: ext4}, 3: {path: /a}, a: 7, 4: {path: [], fs: ext5, mode: x, size: -1}, 0x3: {path: /b}}
           ^ the key 'path' of the file is missing
                       ^ duplicate key '3'
                                         ^ expected a mapping for a file, got '7'
                                                      ^ expected a path, got a list
                                                              ^ unknown file system 'ext5' (did you mean 'ext4'?)
                                                                          ^ unknown mode 'x'
                                                                                   ^ expected a size in bytes, at least 0
                                                                                        ^ descriptor 3 is described twice
events: []
---
vmatrace: 1
files:
  3: {path: /a, size: 9223372036854775808, vmflags: rd zz, fs: {}, mode: [r]}
                      ^ expected a size in bytes, at most 9223372036854775807
                                                    ^ unknown code 'zz'
                                                               ^ expected a file system, got a mapping
                                                                         ^ expected a mode, got a list
  4: {path: /a, vmflags: [rd, [wr], ii]}
                              ^ expected a code of smaps, got a list
                                    ^ unknown code 'ii'
  5: {path: , vmflags: {a: b}}
            ^ expected a path, got nothing
                       ^ expected codes of smaps, as VmFlags prints them, got a mapping
  6:
    ^ expected a mapping for a file, got nothing
events: []
---
vmatrace: 1
maps: |
    1000-2000 rw-p 00000000 00:00 0
      2000-3001 rw-p 00000000 00:00 0
      ^ the addresses are not multiples of the page size 4096
    2001-4000 rw-p 00000000 00:00 0
    ^ the addresses are not multiples of the page size 4096
    ^ mappings overlap or are not in address order
    bad
    ^ not a line of /proc/PID/maps (START-END PERMS OFFSET DEV INODE NAME)
    Rss: 4 kB
    VmFlags: rd
    4000-5000 rw-p 00000000 00:00 0
    4500-6000 rw-p 00000000 00:00 0
    ^ the addresses are not multiples of the page size 4096
    ^ mappings overlap or are not in address order
events: []
---
vmatrace: 1
maps: "1000-2001 rw-p 00000000 00:00 0\\nbad"
      ^ the addresses are not multiples of the page size 4096
      ^ not a line of /proc/PID/maps (START-END PERMS OFFSET DEV INODE NAME)
events: []
---
vmatrace: 1
events: {a: b}
        ^ expected a list of events, got a mapping
---
vmatrace: 1
events:
       ^ expected a list of events, got nothing
---
vmatrace: 1
^ the key 'events' is missing
&a events: []
^ an anchor (&) is not allowed in a trace
---
vmatrace: 1
? [a]
  ^ expected a key that is text
: b
!x name: c
^ a tag (!) is not allowed in a trace
events: []
---
&x
^ an anchor or tag is not allowed in a trace
vmatrace: 1
events: []
---
- a
^ expected a mapping with the keys vmatrace and events, got a list
- b
---
vmatrace: 1
name: @x
      ^ '@' cannot start a value (put the value in quotes)
events: []
---
vmatrace: 1
name
events: []
^ expected ':' after a key
---
vmatrace: 1
name: [x
events: []
      ^ expected ',' or ']'
---
vmatrace: 1
name: "x
events: []
          ^ the file ends inside a quoted string"""

ENTRIES = """\
  - {call: []}
           ^ expected a call, got a list
  - {call: ""}
           ^ unknown call ''
  - {cal: x}
     ^ unknown key 'cal' in an event (did you mean 'call'?)
  - {munmap(0, 1): x}
     ^ unknown key 'munmap(0' in an event (a call that contains ': ' must be in quotes)
  - {foo: x}
    ^ expected a key 'call' or 'expect'
  - {expect: {vmas: 1}, pid: main}
                        ^ unknown key 'pid' in an event beside 'expect'
  - {expect: [1]}
             ^ expected a mapping for expect, got a list
  - {expect: }
             ^ expected a mapping for expect, got nothing
  - {call: "munmap(0, 1) = 0", result: 0}
                                       ^ the call states its result already
  - {call: "a = brk(0)", label: b}
                                ^ the call states its label already
  - {call: "munmap(0, 1)", addr: 0}
                           ^ unknown key 'addr' in an event
  - {call: "munmap(0, 1)", result: []}
                                   ^ expected a result, got a list
  - {call: "munmap(0, 1)", result: -1}
                                   ^ which error? (expected such as -1 ENOMEM)
  - {call: "munmap(0, 1)", label: PAGE_SIZE}
                                  ^ 'PAGE_SIZE' cannot be a label
  - {call: "munmap(0, 1)", label: a b}
                                  ^ 'a b' cannot be a label
  - {call: "munmap(0, 1)", label: []}
                                  ^ expected a label, got a list
  - {call: "munmap(0, 1)", pid: []}
                                ^ expected a process, got a list
  - {call: "munmap(0, 1)", maps: ""}
                                 ^ only execve has 'maps', the layout after it
  - {call: "c = munmap(0, d"}
                           ^ expected ',' or ')' after an argument, found the end
  - brk(c)
  - {call: "muunmap(0, 1)", label: e}
            ^ unknown call 'muunmap' (did you mean 'munmap'?)
  - brk(e)
  - {call: muunmap, label: f}
           ^ unknown call 'muunmap' (did you mean 'munmap'?)
  - brk(f)
---
  - {call: munmap, addr: 0}
    ^ munmap lacks 'length'
  - {call: munmap, length: 0, addr: [1]}
                                    ^ expected addr as a number or text, got a list
  - {call: munmap, addr: , length: 010}
                         ^ expected addr as a number or text, got nothing
                                   ^ 010 is ambiguous (write octal as 0o…)
  - {call: munmap, addr: '', length: +07}
                         ^ expected addr as a number or text, got ''
                                     ^ +07 is ambiguous (write octal as 0o…)
  - {call: munmap, addr: b, length: 1}
                         ^ 'b' is not a label bound before
  - {call: munmap, addr: 1 +, length: "1 2"}
                            ^ expected an address for addr, found the end
                                         ^ unexpected '2'
  - {call: munmap, addr: 1, length: 1, prot: 3, resutl: 0}
                                       ^ unknown key 'prot' in munmap
                                                ^ unknown key 'resutl' in munmap (did you mean 'result'?)
  - {call: mremap, old_address: 0, old_size: 1, new_size: 1, flags: 0, new_address: }
                                                                                    ^ expected new_address as a number or text, got nothing
  - {call: brk, addr: 0, label: q, result: x}
                                           ^ expected a result: a number, -1 ERRNO, or ?
  - brk(q)
---
  - exit_group(0)
  - brk(0)
    ^ process 'main' has ended in line 3
  - expect: {vmas: 1}
    ^ process 'main' has ended in line 3
  - {expect: {vmas: 1, pid: main}}
                            ^ process 'main' has ended in line 3
---
  - c = fork() = 5
  - {call: exit(0), pid: c}
  - {call: brk(0), pid: 5}
                        ^ process '5' has ended in line 4
  - {call: brk(0), pid: c}
                        ^ process 'c' has ended in line 4
  - {call: brk(0), pid: d}
                        ^ no process 'd'
  - fork() = 0
    ^ the result of a fork is the number of the new process, not 0
  - fork() = 1
  - fork() = 1
    ^ process 1 exists already
  - x = brk(0)
  - x = fork()
    ^ label 'x' is taken: a process keeps its name
  - c = fork() = 6
    ^ label 'c' is taken: a process keeps its name
  - {call: brk, addr: 0, label: c}
                                ^ label 'c' is taken: a process keeps its name
---
  - e = frok()
        ^ unknown call 'frok' (did you mean 'fork'?)
  - {pid: e, call: brk(0)}
  - f = brk(g)
            ^ 'g' is not a label bound before
  - brk(f + g)
  - mmap(0, 1, 0, 0, fd, 0)
                     ^ 'fd' is neither in files nor a label bound before (did you mean 'f'?)
  - mmap(0, 1, 0, 0, h, hh)
                     ^ 'h' is neither in files nor a label bound before
                        ^ 'hh' is not a label bound before
---
  - "munmap(0,
     1) x"
        ^ unexpected 'x'
  - 'munmap(0, ''x)'
               ^ expected a size for length, found "'"
  - 'munmap(0, 1  '
                ^ expected ',' or ')' after an argument, found the end
  - "munmap(0, \\x41 B)"
    ^ expected ',' or ')' after an argument, found 'B'
  - munmap(0, zz) # c
              ^ 'zz' is not a label bound before
  - zz = brk(yy + 1)
             ^ 'yy' is not a label bound before
  - brk(0) /* xx */ = xx
                      ^ expected a result: a number, -1 ERRNO, or ?
---
  - brk(0)
  x: y
  ^ expected '- ' (is the indentation right?)
---
  - brk(0)
 - brk(0)
 ^ expected a key (is the indentation right?)
---
  - expect: {vmas: -1, merges: "<> 3", mergeable: [], peak_vmas: 1234567890123456789, foo: 1}
                   ^ expected a count such as 3 or '<= 5', got '-1'
                               ^ expected a count such as 3 or '<= 5', got '<> 3'
                                                  ^ expected a count such as 3 or '<= 5', got a list
                                                                                      ^ unknown key 'foo' in expect
  - expect: {maps: 3}
                   ^ expected a list of /proc/PID/maps lines or mappings, got '3'
  - expect: {maps: {a: b}}
                   ^ expected a list of /proc/PID/maps lines or mappings, got a mapping
  - expect: {maps: }
                   ^ expected a list of /proc/PID/maps lines or mappings, got nothing
  - expect: {on: , vmas: 1}
                 ^ expected a kernel model or a range such as '>=6.17', got nothing
  - expect: {on: [6.12, [6.13], ">= x"], vmas: 1}
                        ^ expected a kernel model or a range such as '>=6.17', got a list
                                ^ malformed version range '>= x' (expected such as '>=6.17', '6.4..6.16')
  - expect: {on: 6.1 8, vmas: 1}
                 ^ unknown kernel '6.1 8' (did you mean '6.19'?)
  - expect: {name: " ", vmas: 1}
                   ^ expected a name, got ' '
  - expect: {name: [], vmas: 1}
                   ^ expected a name, got a list
  - expect: {name: "", vmas: 1}
                   ^ expected a name, got ''
  - expect: {pid: 77, vmas: 1}
                  ^ no process '77'
  - expect: {name: x, on: 6.12}
    ^ nothing is expected (expected vmas, peak_vmas, mergeable, merges, blocked_only_by_mergeable, maps)
---
  - expect: {maps: [[1], foo, 1000-2000 rw-p 00000000 00:00, {}]}
                    ^ expected a /proc/PID/maps line or a mapping, got a list
                         ^ not a line of /proc/PID/maps (START-END PERMS OFFSET DEV INODE NAME)
                              ^ not a line of /proc/PID/maps (START-END PERMS OFFSET DEV INODE NAME)
                                                             ^ an expected mapping lacks 'start'
                                                             ^ an expected mapping lacks 'end'
  - expect: {maps: [{start: 1}, {end: 0x1000}, {start: [], end: zz}, {start: 1 +, end: 0x1001}]}
                    ^ an expected mapping lacks 'end'
                            ^ 0x1 is not a multiple of the page size
                                ^ an expected mapping lacks 'start'
                                                       ^ expected an address, got a list
                                                                ^ 'zz' is not a label bound before
                                                                                ^ expected an address for the value, found the end
                                                                                       ^ 0x1001 is not a multiple of the page size
  - expect: {maps: [{start: 0, end: 4096 + yy, perms: rwx, name: [], offset: -1, flags: zz rd}]}
                                           ^ 'yy' is not a label bound before
                                                      ^ expected permissions such as rw-p, got 'rwx'
                                                                 ^ expected a name, got a list
                                                                             ^ expected a number, at least 0
                                                                                        ^ unknown VmFlags code 'zz'
  - expect: {maps: [{start: 0, end: 0x1000, perms: , name: , offset: , flags: , x: 1}]}
                                                   ^ expected text, got nothing
                                                                     ^ expected a number, got nothing
                                                                              ^ expected VmFlags codes, got nothing
                                                                                ^ unknown key 'x' in an expected mapping
  - expect: {maps: [{start: 0, end: 0x1000, flags: {a: b}}]}
                                                   ^ expected VmFlags codes, got a mapping"""


def split(marked: str) -> tuple[str, list[tuple[int, int, str]]]:
    """The text of a trace, and its errors."""
    lines: list[str] = []
    errors = []
    for line in marked.splitlines():
        if match := MARK.fullmatch(line):
            errors.append((len(lines), line.index("^") + 1, match[1]))
        else:
            lines.append(line)
    return "\n".join([*lines, ""]), errors


@pytest.mark.parametrize(
    "marked",
    [
        *HEADERS.split("\n---\n"),
        *(f"vmatrace: 1\nevents:\n{entries}" for entries in ENTRIES.split("\n---\n")),
    ],
)
def test_each_mistake_is_named_where_it_is(marked: str) -> None:
    text, errors = split(marked)
    with pytest.raises(TraceError) as caught:
        load_trace(text.encode(), "t.yaml").validate()
    found = caught.value.diagnostics
    assert [(d.line, d.column, d.message) for d in found] == errors
    assert [d.source for d in found] == [text.splitlines()[line - 1] for line, _, _ in errors]
