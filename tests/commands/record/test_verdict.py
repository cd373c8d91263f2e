"""What `record` says of what it recorded, and of its check."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from vmatrace.commands.record import command, words
from vmatrace.commands.record.output import Output
from vmatrace.kernels import get_kernel
from vmatrace.record.session import Recorded

MAP = "mmap(0x10000, 4096, PROT_READ, MAP_PRIVATE|MAP_ANONYMOUS|MAP_FIXED, -1, 0)"
RIGHT, WRONG = f"  - {MAP} = 0x10000\n", f"  - {MAP} = -1 ENOMEM\n"
#: 6.18 has one VMA; what a trace expects of another kernel is taken for this one's.
HOLDS, FAILS = "  - expect: {on: pre-patch, vmas: 1}\n", "  - expect: {on: pre-patch, vmas: 2}\n"


def recorded(layouts: int = 1) -> Recorded:
    return Recorded(2, 0, 1, layouts, 0, 0, (), (), (), (), 0)


@pytest.mark.parametrize(
    ("events", "said"),
    [
        (RIGHT + HOLDS, "check: exact, 1 layout and every result"),
        (WRONG + HOLDS, "check: 0 of 1 layout and 1 result differ (- recorded, + modelled)"),
        (RIGHT + FAILS, "check: 1 of 1 layout and 0 results differ (- recorded, + modelled)"),
        (WRONG + FAILS, "check: 1 of 1 layout and 1 result differ (- recorded, + modelled)"),
    ],
)
def test_exact_is_what_has_every_layout_and_every_result(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], events: str, said: str
) -> None:
    path = tmp_path / "t.yaml"
    path.write_text(f"vmatrace: 1\nname: t\nevents:\n{events}", encoding="utf-8")
    exact = command._check(Output(str(path)), recorded(), get_kernel("6.18"))
    err = capsys.readouterr().err
    assert err.splitlines()[-1] == f"vmatrace: {said}"
    assert exact == ("exact" in said)
    assert (f"{path}:4: {MAP}: recorded -1 ENOMEM" in err) == (WRONG in events)


@pytest.mark.parametrize(("count", "said"), [(0, []), (1, ["1 program"]), (2, ["2 programs"])])
def test_programs_whose_calls_are_not_in_the_trace_are_said_to_be_none_of_it(
    count: int, said: list[str]
) -> None:
    remarks = words.remarks(replace(recorded(), foreign=("/bin/old",) * count))
    middle = " of 32 bits, or not readable to this user, whose memory calls are not in the trace: "
    assert [remark.split(middle) for remark in remarks] == [[text, "/bin/old"] for text in said]


def test_what_is_not_followed_is_named_each_once_and_not_without_end() -> None:
    named = tuple(f"call{i % 12}() of main" for i in range(24))
    (remark,) = words.remarks(replace(recorded(), unfollowed=named))
    assert remark.endswith("call9() of main and 2 more")
