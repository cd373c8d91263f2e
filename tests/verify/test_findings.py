"""From findings to a model: the nearest release, and what differs from it."""

from __future__ import annotations

import pytest

from vmatrace.kernels import FEATURES, KERNELS
from vmatrace.oracle import Unavailable
from vmatrace.verify.findings import conclude

RELEASES = [name for name in KERNELS if name[0].isdigit()]


@pytest.mark.parametrize("name", RELEASES)
def test_a_kernel_that_is_a_release_is_found_to_have_its_features(name: str) -> None:
    kernel = KERNELS[name]
    found = conclude({feature: feature in kernel.features for feature in FEATURES})
    assert found.kernel.features == kernel.features
    assert found.differing() == []


def test_a_feature_that_differs_is_switched() -> None:
    features = KERNELS["6.18"].features - {"anon-vma-name"}
    found = conclude({feature: feature in features for feature in FEATURES})
    assert (found.nearest.name, found.differing()) == ("6.18", ["anon-vma-name"])
    assert found.kernel.features == features


def test_what_is_undecided_is_as_in_the_nearest_release() -> None:
    kernel = KERNELS["6.18"]
    found = conclude({name: name in kernel.features for name in FEATURES} | {"mmap-prepare": None})
    assert "mmap-prepare" in found.kernel.features


def test_a_configuration_says_nothing_of_the_release() -> None:
    features = KERNELS["6.12"].features - {"ksm", "transparent-hugepage", "pkeys", "ksm-prctl"}
    found = conclude({name: name in features for name in FEATURES})
    assert found.nearest.name == "6.12"


def test_a_kernel_older_than_the_table_cannot_be_compared() -> None:
    found = dict.fromkeys(FEATURES, False) | {"ksm": True}
    with pytest.raises(Unavailable, match=r"older than 6\.4"):
        conclude(found)
