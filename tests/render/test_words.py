"""The words say everything, and say it right."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmatrace import abi
from vmatrace.engine.merge import NOTHING_THERE, Blocker, blockers
from vmatrace.render import words

_UNITS = {"B": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


def test_every_blocker_has_a_sentence_of_its_own() -> None:
    assert set(words.SENTENCES) == set(Blocker)
    assert len(set(words.SENTENCES.values())) == len(Blocker)


@given(st.integers(0, (1 << len(Blocker)) - 1))
def test_every_reason_where_a_vma_touches_is_said(mask: int) -> None:
    said = words.reasons(mask, "", (1, 2), same_path=False)
    for reason in Blocker:
        expected = reason in blockers(mask & ~NOTHING_THERE)
        assert (words.SENTENCES[reason] in said) == expected


def test_an_unwritten_side_is_not_called_written() -> None:
    assert "only one was written" in words.reasons(Blocker.ANON_VMA, "", (0, 3), same_path=False)


def test_one_path_opened_twice_is_told_from_two_files() -> None:
    assert "opened twice" in words.reasons(Blocker.FILE, "", (0, 0), same_path=True)


@pytest.mark.parametrize(
    ("bit", "text"),
    [
        (abi.VM_MERGEABLE, "mg (VM_MERGEABLE)"),
        (abi.VM_MAYWRITE, "mw (VM_MAYWRITE)"),
        (abi.VM_SEALED, "sl (VM_SEALED)"),
    ],
)
def test_a_flag_has_its_code_and_its_name(bit: int, text: str) -> None:
    assert words.flag(bit) == text


@given(st.integers(0, (1 << 64) - 1))
def test_no_flag_of_a_difference_goes_unsaid(mask: int) -> None:
    said = words.flags(mask)
    for bit, code in abi.VM_FLAG_CODES.items():
        assert (f"{code} (" in said) == bool(mask & bit)
    assert ("protection key" in said) == bool(mask & abi.VM_PKEY_MASK)


def test_a_difference_says_who_has_the_flag() -> None:
    both = abi.VM_READ | abi.VM_WRITE
    said = words.flag_difference(
        abi.VM_MERGEABLE | abi.VM_LOCKED,
        both | abi.VM_MERGEABLE, both | abi.VM_LOCKED, ("above", "below"),
    )  # fmt: skip
    assert said == "mg (VM_MERGEABLE) only above; lo (VM_LOCKED) only below"


@given(st.integers(0, 1 << 48).map(lambda pages: pages << 12))
def test_a_size_is_exact_or_has_a_decimal_and_is_near(count: int) -> None:
    text = words.size(count)
    match = re.fullmatch(r"(\d+)(\.\d)?([BKMGT])", text)
    assert match is not None
    value = float(match[1] + (match[2] or ""))
    unit = _UNITS[match[3]]
    if match[2]:
        assert abs(value * unit - count) <= 0.06 * unit
    else:
        assert value * unit == count


@pytest.mark.parametrize(
    ("count", "text"),
    [(12 << 10, "12K"), (2 << 20, "2M"), (2052 << 10, "2052K"), (1 << 30, "1G"), (0, "0B")],
)
def test_sizes_as_people_say_them(count: int, text: str) -> None:
    assert words.size(count) == text
