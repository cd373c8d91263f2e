"""What the shell is told when a word is to be completed: names of each kind, or files."""

from __future__ import annotations

import pytest
from program import RunProgram

from vmatrace import schema
from vmatrace.kernels import FEATURES, KERNELS, point_releases


def completed(run: RunProgram, monkeypatch: pytest.MonkeyPatch, line: str) -> list[str]:
    monkeypatch.setenv("_VMATRACE_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", line)
    monkeypatch.setenv("COMP_CWORD", str(len(line.split()) - (not line.endswith(" "))))
    return run().out.split()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("vmatrace schema re", "plain,replay plain,report plain,report-csv"),
        ("vmatrace replay x --kernel po", "plain,post-patch"),
        ("vmatrace replay x --kernel run", "plain,running"),
        ("vmatrace check x -k a", "plain,all"),
        ("vmatrace check x -k pre", "plain,pre-patch"),
        ("vmatrace replay x --with ksm-p", "plain,ksm-prctl"),
        ("vmatrace replay x --without ksm-p", "plain,ksm-prctl"),
        ("vmatrace diff x --from pre", "plain,pre-patch"),
        ("vmatrace diff x --from nosuch", "file,nosuch"),
        ("vmatrace diff x --to 7.0.n", "file,7.0.n"),
        ("vmatrace replay tra", "file,tra"),
        ("vmatrace check tra", "file,tra"),
        ("vmatrace import str", "plain,strace"),
        ("vmatrace replay x --format js", "plain,json"),
        ("vmatrace audit --format s", "plain,svg"),
    ],
)
def test_a_word_is_completed(
    run: RunProgram, monkeypatch: pytest.MonkeyPatch, line: str, said: str
) -> None:
    assert completed(run, monkeypatch, line) == said.split()


def test_all_there_is_where_nothing_was_typed(
    run: RunProgram, monkeypatch: pytest.MonkeyPatch
) -> None:
    points = [point.name for row in KERNELS for point in point_releases(row)]
    models = [*KERNELS, *points, "running"]
    for line, names in (
        ("vmatrace schema ", [*schema.NAMES]),
        ("vmatrace replay x -k ", models),
        ("vmatrace check x -k ", ["all", *models]),
        ("vmatrace diff x --to ", models),
        ("vmatrace replay x --with ", [*FEATURES]),
    ):
        assert completed(run, monkeypatch, line) == [f"plain,{name}" for name in names]
