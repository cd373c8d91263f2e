"""One line of a strace log, taken apart: its prefix, its kind, its result."""

from __future__ import annotations

from typing import Final

import pytest

from vmatrace.importers.strace import line

CALL: Final = "brk(NULL) = 0x1000"


@pytest.mark.parametrize(
    ("before", "number", "bracket", "time"),
    [
        ("", None, False, ""),
        ("123 ", "123", False, ""),
        ("0123  ", "123", False, ""),
        ("0 ", "0", False, ""),
        ("[pid   123] ", "123", True, ""),
        ("[pid 123<a b>] ", "123", True, ""),
        ("123<name> ", "123", False, ""),
        ("[pid 123 /* 7 in strace's PID NS */] ", "123", True, ""),
        ("12:34:56 ", None, False, "12:34:56"),
        ("123 12:34:56.789 ", "123", False, "12:34:56.789"),
        ("123 1699999999.123456 ", "123", False, "1699999999.123456"),
        ("1699999999 ", None, False, "1699999999"),
        ("     0.000012 ", None, False, "0.000012"),
        ("12:34:56 (+     0.000123) ", None, False, "12:34:56"),
        ("123 12:34:56 [  12] [00007f0000001234] ", "123", False, "12:34:56"),
        ("[????????????????] ", None, False, ""),
    ],
)
def test_a_prefix_is_a_pid_and_a_time(
    before: str, number: str | None, bracket: bool, time: str
) -> None:
    assert line.taken_apart(before + CALL) == (number, bracket, CALL)
    assert line.time_of(before + CALL) == time
    alone = line.prefix(before)
    assert alone is not None
    assert (alone.number, alone.bracket, alone.text.strip()) == (number, bracket, time)
    assert line.prefix(before + CALL) is None


@pytest.mark.parametrize(
    ("number", "possible"),
    [("1", True), ("4194304", True), ("4194305", False), ("0", False), ("00000001", False),
     ("", False), ("-1", False), ("１", False), ("0x1", False)],
)  # fmt: skip
def test_a_pid_has_a_limit(number: str, possible: bool) -> None:
    assert line.is_pid(number) is possible


@pytest.mark.parametrize(
    ("text", "name", "whole"),
    [
        ("brk(NULL) = 0x1000", "brk", True),
        ("brk(NULL)      = ?", "brk", True),
        ("close(3) = -1 EBADF (Bad file descriptor)", "close", True),
        ("read(3, <unfinished ...>", "read", True),
        ("read(3, <detached ...>", "read", True),
        ("read(3, Process 12 attached", "read", True),
        ("read(3, ", "read", False),
        ("brk(NULL) = what", "brk", False),
        ("Brk(NULL) = 0", None, False),
        ("brk = 0", None, False),
    ],
)
def test_a_call_goes_to_its_result_or_to_its_interruption(
    text: str, name: str | None, whole: bool
) -> None:
    assert line.call_name(text) == name
    assert line.is_whole(text) is whole


def test_the_second_half_of_a_call_names_it_or_not() -> None:
    assert line.resumed("<... read resumed>, 5) = 5") == ("read", ", 5) = 5")
    assert line.resumed("<... read resumed> ) = 5") == ("read", ") = 5")
    assert line.resumed("<... read resumed> 5) = 5") == ("read", " 5) = 5")
    assert line.resumed("<... resumed>) = 5") == (None, ") = 5")
    assert line.resumed("read(3) = 5") is None


@pytest.mark.parametrize(
    ("text", "pid", "attached", "threads", "start"),
    [
        ("strace: Process 12 attached", "12", True, None, 0),
        ("/usr/bin/strace: Process 12 attached with 3 threads", "12", True, "3", 0),
        ("Process 12 detached", "12", False, None, 0),
        ("Process 12 attached (waiting for parent)", "12", True, None, 0),
        ("Process 12 resumed (parent 11 ready)", "12", False, None, 0),
        ("Process 12 attached - interrupt to quit", "12", True, None, 0),
        ("read(3, strace: Process 12 attached", "12", True, None, 8),
        ("read(3, Process 12 suspended", "12", False, None, 8),
    ],
)
def test_what_strace_says_of_a_process(
    text: str, pid: str, attached: bool, threads: str | None, start: int
) -> None:
    found = line.message(text)
    assert found is not None
    assert (found["pid"], found["attached"] is not None) == (pid, attached)
    assert (found["threads"], found.start()) == (threads, start)
    assert (line.is_message(text), line.is_cut(text)) == (start == 0, start > 0)


@pytest.mark.parametrize(
    "text", ["brk(NULL) = 0", 'write(1, "Process 12 attached")', "Process 12 attached to x", ""]
)
def test_what_strace_does_not_say(text: str) -> None:
    assert line.message(text) is None
    assert not line.is_message(text)
    assert not line.is_cut(text)


