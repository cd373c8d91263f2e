"""Every test here asks the running kernel; where it cannot be asked, the reason is shown."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from vmatrace.oracle import Sandbox, Unavailable


@pytest.fixture(scope="session", autouse=True)
def oracle() -> None:
    """Skips the tests of this directory where the oracle cannot work."""
    try:
        Sandbox().close()
    except Unavailable as reason:
        pytest.skip(str(reason))


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox() as opened:
        yield opened
