"""The running kernel answers as it did when the traces of tests/measured were made."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from program import MEASURED, ROOT

#: Root may lock what it likes; so the limit that a trace sets would not bind.
UNPRIVILEGED = ["setpriv", "--bounding-set", "-ipc_lock"] if os.geteuid() == 0 else []


@pytest.mark.parametrize("path", MEASURED, ids=lambda path: path.stem)
def test_a_measurement_is_repeatable(path: Path) -> None:
    done = subprocess.run(
        [*UNPRIVILEGED, sys.executable, "-m", "vmatrace", "verify", str(path)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout.startswith("exact"), done.stdout + done.stderr