@pytest.mark.parametrize(
    ("whole", "kind"),
    [
        ("123 ", "blank"),
        ("123 --- SIGCHLD {si_signo=SIGCHLD} ---", "signal"),
        ("strace: attach: ptrace(1): No such process", "strace's messages"),
        ("strace: Process 12 attached", "strace's messages"),
        ("[ Process PID=12 runs in 32 bit mode. ]", "strace's messages"),
        ("Exit of unknown pid 12 ignored", "strace's messages"),
        ("% time     seconds  usecs/call     calls    errors syscall", "summary"),
        ("------ ----------- ----------- --------- --------- ----------------", "summary"),
        (" 50.00    0.000010          10         1           brk", "summary"),
        ("System call usage summary for 'x86_64'", "summary"),
        ("123 brk(NULL) = 0", None),
        ("words", None),
    ],
)
def test_what_the_program_did_not_do_has_a_kind(whole: str, kind: str | None) -> None:
    assert line.chatter(whole, line.taken_apart(whole).text) == kind


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("brk(NULL) = 0x1000", "brk(NULL) = 0x1000"),
        ("brk(NULL)                = 0x1000 <0.000012>", "brk(NULL) = 0x1000"),
        ("close(3) = 0 (DELAYED)", "close(3) = 0"),
        ("close(3)   = 0 (DELAYED) <0.000012>", "close(3) = 0"),
        ("close(3</a>)  = 0", "close(3</a>) = 0"),
        ('write(1, ")  = ", 5) = 5', 'write(1, ")  = ", 5) = 5'),
        ('write(1, ")  = "', 'write(1, ")  = "'),
        ("close(3)  what", "close(3)  what"),
        ("dup(3) = 4</a>", "dup(3) = 4</a>"),
    ],
)
def test_a_call_is_cleaned_of_what_surrounds_it(text: str, cleaned: str) -> None:
    assert line.cleaned(text) == cleaned


def test_a_result_may_be_missing_or_straces_own() -> None:
    assert line.is_unanswered("exit_group(0) = ?")
    assert line.is_unanswered("read(3 = ? <unavailable>")
    assert not line.is_unanswered("read(3) = ? ERESTARTSYS (To be restarted)")
    assert line.is_injected("brk(NULL) = -1 ENOMEM (Cannot allocate memory) (INJECTED)")
    assert not line.is_injected("brk(NULL) = 0")


@pytest.mark.parametrize(
    ("text", "pid"),
    [
        ("fork() = 12", "12"),
        ("fork() = 0xc", "12"),
        ("fork() = 012", "12"),
        ("fork() = 12<a b>", "12"),
        ("fork() = 2 /* 12 in strace's PID NS */", "12"),
        ("fork() = 0", None),
        ("fork() = 1", "1"),
        ("fork() = 4194304", "4194304"),
        ("fork() = 4194305", None),
        ("fork() = -1 EAGAIN", None),
        ("fork() = ?", None),
    ],
)
def test_a_birth_says_who_was_born(text: str, pid: str | None) -> None:
    assert line.child(text) == pid


def test_numbers_may_start_with_zeros() -> None:
    assert [line.number(text) for text in ("0", "010", "0x10", "0x010")] == [0, 10, 16, 16]
    assert line.first_number("munmap(0x1000, 5) = 0") == 4096
    assert line.first_number("close(7) = 0") == 7
    assert line.first_number("close(fd) = 0") is None
    assert line.first_number("close(7x) = 0") is None


def test_ends_say_how() -> None:
    assert line.dead("--- SIGCHLD {si_code=CLD_EXITED, si_pid=12, si_status=0} ---") == "12"
    assert line.dead("--- SIGCHLD {si_code=CLD_STOPPED, si_pid=12} ---") is None
    assert line.dead("--- SIGSEGV {si_code=SEGV_MAPERR, si_pid=12} ---") is None
    assert line.superseding("+++ superseded by execve in pid 12 +++") == "12"
    assert line.superseding("+++ exited with 0 +++") is None
    assert line.exit_status("+++ exited with 12 +++") == 12
    assert line.exit_status("+++ killed by SIGKILL +++") is None


@pytest.mark.parametrize(
    ("shown", "text", "word", "place"),
    [
        ("  7 mmap(zz, zz)  = 1", "mmap(zz, zz) = 1", 5, 9),
        ("  7 mmap(zz, zz)  = 1", "mmap(zz, zz) = 1", 9, 13),
        ("  7 mmap(zz, zzz)  = 1", "mmap(zz, zz) = 1", 9, 9),
        ("  7 mmap(yy)", "mmap(zz) = 1", 5, 2),
        ("  7 mmap(zz)", "mmap(zz) = 1", 8, 2),
        ("mmap(zz)", "mmap(zz) = 1", 5, 5),
    ],
)
def test_a_word_is_found_again_in_the_line_as_it_was(
    shown: str, text: str, word: int, place: int
) -> None:
    assert line.place_in(shown, text, word) == place


def test_a_call_is_its_arguments_and_its_result() -> None:
    assert line.split("brk(NULL) = 0x1000") == ("NULL", "0x1000")
    assert line.split('write(1, ") = (", 3)  = 3') == ('1, ") = (", 3', "3")
    assert line.split("fork() = 12") == ("", "12")
    assert line.without_comments("mmap(NULL, 1, 0x1 /* PROT_READ */, 2)") == "mmap(NULL, 1, 0x1, 2)"
    assert line.without_comments("mmap(NULL, 1)") == "mmap(NULL, 1)"


