"""Structures as strace prints them: what is no number in them is no structure, and no error."""

from __future__ import annotations

import pytest

from vmatrace import structures


@pytest.mark.parametrize("number", ["٣", "08", "x", "0x", "1_0", "9" * 70, "0x" + "f" * 70, ""])
def test_what_is_no_number_is_no_structure(number: str) -> None:
    assert structures.uffdio_range(f"{{start={number}, len=4096}}") is None
    assert structures.uffdio_range(f"{{start=4096, len={number}}}") is None
    assert structures.iovec(f"[{{iov_base={number}, iov_len=1}}]") == []
    assert structures.soft_limit(f"{{rlim_cur={number}, rlim_max=1}}") is None
    assert structures.ring(f"[{number}]") is None
    assert structures.nodemask(f"[{number}]") == []


def test_numbers_are_those_of_c() -> None:
    assert structures.uffdio_range("{start=0x10, len=020}") == (16, 16)
    assert structures.iovec("[{iov_base=NULL, iov_len=3}]") == [(0, 3)]
    assert structures.soft_limit("{rlim_cur=8192*1024, rlim_max=1}") == 8192 * 1024
    assert structures.soft_limit("{rlim_cur=RLIM64_INFINITY}") == (1 << 64) - 1
    assert structures.nodemask("[0x1, 0000000000000000]") == [1, 0]
