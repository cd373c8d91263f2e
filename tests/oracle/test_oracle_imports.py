"""The second opinion must not come from the first: the oracle knows nothing of the model."""

from __future__ import annotations

import ast
from pathlib import Path

from vmatrace import kernels, oracle
from vmatrace.oracle import probe

ALLOWED = {
    "vmatrace.abi", "vmatrace.calls", "vmatrace.event", "vmatrace.layout", "vmatrace.structures",
    "vmatrace.syscalls",
}  # fmt: skip


def imported(path: Path) -> set[str]:
    """Modules of vmatrace that the file imports."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module == "vmatrace":
            found.update(f"vmatrace.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            found.add(node.module)
    return {name for name in found if name.startswith("vmatrace")}


def test_the_oracle_imports_only_constants_events_and_layouts() -> None:
    for path in Path(oracle.__file__).parent.glob("*.py"):
        foreign = {n for n in imported(path) - ALLOWED if not n.startswith("vmatrace.oracle")}
        assert not foreign, path.name


def test_every_probed_feature_is_in_the_kernel_table() -> None:
    assert set(probe.NAMES) <= set(kernels.FEATURES)