@pytest.mark.parametrize(
    ("text", "frame"),
    [
        (" > /usr/lib/libc.so.6(mmap+0x17) [0x11ea3]", ("libc.so.6(mmap)", True)),
        (" > /lib64/ld-linux-x86-64.so.2(_start+0x0) [0x1]",
         ("ld-linux-x86-64.so.2(_start)", True)),
        (" > /usr/bin/app(main+0x12) [0x1234]", ("app(main)", False)),
        (" > /usr/bin/app() [0x1234]", ("app", False)),
        (" > /opt/libcurl.so(f+0x1) [0x1]", ("libcurl.so(f)", False)),
        ("munmap(0x1000, 1) = 0", None),
    ],
)  # fmt: skip
def test_a_frame_of_a_stack_is_a_file_and_a_function(
    text: str, frame: tuple[str, bool] | None
) -> None:
    assert line.frame(text) == frame


@pytest.mark.parametrize(
    ("text", "unnamed"),
    [
        ("mmap(addr=NULL, length=8192, prot=0x1) = 0x7f", "mmap(NULL, 8192, 0x1) = 0x7f"),
        ("openat(dirfd=AT_FDCWD, pathname=\"a, b=c\", flags=0) = 3",
         "openat(AT_FDCWD, \"a, b=c\", 0) = 3"),
        ("mbind(addr=0x1, nodemask=[a=1, b=2], x=3) = 0", "mbind(0x1, [a=1, b=2], 3) = 0"),
        ("ioctl(fd=3, cmd=UFFDIO_REGISTER, arg={range={start=0x1}, mode=2}) = 0",
         "ioctl(3, UFFDIO_REGISTER, {range={start=0x1}, mode=2}) = 0"),
        ("close(fd=3</a, b=c>) = 0", "close(3</a, b=c>) = 0"),
        ("clone(child_stack=NULL, flags=0) = 7", "clone(child_stack=NULL, flags=0) = 7"),
        ("munmap(0x1000, 5) = 0", "munmap(0x1000, 5) = 0"),
        ("exit_group(status=0)", "exit_group(0)"),
    ],
)  # fmt: skip
def test_names_of_arguments_are_taken_away_and_those_in_structures_stay(
    text: str, unnamed: str
) -> None:
    assert line.unnamed(text) == unnamed


def test_names_are_seen_behind_a_prefix() -> None:
    assert line.has_names(["7 x", "[pid 7] brk(addr=NULL) = 0"])
    assert not line.has_names(["7 brk(NULL) = 0", ""])


@pytest.mark.parametrize(
    ("lines", "looks"),
    [
        (["7 brk(NULL) = 0x1000"], True),
        (["words", "7 <... read resumed>) = 5"], True),
        (["+++ exited with 0 +++"], True),
        (["+++ killed by SIGKILL +++"], True),
        (["words", "7 words", ""], False),
        (["libc.so->malloc(8) = 0x1"], False),
        (["malloc@libc.so(8) = 0x1", "brk(NULL) = 0x1000"], True),
        (["SYS_brk(0) = 0x1000", "brk(NULL) = 0x1000"], False),
        (["SYSCALL(args) \t = return", "brk(NULL) = 0x1000"], False),
    ],
)
def test_a_log_is_known_by_one_line(lines: list[str], looks: bool) -> None:
    assert line.looks_like_log(lines) is looks


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("brk(NULL) = 0x1000", ""),
        ("[pid 7] brk(NULL) = 0x1000 <0.1>", "-f -T"),
        ("7 12:34:56 brk(NULL) = 0", "-f -o -t"),
        ("12:34:56.789 brk(NULL) = 0", "-tt"),
        ("1699999999.123 brk(NULL) = 0", "-ttt"),
        ("1699999999 brk(NULL) = 0", "-ttt"),
        ("     0.000012 brk(NULL) = 0", "-r"),
        ("12:34:56 (+     0.000123) brk(NULL) = 0", "-t -r"),
        ("[  12] brk(NULL) = 0", "-n"),
        ("[00007f0000001234] brk(NULL) = 0", "-i"),
        ("[????????????????] brk(NULL) = 0", "-i"),
        ("7<name> brk(NULL) = 0", "-f -o -Y"),
        ("[pid 7<name>] brk(NULL) = 0", "-f -Y"),
        ("close(3</a>) = 0", "-y"),
        (" > /usr/bin/app(main+0x12) [0x1234]", "-k"),
        ("brk(addr=NULL) = 0", "-N"),
        ("mprotect(0x1, 5, 0x1 /* PROT_READ */) = 0", "-X verbose"),
        ("mmap(NULL, 8192, 0x1 /* PROT_READ */, 2) = 0", "-X verbose"),
        ("mmap(NULL, 8192, 0x1, 0x2, 3, 0) = 0x7f00", "-X raw"),
    ],
)
def test_options_show_in_a_line(text: str, shown: str) -> None:
    assert line.options([text]) == shown
    assert line.options([text, text]) == shown
