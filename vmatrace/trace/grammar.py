"""The grammar of a call string: ``[label =] name(arg, …) [= result]``, as strace prints it.

A recursive-descent parser that accepts all of the grammar and words every error.
Knows the table of calls and the constants; does not know which labels or files exist.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from vmatrace import abi
from vmatrace.calls import CALLS, Call, Param
from vmatrace.diagnostic import quoted, suggestion
from vmatrace.event import Arg, Expr, ExprTree, Fd
from vmatrace.trace.tokens import TOKEN, CallError, Tokens, check_range, number, unescaped

#: Deepest parentheses and most operators of one argument.
MAX_DEPTH: Final = 32
MAX_OPERATORS: Final = 100

_FD_WITH_PATH: Final = re.compile(
    r"(?P<number>-?[0-9]{1,10})<(?P<path>[^\n]*?)>(?P<deleted>\(deleted\))?(?: \[[^\[\]]*\])?"
    r"(?=\s*(?:[,)]|\Z))"
)
_DEVICE_SUFFIX: Final = re.compile(r"<(?:char|block) [^<>]*>\Z")  # -yy: 3</dev/fuse<char 10:229>>
_RESULT_NOTE: Final = re.compile(r"(?:\s*\([^()]*\))?(?:\s*<[0-9.]+>)?\s*\Z")
_ERRNO_NUMBER: Final = re.compile(r"\(errno ([0-9]{1,4})\)\s*\Z")
_PRECEDENCE: Final = {"|": 1, "<<": 2, "+": 3, "-": 3, "*": 4}
#: Names that are numbers in every position. strace prints 21<<MAP_HUGE_SHIFT for a page size.
NUMBERS: Final = {"NULL": 0, "MAP_HUGE_SHIFT": abi.MAP_HUGE_SHIFT}
_LABEL_KINDS: Final = ("addr", "size", "int", "fd")
_NOUN: Final = {
    "addr": "an address", "size": "a size", "int": "a number", "flags": "constants",
    "fd": "a descriptor", "text": "a string", "any": "a value",
}  # fmt: skip


class ParsedCall(NamedTuple):
    """One call string, read.

    ``text`` is the call alone, as written, without label and result. ``symbolic`` says that an
    argument is an Expr or names a file, so that the names in it still have to be looked up.
    """

    label: str | None
    name: str
    args: tuple[Arg, ...]
    recorded: int | None
    symbolic: bool
    text: str


def is_reserved(name: str) -> bool:
    """Whether *name* means something already, so that no label or file may be called so."""
    return name == "PAGE_SIZE" or name in NUMBERS or name in abi.CONSTANTS


def shown_path(path: str, deleted: str | None) -> str:
    """The path that strace -y prints in angle brackets, *deleted* behind them: as /proc has it."""
    return unescaped(_DEVICE_SUFFIX.sub("", path)) + (" (deleted)" if deleted else "")


def is_symbolic(arg: Arg) -> bool:
    """Whether *arg* mentions a label or a file by name."""
    return isinstance(arg, Expr) or (isinstance(arg, Fd) and isinstance(arg.key, str))


class Grammar(Tokens):
    """Reads one text of a trace whose page size is *page_size* bytes."""

    def __init__(self, text: str, page_size: int) -> None:
        super().__init__(text)
        self.page_size = page_size
        self._operators = 0

    # --- the whole call ---------------------------------------------------------------------

    def call(self) -> ParsedCall:
        """``[label =] name(arg, …) [= result]``, to the end of the text."""
        start, name = self._name("expected a call such as munmap(0x1000, 0x1000)")
        label = None
        if self._accept("="):
            label = name
            if is_reserved(label):
                raise CallError(start, f"{quoted(label)} is a constant and cannot be a label")
            start, name = self._name(f"expected a call after '{label} ='")
        call = CALLS.get(name)
        if self._peek() != "(":
            hint = "" if call else suggestion(name, CALLS)
            raise CallError(self.position, f"expected '(' after {quoted(name)}{hint}")
        if call is None:
            raise CallError(start, f"unknown call {quoted(name)}{suggestion(name, CALLS)}")
        args = self._arguments(call, start)
        written = self.text[start : self.position]
        recorded = self.result() if self._accept("=") else None
        self.end()
        return ParsedCall(label, name, args, recorded, any(map(is_symbolic, args)), written)

    def _arguments(self, call: Call, start: int) -> tuple[Arg, ...]:
        args: list[Arg] = []
        self._expect("(")
        closed = self._accept(")")
        while not closed:
            if len(args) < len(call.params):
                args.append(self.argument(call.params[len(args)]))
            elif call.variadic:
                args.append(self._opaque())
            else:
                self._space()
                raise CallError(self.position, f"too many arguments: {_signature(call)}")
            closed = self._accept(")")
            if not closed:
                self._expect(",", "expected ',' or ')' after an argument")
        if len(args) < call.required:
            raise CallError(start, f"{_signature(call)}, got {len(args)}")
        return tuple(args)

    def argument(self, param: Param) -> Arg:
        """One argument in the position of *param*, up to the comma or parenthesis after it."""
        self._space()
        self._operators = 0
        if param.kind == "any":
            return self._any()
        if self.text.startswith('"', self.position):
            if param.kind != "text":
                raise CallError(self.position, f"{param.name} is {_NOUN[param.kind]}, not a string")
            return self._string()
        if param.kind == "fd" and (match := _FD_WITH_PATH.match(self.text, self.position)):
            self.position = match.end()
            return Fd(int(match["number"]), shown_path(match["path"], match["deleted"]))
        start = self.position
        tree = self._expression(param)
        if isinstance(tree, int):
            return check_range(tree, start)
        if param.kind == "fd" and isinstance(tree, str):
            return Fd(tree)
        return Expr(tree, self.text[start : self.position].strip())

    # --- results ----------------------------------------------------------------------------

    def result(self) -> int | None:
        """What strace prints after ``=``: a number, ``-1 ERRNO (text)``, or ``?``; to the end."""
        value = self._result()
        if match := _RESULT_NOTE.match(self.text, self.position):
            self.position = match.end()
        self.end()
        return value

    def _result(self) -> int | None:
        self._space()
        start = self.position
        if self._accept("?"):
            self._errno()
            return None
        negative = self._accept("-")
        self._space()
        kind, token = self._next()
        if kind != "number":
            raise CallError(start, "expected a result: a number, -1 ERRNO, or ?")
        value = number(token, self.position - len(token))
        if not negative:
            return check_range(value, start)
        errno = self._errno()
        if errno is None and value == 1:
            raise CallError(start, "which error? (expected such as -1 ENOMEM)")
        if not 0 < value < 4096:
            raise CallError(start, f"-{value} is not a result (expected such as -1 ENOMEM)")
        return -(errno or value)

    def _errno(self) -> int | None:
        self._space()
        if match := _ERRNO_NUMBER.match(self.text, self.position):
            return int(match[1])
        match = TOKEN.match(self.text, self.position)
        if match is None or match.lastgroup != "name":
            return None
        name = match[0]
        errno = abi.ERRNO.get(name)
        if errno is None:
            raise CallError(
                self.position, f"unknown errno {quoted(name)}{suggestion(name, abi.ERRNO)}"
            )
        self.position = match.end()
        return errno

    # --- expressions ------------------------------------------------------------------------

    def expression(self) -> int | Expr:
        """An address or size expression that is the whole text."""
        param = Param("the value", "addr")
        value = self.argument(param)
        self.end()
        assert isinstance(value, (int, Expr))
        return value

    def _expression(self, param: Param, level: int = 1, depth: int = 0) -> ExprTree:
        left = self._operand(param, depth)
        while (operator := self._operator()) and _PRECEDENCE[operator] >= level:
            start = self.position
            self._operators += 1
            if self._operators > MAX_OPERATORS:
                raise CallError(start, f"more than {MAX_OPERATORS} operators in one argument")
            self.position += len(operator)
            right = self._expression(param, _PRECEDENCE[operator] + 1, depth)
            left = _combine(operator, left, right, start)
        return left

    def _operator(self) -> str:
        token = self._peek()
        return token if token in _PRECEDENCE else ""

    def _operand(self, param: Param, depth: int) -> ExprTree:
        if depth > MAX_DEPTH:
            raise CallError(self.position, f"parentheses nested deeper than {MAX_DEPTH}")
        self._space()
        start = self.position
        kind, token = self._next()
        if kind == "number":
            return number(token, start)
        if kind == "name":
            return self._named(token, start, param)
        if token == "-":
            return _combine("-", 0, self._operand(param, depth + 1), start)
        if token == "(":
            value = self._expression(param, 1, depth + 1)
            self._expect(")")
            return value
        self.position = start
        found = quoted(token) if token else "the end"
        raise CallError(start, f"expected {_NOUN[param.kind]} for {param.name}, found {found}")

    def _named(self, name: str, start: int, param: Param) -> ExprTree:
        if name == "PAGE_SIZE":
            return self.page_size
        if name in NUMBERS:
            return NUMBERS[name]
        value = abi.CONSTANTS.get(name)
        families = " or ".join(family + "*" for family in param.families)
        if value is None:
            if param.kind in _LABEL_KINDS and not name.startswith(param.families or ("\0",)):
                return name
            known = [c for c in abi.CONSTANTS if c.startswith(param.families)] or abi.CONSTANTS
            raise CallError(start, f"unknown constant {quoted(name)}{suggestion(name, known)}")
        if param.families:
            if not name.startswith(param.families) and param.kind != "any":
                raise CallError(
                    start, f"{name} does not belong in {param.name} (expected {families})"
                )
        elif param.kind in ("addr", "size", "fd"):
            raise CallError(start, f"{name} does not belong in {param.name} "
                            f"(expected {_NOUN[param.kind]})")  # fmt: skip
        return value

    def _any(self) -> Arg:
        """A number where it is one, otherwise the text as written."""
        start = self.position
        try:
            tree = self._expression(_ANY)
            if isinstance(tree, int) and self._peek() in (",", ")", ""):
                return check_range(tree, start)
        except CallError:
            pass
        self.position = start
        text = self._opaque()
        for match in TOKEN.finditer(text):
            if match.lastgroup == "number":  # also in braces: whoever reads it there relies on it
                number(match[0], start + match.start())
        return text


_ANY: Final = Param("the value", "any", ())


def _combine(operator: str, left: ExprTree, right: ExprTree, start: int) -> ExprTree:
    if not (isinstance(left, int) and isinstance(right, int)):
        if operator == "<<":
            raise CallError(start, "'<<' takes numbers only")
        return (operator, left, right)
    if operator == "<<":
        if not 0 <= right < 64:
            raise CallError(start, "'<<' shifts by 0 to 63")
        return left << right
    if operator == "+":
        return left + right
    if operator == "-":
        return left - right
    return left * right if operator == "*" else left | right


def _signature(call: Call) -> str:
    """``mprotect takes 3 arguments (addr, len, prot)``."""
    names = ", ".join(f"[{p.name}]" if p.optional else p.name for p in call.params)
    count, most = call.required, len(call.params)
    amount = f"{count} to {most}" if most > count else f"{count}"
    plural = "" if amount == "1" else "s"
    if call.variadic:
        return f"{call.name} takes at least {amount} argument{plural} ({names}, …)"
    return f"{call.name} takes {amount} argument{plural} ({names})".replace(" ()", "")
