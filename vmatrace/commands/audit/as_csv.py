"""Audits as CSV: a row for the VMAs of one pattern, group and size class."""

from __future__ import annotations

from collections import Counter
from typing import Final, TextIO

from vmatrace import groups
from vmatrace.commands.audit.patterns import assigned
from vmatrace.commands.audit.question import Audit
from vmatrace.commands.form import Form
from vmatrace.groups import GroupKey
from vmatrace.render.csvform import Cell, Rows

SUFFIXES: Final = (".csv",)
COLUMNS: Final = (
    "source", "pid", "process", "max_map_count", "pattern", "perms", "mergeable", "backing",
    "name", "size_class", "vmas", "bytes", "ksm_resident", "ksm_merged", "ksm_zeros", "ksm_tracked",
    "ksm_records", "ksm_profit", "ksm_apart",
)  # fmt: skip

_Kind = tuple[str, GroupKey, int]


def form(out: TextIO, count: int) -> Form[Audit]:
    """One table of all snapshots; each VMA counts in one row."""
    return _Table(out, count)


class _Table(Form[Audit]):
    def __init__(self, out: TextIO, count: int) -> None:
        super().__init__(out, count)
        self._rows = Rows(out, COLUMNS, late=True)

    def write(self, answer: Audit) -> None:
        snapshot = answer.snapshot
        vmas: Counter[_Kind] = Counter()
        sizes: Counter[_Kind] = Counter()
        keys = groups.keys(snapshot.layout)
        for mapping, name, key in zip(
            snapshot.layout, assigned(snapshot.layout), keys, strict=True
        ):
            size = mapping.end - mapping.start
            kind = (name, key, groups.size_class(size))
            vmas[kind] += 1
            sizes[kind] += size
        bill = _bill(answer)
        for (name, key, size_class), count in vmas.most_common():
            self._rows.write({
                "source": snapshot.source,
                "pid": snapshot.pid,
                "process": snapshot.process,
                "max_map_count": answer.max_map_count,
                "pattern": name,
                "perms": key.perms,
                "mergeable": int(key.mergeable) if snapshot.flags_known else None,
                "backing": key.backing,
                "name": key.name,
                "size_class": size_class,
                "vmas": count,
                "bytes": sizes[name, key, size_class],
                **bill,
            })  # fmt: skip


def _bill(audit: Audit) -> dict[str, Cell]:
    """What KSM saves and costs all of the process: the same in each of its rows."""
    apart = audit.bill.apart if audit.snapshot.flags_known else None
    names = ("merged", "zeros", "tracked", "records", "profit")
    counted = {f"ksm_{name}": getattr(audit.bill.counters, name, None) for name in names}
    return {"ksm_resident": audit.bill.resident, **counted, "ksm_apart": apart}
