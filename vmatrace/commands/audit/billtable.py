"""KSM's bill as text: what is merged, and what that costs."""

from __future__ import annotations

from vmatrace.commands.audit.bill import KsmCounters
from vmatrace.commands.audit.pages.contents import PAGE_SIZE
from vmatrace.commands.audit.question import Audit
from vmatrace.render import words
from vmatrace.render.paper import Paper


def write(paper: Paper, audit: Audit) -> None:
    """Nothing where KSM does nothing and costs nothing; of a process, how to find out more."""
    bill = audit.bill
    counters = bill.counters
    if bill.none:
        if counters is not None and counters.by_default is False:
            paper.line("")
            paper.paragraph(
                f"KSM is off here; vmatrace audit --pages {audit.snapshot.pid} says what it would "
                "save and cost.", "quiet",
            )  # fmt: skip
        return
    paper.line("")
    default = counters.by_default if counters is not None else None
    state = {True: " (by default)", False: " (madvise alone)", None: ""}[default]
    paper.line((f"KSM{state}", "title"))
    if counters is not None:
        paper.paragraph(_saved(counters), "good", "  saves     ", " " * 12)
        if not bill.ksmd:
            stopped = "ksmd is not running (/sys/kernel/mm/ksm/run): nothing more is merged"
            paper.paragraph(stopped, "warning", " " * 12, " " * 12)
    elif bill.resident is not None:
        paper.paragraph(f"{words.size(bill.resident)} merged", "good", "  saves     ", " " * 12)
    costs = [f"{words.plural(bill.apart, 'VMA')} of {audit.vmas}, headroom {audit.headroom}"]
    if counters is not None:
        records = f"{words.size(counters.records)} for ksmd's records"
        costs.append(f"{records} of {words.plural(counters.tracked, 'page')}")
    style = "warning" if bill.apart else ""
    paper.paragraph("; ".join(costs), style, "  costs     ", " " * 12)


def _saved(counters: KsmCounters) -> str:
    merged = f"{words.plural(counters.merged, 'page')} merged ({_size(counters.merged)})"
    zeros = ""
    if counters.zeros:
        zeros = f", {words.plural(counters.zeros, 'page')} of zeros ({_size(counters.zeros)})"
    sign = "-" if counters.profit < 0 else ""
    profit = f"{sign}{words.size(abs(counters.profit))}"
    return f"{merged}{zeros}; profit {profit}, as the kernel reckons it"


def _size(pages: int) -> str:
    return words.size(pages * PAGE_SIZE)
