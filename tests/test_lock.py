"""The lock holds what pyproject.toml asks for, by hash, and names no place to get it from."""

from __future__ import annotations

import re
import sys

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from program import ROOT

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
EXTRAS = PROJECT["project"]["optional-dependencies"]
#: Each lock, and the extras that are installed from it.
LOCKS = {"lock.txt": ("dev", "zstd"), "lock-docs.txt": ("docs",)}
PYTHONS = ["3.10", "3.11", "3.12", "3.13", "3.14"]


def text(lock: str) -> str:
    return (ROOT / ".ci" / lock).read_text(encoding="utf-8")


def locked(lock: str, python: str) -> dict[str, str]:
    """The version of each package that the lock has for *python*."""
    environment = {"python_version": python, "python_full_version": f"{python}.0"}
    found = {}
    for line in re.findall(r"^[a-z0-9].*(?= \\$)", text(lock), re.MULTILINE):
        asked = Requirement(line)
        if asked.marker is None or asked.marker.evaluate(environment):
            assert asked.name not in found, line
            (version,) = asked.specifier
            assert version.operator == "=="
            found[asked.name] = version.version
    return found


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("lock", LOCKS)
def test_it_has_a_version_in_range_of_all_that_is_asked_for(lock: str, python: str) -> None:
    has = locked(lock, python)
    wanted = [line for extra in LOCKS[lock] for line in EXTRAS[extra]]
    for line in PROJECT["project"]["dependencies"] + wanted:
        asked = Requirement(line)
        if asked.marker is None or asked.marker.evaluate({"python_version": python}):
            assert asked.specifier.contains(has[canonicalize_name(asked.name)]), line


@pytest.mark.parametrize("python", PYTHONS)
def test_what_two_locks_have_is_the_same_version(python: str) -> None:
    first, second = (locked(lock, python) for lock in LOCKS)
    assert {name: first[name] for name in first.keys() & second.keys()} == {
        name: second[name] for name in first.keys() & second.keys()
    }


@pytest.mark.parametrize("lock", LOCKS)
def test_every_package_has_hashes_and_none_a_place(lock: str) -> None:
    for entry in re.split(r"\n(?=[a-z0-9])", text(lock))[1:]:
        assert "--hash=sha256:" in entry, entry
    assert re.search(r"://|index|find-links|^-", text(lock), re.MULTILINE) is None


def test_the_build_backend_is_among_what_is_locked() -> None:
    assert set(PROJECT["build-system"]["requires"]) <= set(EXTRAS["dev"])


def test_every_supported_python_is_named() -> None:
    named = re.findall(r"Python :: (3\.\d+)", "\n".join(PROJECT["project"]["classifiers"]))
    assert named == PYTHONS
