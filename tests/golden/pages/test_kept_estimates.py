"""What is printed of KSM by default: its saving and its cost. ``--update-golden`` rewrites it."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Final

import pytest
from program import check_golden

from vmatrace.commands.audit.pages import as_csv, as_json, as_markdown, as_table
from vmatrace.commands.audit.pages.classes import KsmSettings, Sharing
from vmatrace.commands.audit.pages.cost import Added
from vmatrace.commands.audit.pages.question import Contents, Estimate
from vmatrace.render.paper import Paper

HERE: Final = Path(__file__).parent
ADDED: Final = [Added("6.12", 3, 9), Added("6.18", 0, 0)]
DB: Final = Contents(7, "db", 1000, 900, 5, 50, 7, Sharing(300, 40), 20, 65530, ADDED)
WEB: Final = Contents(8, "web worker", 500, 500, 0, 0, 0, Sharing(100, 90), 20, 22, ADDED)
NONE: Final = Contents(9, "", 0, 0, 0, 0, 0, Sharing(), 1, 65530, ADDED)
LOSS: Final = Contents(10, "idle", 100, 100, 1, 0, 1, Sharing(2, 1), 3, 65530, ADDED[1:])
ESTIMATES: Final = {
    "one": Estimate([DB], DB.sharing, Sharing(50, 1), 0, 1.0, KsmSettings()),
    "sampled": Estimate(
        [DB, WEB, NONE], Sharing(450, 100, 12), Sharing(50, 1, 3), 30, 0.2, KsmSettings(64, True)
    ),
    "nothing": Estimate([NONE], Sharing(), Sharing(), 0, 1.0, KsmSettings()),
    "loss": Estimate([LOSS], LOSS.sharing, Sharing(), 1, 1.0, KsmSettings()),
}


@pytest.mark.parametrize("name", ESTIMATES)
def test_what_is_printed_is_what_is_kept(name: str, request: pytest.FixtureRequest) -> None:
    found = ESTIMATES[name]
    out = io.StringIO()
    as_table.write(Paper(out, 80), found)
    for module in (as_json, as_csv, as_markdown):
        out.write("\n")
        form = module.form(out, 1)
        form.write(found)
        form.finish()
    text = out.getvalue().replace("\r", "")
    check_golden(HERE / f"{name}.txt", text, request.config.getoption("--update-golden"))
