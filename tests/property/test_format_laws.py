"""Laws of every format: each line counted once, and a mangled input is read or refused in words."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mangle import LOGS, Inputs
from stracelogs import check_counts

from vmatrace.importers import formats, open_trace
from vmatrace.importers.format import Reading
from vmatrace.kernels import get_kernel
from vmatrace.replayer.run import replay

#: Of each kind of input, so many.
EACH = 60


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Inputs:
    return Inputs(tmp_path_factory.mktemp("mangled"))


def test_every_format_has_inputs_here() -> None:
    assert set(LOGS) == {form.name for form in formats()}


@pytest.mark.parametrize("name", LOGS)
def test_every_line_of_every_input_is_counted_once(name: str) -> None:
    for path in LOGS[name]:
        trace = open_trace(str(path), Reading(form=name))
        replay(trace, get_kernel("post-patch"))
        assert trace.notes is not None
        check_counts(trace.notes)


@settings(max_examples=EACH * 12)
@given(number=st.integers(0, 2**40))
def test_a_mangled_input_is_read_to_its_end_or_refused(inputs: Inputs, number: int) -> None:
    inputs.check(number)


@settings(max_examples=EACH)
@given(number=st.integers(0, 2**40))
@pytest.mark.parametrize("kind", ["saved", "samples", "snapshot", "trace"])
def test_what_is_no_log_is_too(inputs: Inputs, kind: str, number: int) -> None:
    inputs.check(number, kind)
