"""Two images of one release are told apart by their paths."""

from __future__ import annotations

import pytest

from vmatrace.commands.diff import realkernel
from vmatrace.commands.diff.realkernel import RealKernel, tell_apart
from vmatrace.oracle import KernelDied

BZIMAGE = "arch/x86/boot/bzImage"


class _Machine:
    def __init__(self, release: str) -> None:
        self.release = release


def named(monkeypatch: pytest.MonkeyPatch, *sides: tuple[str, str]) -> list[str]:
    """The names of the kernels of (image, release) when they are compared."""
    machines = iter(_Machine(release) for _, release in sides)
    monkeypatch.setattr(realkernel, "open_machine", lambda image: next(machines))
    real = [RealKernel(image) for image, _ in sides]
    tell_apart(real)
    return [kernel.name for kernel in real]


@pytest.mark.parametrize(
    ("from_", "to", "expected"),
    [
        (f"boot:/src/old/{BZIMAGE}", f"boot:/src/new/{BZIMAGE}", ["7.3.0+ (old)", "7.3.0+ (new)"]),
        ("boot:old", "boot:new", ["7.3.0+ (old)", "7.3.0+ (new)"]),
        ("boot:/a/bzImage", "boot:/a/b/bzImage", ["7.3.0+ (/a/bzImage)", "7.3.0+ (/a/b/bzImage)"]),
        ("boot:/a/bzImage", "boot:/a/bzImage", ["7.3.0+", "7.3.0+"]),
        ("running", "boot:/a/bzImage", ["7.3.0+", "7.3.0+"]),
    ],
    ids=["two trees", "two files", "one below the other", "itself", "the running one"],
)
def test_kernels_of_one_release_have_names_of_their_own(
    from_: str, to: str, expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert named(monkeypatch, (from_, "7.3.0+"), (to, "7.3.0+")) == expected


def test_kernels_of_two_releases_keep_their_names(monkeypatch: pytest.MonkeyPatch) -> None:
    assert named(monkeypatch, ("boot:a", "7.2.0"), ("boot:b", "7.3.0")) == ["7.2.0", "7.3.0"]


def test_a_kernel_that_does_not_come_up_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def dies(image: str) -> None:
        raise KernelDied("panicked", ["last words"])

    monkeypatch.setattr(realkernel, "open_machine", dies)
    with pytest.raises(KernelDied, match=r"^of bzImage panicked$") as died:
        RealKernel("boot:bzImage")
    assert died.value.console == ["last words"]
