"""The file that a recording goes to where nobody named one."""

from __future__ import annotations

from pathlib import Path

import pytest

from vmatrace.commands.record.command import _free


def test_the_first_name_that_is_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for expected in ("sort.trace.yaml", "sort-2.trace.yaml", "sort-3.trace.yaml"):
        assert _free("sort") == expected
        Path(expected).symlink_to("nowhere")
    Path("sort-2.trace.yaml").unlink()
    assert _free("sort") == "sort-2.trace.yaml"
