"""How far a campaign is, as a bar on a terminal."""

from __future__ import annotations

import sys
from typing import Any

from vmatrace.verify.campaign import Campaign, Total


class Progress:
    """A bar on standard error while a campaign runs: on a terminal only, after a second."""

    def __init__(self, campaign: Campaign) -> None:
        self._campaign = campaign
        self._wanted = sys.stderr.isatty()
        self._bar: Any = None

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def reached(self, total: Total) -> None:
        """Show how far it is."""
        if not self._wanted or total.seconds < 1:
            return
        if self._bar is None:
            self._bar = self._open()
        rate = f"{total.events / total.seconds:,.0f} events/s"
        task = self._bar.task_ids[0]
        self._bar.update(task, completed=total.programs, description=rate, refresh=True)

    def _open(self) -> Any:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        bar = Bar(
            TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(),
            TimeRemainingColumn(), console=Console(stderr=True), transient=True,
            auto_refresh=False,
        )  # fmt: skip
        bar.add_task("", total=self._campaign.programs)
        bar.start()
        return bar
