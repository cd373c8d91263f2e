"""What a trace may ask for that a machine has not, and what is said then."""

from __future__ import annotations

from pathlib import Path

import pytest

from vmatrace.kernels import KERNELS
from vmatrace.oracle import RunningKernel
from vmatrace.trace.file import Sysctl, Trace, load_trace
from vmatrace.verify import setting
from vmatrace.verify.skip import Skip

KERNEL = KERNELS["6.18"]
HERE = RunningKernel()
KNOBS = Sysctl(max_map_count=262144)


def trace(head: str = "", event: str = "munlockall()") -> Trace:
    return load_trace(f"vmatrace: 1\n{head}\nevents:\n  - {event}\n".encode())


def reason(asked: Trace, without: str = "") -> str:
    with pytest.raises(Skip) as skip:
        setting.check(asked, KERNEL.with_features([], [without] if without else []), HERE, KNOBS)
    return str(skip.value)


def test_an_ordinary_trace_can_start() -> None:
    setting.check(trace(), KERNEL, HERE, KNOBS)


def test_a_knob_at_its_default_is_the_machines_own() -> None:
    setting.check(trace("sysctl: {max_map_count: 65530}"), KERNEL, HERE, KNOBS)
    setting.check(trace("sysctl: {max_map_count: 262144}"), KERNEL, HERE, KNOBS)


def test_another_knob_is_a_reason() -> None:
    asked = trace("sysctl: {max_map_count: 3}")
    assert reason(asked) == "it wants vm.max_map_count=3, this machine has 262144"


def test_a_layout_of_its_own_is_a_reason() -> None:
    asked = trace("maps: |\n  10000000-10001000 rw-p 00000000 00:00 0")
    assert reason(asked).startswith("it starts with a layout of its own (maps:)")


def test_another_page_size_is_a_reason() -> None:
    assert "pages of 65536 bytes" in reason(trace("page_size: 65536"))


@pytest.mark.parametrize(
    ("head", "event"),
    [
        ("", "prctl(PR_SET_MEMORY_MERGE, 1, 0, 0, 0)"),
        ("", "madvise(0x10000000, PAGE_SIZE, MADV_MERGEABLE)"),
        ("process: {ksm: true}", "munlockall()"),
    ],
)
def test_ksm_is_a_reason_where_there_is_none(head: str, event: str) -> None:
    assert "CONFIG_KSM" in reason(trace(head, event), without="ksm")


def test_knobs_that_cannot_be_read_keep_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = {"max_map_count": "1234\n", "nr_hugepages": "what\n"}

    def read(path: str) -> str:
        if Path(path).name not in texts:
            raise FileNotFoundError(path)
        return texts[Path(path).name]

    monkeypatch.setattr(HERE, "read", read)
    assert setting.sysctls(HERE) == Sysctl(max_map_count=1234)
