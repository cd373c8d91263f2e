"""One call string at a time."""

from __future__ import annotations

import pytest

from vmatrace import abi
from vmatrace.event import Arg, Expr, Fd
from vmatrace.trace import callstring
from vmatrace.trace.callstring import CallError, CallParser, parse_call
from vmatrace.trace.tokens import MAX_TEXT

RW = abi.PROT_READ | abi.PROT_WRITE
ANON = abi.MAP_PRIVATE | abi.MAP_ANONYMOUS


def test_a_call_has_label_name_arguments_and_recorded_result() -> None:
    text = "a = mmap(NULL, 3*PAGE_SIZE, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0)"
    parsed = parse_call(text + " = 0x7f0000000000")
    assert (parsed.label, parsed.name, parsed.recorded) == ("a", "mmap", 0x7F0000000000)
    assert parsed.args == (0, 3 * 4096, RW, ANON, -1, 0)
    assert parsed.text == text.removeprefix("a = ")


def test_calls_written_as_usual_are_read_without_the_grammar(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What makes reading fast: only the unusual, and what is wrong, is read by it."""
    parser = CallParser(4096)
    usual = [
        "brk(0x555555560000) = 0x555555560000", "munmap(0x7f0000000000, 4096) = 0",
        "a = mmap(NULL, 8192, PROT_READ, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0) = 0x7f0000000000",
    ]  # fmt: skip
    before = [parser.parse(text) for text in usual]
    monkeypatch.setattr(callstring, "Grammar", None)
    assert [parser.parse(text) for text in usual] == before


def test_page_size_is_that_of_the_trace() -> None:
    assert parse_call("munmap(0, PAGE_SIZE)", 65536).args == (0, 65536)
    assert parse_call("munmap(0, PAGE_SIZE)", 4096).args == (0, 4096)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("010", 8),
        ("0x10", 16),
        ("2+3*4", 14),
        ("(2+3)*4", 20),
        ("2 - 3 - 4", -5),
        ("-1", -1),
        ("1|6", 7),
        ("0x43 /* PR_??? */", 0x43),
        ("0xffffffffffffffff", abi.ULONG_MAX),
        ("1 << 63", 1 << 63),
        ("3 << 0", 3),
    ],
)
def test_a_size_is_an_integer_expression(text: str, value: int) -> None:
    assert parse_call(f"munmap(0, {text})").args == (0, value)


@pytest.mark.parametrize(
    ("text", "args"),
    [
        ('prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, 0x1000, 1, "a, (b) = c")', '"a, (b) = c"'),
        ("prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, 0x1000, 1, NULL)", 0),
        ("mbind(0, 1, MPOL_BIND, [0x1, 0], 65, MPOL_MF_STRICT)", "[0x1, 0]"),
        ('execve("/bin/a\\"b", ["x", "y"...], 0x7ffe /* 20 vars */)', '/bin/a"b'),
        ("mmap(0, 1, PROT_NONE, 0, 3</a, (b)>, 0)", Fd(3, "/a, (b)")),
        ("mmap(0, 1, PROT_NONE, 0, 3</dev/fuse<char 10:229>>, 0)", Fd(3, "/dev/fuse")),
        ("mmap(0, 1, PROT_NONE, 0, shm, 0)", Fd("shm")),
        ("mmap(0, 1, PROT_NONE, MAP_HUGETLB|21<<MAP_HUGE_SHIFT, -1, 0)", 0x40000 | 21 << 26),
        ("munmap(a + 0x1000, 1)", Expr(("+", "a", 0x1000), "")),
        ("clone(child_stack=NULL, flags=CLONE_VM|SIGCHLD)", "flags=CLONE_VM|SIGCHLD"),
    ],
)
def test_what_strace_prints_is_read(text: str, args: Arg) -> None:
    assert args in parse_call(text).args


@pytest.mark.parametrize(
    ("tail", "recorded"),
    [
        ("", None),
        (" = 0", 0),
        (" = ?", None),
        ("    = 1234", 1234),
        (" = -1 ENOMEM (Cannot allocate memory)", -12),
        (" = -1 EINVAL (Invalid argument) <0.000012>", -22),
        (" = ? ERESTARTNOINTR (To be restarted)", None),
        (" = -5", -5),
        (" = -4095", -4095),
        (" = - 1 EPERM", -1),
        (" = -1 (errno 512)", -512),
        (" = 0x7f0000000010 (flags 3) <0.1>", 0x7F0000000010),
        (" = /* never */ 010 <12>", 8),
        (" = 18446744073709551615", abi.ULONG_MAX),
    ],
)
def test_a_recorded_result_is_a_value_a_negative_errno_or_unknown(
    tail: str, recorded: int | None
) -> None:
    assert parse_call("munmap(0x1000, 1)" + tail).recorded == recorded


#: The caret stands below the offending token.
MISTAKES = r"""
mmap(NULL, 1, PROT_REDA|PROT_WRITE, 2, -1, 0)
              ^ unknown constant 'PROT_REDA' (did you mean 'PROT_READ'?)
mmap(NULL, 1, MAP_PRIVATE, 2, -1, 0)
              ^ MAP_PRIVATE does not belong in prot (expected PROT_*)
mprotect(0, PROT_READ, 1)
            ^ PROT_READ does not belong in len (expected a size)
a = mummap(0, 1)
    ^ unknown call 'mummap' (did you mean 'munmap'?)
munmap(0x1000)
^ munmap takes 2 arguments (addr, length), got 1
munmap(0x1000, 1, 2)
                  ^ too many arguments: munmap takes 2 arguments (addr, length)
munmap(0x10000000000000000, 1)
       ^ the value does not fit in 64 bits
munmap(0x1_000, 1)
       ^ '0x1_000' is not a number
munmap(08, 1)
       ^ '08' is not a number
munmap(0, 1) = -1 ENOMM
                  ^ unknown errno 'ENOMM' (did you mean 'ENOMEM'?)
munmap(0, 1) = -1
               ^ which error? (expected such as -1 ENOMEM)
munmap(0, 1) x
             ^ unexpected 'x'
munmap(0, 1
           ^ expected ',' or ')' after an argument, found the end
munmap(0, 1 +
             ^ expected a size for length, found the end
munmap("0", 1)
       ^ addr is an address, not a string
PROT_READ = munmap(0, 1)
^ 'PROT_READ' is a constant and cannot be a label
prctl(PR_SET_VMA, 0, 1, 2, {a)
                             ^ unbalanced ')'
munmap
      ^ expected '(' after 'munmap'
mummap
      ^ expected '(' after 'mummap' (did you mean 'munmap'?)
munmap(0, 1) = -0
               ^ -0 is not a result (expected such as -1 ENOMEM)
munmap(0, 1) = -4096
               ^ -4096 is not a result (expected such as -1 ENOMEM)
brk(1 << 64)
      ^ '<<' shifts by 0 to 63
process_madvise(3, , 1, 2, 0)
                   ^ expected an argument
brk((1
      ^ expected ')', found the end
brk((1, 2)
      ^ expected ')', found ','
prctl(PR_SET_VMA, 0, 1, 2, "abc
                           ^ the string has no closing quote
prctl(PR_SET_VMA, 0, 1, 2, {"abc)
                            ^ the string has no closing quote
execve("abc
       ^ the string has no closing quote
execve("a", ["b", "c, 0)
                  ^ the string has no closing quote
brk(0) = 0 "
           ^ unexpected '"'
prctl(PR_SET_VMA, 0, 1, 2, [a
                           ^ expected ']' before the end
prctl(PR_SET_VMA, 0, 1, 2, {a])
                             ^ unbalanced ']'
prctl(PR_SET_VMA, 0, 1, 2, a])
                            ^ unbalanced ']'
prctl(PR_SET_VMA, 0, 1, 2, /* abc)
                           ^ the comment is not closed
prctl(PR_SET_VMA, 0, 1, 2, a /* abc)
                             ^ the comment is not closed
brk(0 /* abc)
      ^ expected ',' or ')' after an argument, found '/*'
brk(0) = 0 /* x
           ^ unexpected '/*'
brk(0) /* x */ = /* y */ 0 /* z */ x
                                   ^ unexpected 'x'
= brk(0)
^ expected a call such as munmap(0x1000, 0x1000)
a =
   ^ expected a call after 'a ='
a = 3
    ^ expected a call after 'a ='
a = b = brk(0)
      ^ expected '(' after 'b'
3
^ expected a call such as munmap(0x1000, 0x1000)
(0)
^ expected a call such as munmap(0x1000, 0x1000)
brk)
   ^ expected '(' after 'brk'
brk 0
    ^ expected '(' after 'brk'
brk(0x)
    ^ '0x' is not a number
brk(0xg)
    ^ '0xg' is not a number
brk(18446744073709551616)
    ^ the value does not fit in 64 bits
brk(-9223372036854775809)
    ^ the value does not fit in 64 bits
brk(1 + )
        ^ expected an address for addr, found ')'
brk(1 ? 2)
      ^ expected ',' or ')' after an argument, found '?'
brk(*)
    ^ expected an address for addr, found '*'
brk(a << 1)
      ^ '<<' takes numbers only
brk(1 << a)
      ^ '<<' takes numbers only
brk(1 << -1)
      ^ '<<' shifts by 0 to 63
brk(PROT_READ)
    ^ PROT_READ does not belong in addr (expected an address)
mmap(0, 1, zzz, 0, -1, 0)
           ^ unknown constant 'zzz'
mmap(0, 1, "x", 0, -1, 0)
           ^ prot is constants, not a string
mmap(0, 1, ), 0, -1, 0)
           ^ expected constants for prot, found ')'
mmap(0, 1, 0, 0, "x", 0)
                 ^ fd is a descriptor, not a string
mmap(0, 1, 0, 0, ), 0)
                 ^ expected a descriptor for fd, found ')'
mmap(0, 1, 0, 0, MAP_PRIVATE, 0)
                 ^ MAP_PRIVATE does not belong in fd (expected a descriptor)
mmap(0, 1, 0, 0, 3</a, 0)
                  ^ expected ',' or ')' after an argument, found '<'
mmap(0, 1, 0, 0, 12345678901</a>, 0)
                            ^ expected ',' or ')' after an argument, found '<'
madvise(0, 1, PROT_READ)
              ^ PROT_READ does not belong in advice (expected MADV_*)
madvise(0, 1, "x")
              ^ advice is constants, not a string
prctl(PR_SET_MEMORY_MERGE, )
                           ^ expected a number for arg2, found ')'
prctl("x")
      ^ option is constants, not a string
prctl(PR_SET_MEMORY_MERG, 1)
      ^ unknown constant 'PR_SET_MEMORY_MERG' (did you mean 'PR_SET_MEMORY_MERGE'?)
fork(1)
     ^ too many arguments: fork takes 0 arguments
clone3()
^ clone3 takes at least 1 argument (cl_args, …), got 0
clone()
^ clone takes at least 1 argument (flags, …), got 0
execve()
^ execve takes at least 1 argument (pathname, …), got 0
mremap(0, 1)
^ mremap takes 4 to 5 arguments (old_address, old_size, new_size, flags, [new_address]), got 2
mprotect(0, 1, 2, 0, 0, 0)
                  ^ too many arguments: mprotect takes 3 arguments (addr, len, prot)
brk(0) = 0x10000000000000000
         ^ the value does not fit in 64 bits
brk(0) = -1 EFOO
            ^ unknown errno 'EFOO' (did you mean 'ELOOP'?)
brk(0) = -1 (errno 12345)
         ^ which error? (expected such as -1 ENOMEM)
brk(0) = -1 (errno 512) x
         ^ which error? (expected such as -1 ENOMEM)
brk(0) = --1
         ^ expected a result: a number, -1 ERRNO, or ?
brk(0) = ? EFOO
           ^ unknown errno 'EFOO' (did you mean 'ELOOP'?)
brk(0) = ? x
           ^ unknown errno 'x'
brk(0) = 0 (a) (b)
           ^ unexpected '('
brk(0) = 0 (a) <0.1
           ^ unexpected '('
brk(0) = 0 <0.1> x
           ^ unexpected '<'
brk(0) = foo
         ^ expected a result: a number, -1 ERRNO, or ?
brk(0) =
        ^ expected a result: a number, -1 ERRNO, or ?
brk(0) 0
       ^ unexpected '0'
mbind(0, 1, 2, [0x1_0], 3, 0)
                ^ '0x1_0' is not a number
mbind(0, 1, 2, {a=08}, 3, 0)
                  ^ '08' is not a number
mbind(0, 1, 2, 99999999999999999999, 3, 0)
               ^ the value does not fit in 64 bits
mbind(0, 1, 2, {a=99999999999999999999}, 3, 0)
                  ^ the value does not fit in 64 bits
""".strip().splitlines()


@pytest.mark.parametrize(("text", "marked"), list(zip(MISTAKES[::2], MISTAKES[1::2], strict=True)))
def test_a_mistake_is_named_at_its_token(text: str, marked: str) -> None:
    with pytest.raises(CallError) as caught:
        parse_call(text)
    offset, message = len(marked) - len(marked.lstrip()), marked.lstrip(" ^")
    assert (caught.value.offset, caught.value.message) == (offset, message)


@pytest.mark.parametrize(
    "text",
    ["munmap(" + "(" * 100_000, "munmap(" + "(" * 60_000, "munmap(0, " + "-" * 60_000 + "1)",
     "munmap(0, " + "1+" * 20_000 + "1)", "munmap(0, a" + "+a" * 20_000 + ")",
     "prctl(" * 10_000, "clone(" + "[" * 60_000, "munmap(0, " + "9" * 60_000 + ")",
     "munmap(0, 1)" + " " * MAX_TEXT],
)  # fmt: skip
def test_size_and_nesting_are_bounded_by_an_error(text: str) -> None:
    with pytest.raises(CallError):
        parse_call(text)
