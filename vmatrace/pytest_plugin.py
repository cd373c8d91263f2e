"""The pytest plugin: trace files as tests, where ``--vmatrace`` or the ini option asks for them.

Every pytest run beside an installed vmatrace imports this module, so it loads nothing and does
nothing until then.
"""

from __future__ import annotations

from pathlib import Path

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """The flag, the ini option that stands for it, and the choice of models."""
    group = parser.getgroup("vmatrace", "memory traces")
    group.addoption("--vmatrace", action="store_true", help="collect trace files (*.yaml) as tests")
    group.addoption(
        "--vmatrace-kernel", metavar="MODEL", action="append", default=[],
        help="check traces under this kernel model, or all; may be repeated. [default: those that "
        "vmatrace check takes]",
    )  # fmt: skip
    group.addoption(
        "--vmatrace-allow", metavar="KIND", action="append", default=[],
        help="what is no error: no-expectations (a trace that expects nothing), uncovered (an "
        "expectation about no kernel model); may be repeated",
    )  # fmt: skip
    parser.addini("vmatrace_allow", "as --vmatrace-allow", type="args", default=[])
    parser.addini("vmatrace", "collect trace files (*.yaml) as tests", type="bool", default=False)


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """A trace file as a collector, None for every other file."""
    config = parent.config
    if file_path.suffix != ".yaml" or not (
        config.getoption("--vmatrace") or config.getini("vmatrace")
    ):
        return None
    from vmatrace.pytest_items import TraceFile, is_trace

    return TraceFile.from_parent(parent, path=file_path) if is_trace(file_path) else None
