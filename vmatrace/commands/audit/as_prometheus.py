"""Audits as metrics of Prometheus, in its text format (version 0.0.4): for a textfile collector."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, NamedTuple, TextIO

from vmatrace.commands.audit.question import Audit
from vmatrace.commands.form import Form
from vmatrace.escape import visible

SUFFIXES: Final = (".prom",)


#: Labels beside those of the process, and the value.
_Values = Iterator[tuple[dict[str, str], int]]


class _Metric(NamedTuple):
    name: str
    meaning: str
    values: Callable[[Audit], _Values]


def _one(
    value: Callable[[Audit], int | None],
) -> Callable[[Audit], _Values]:
    def values(audit: Audit) -> _Values:
        found = value(audit)
        if found is not None:
            yield {}, found

    return values


def _counted(name: str) -> Callable[[Audit], _Values]:
    """A counter of ksmd, of a process where it may be read."""
    return _one(lambda audit: getattr(audit.bill.counters, name, None))


_METRICS: Final = (
    _Metric("vmatrace_vmas", "VMAs that the process has.", _one(lambda audit: audit.vmas)),
    _Metric(
        "vmatrace_max_map_count", "The limit of VMAs, sysctl vm.max_map_count.",
        _one(lambda audit: audit.max_map_count),
    ),
    _Metric("vmatrace_headroom_vmas", "VMAs up to the limit.", _one(lambda audit: audit.headroom)),
    _Metric(
        "vmatrace_mergeable_vmas", "VMAs with VM_MERGEABLE.",
        _one(lambda audit: audit.mergeable if audit.snapshot.flags_known else None),
    ),
    _Metric(
        "vmatrace_savable_vmas", "VMAs less if neighbours that look alike were one.",
        _one(lambda audit: audit.savable),
    ),
    _Metric(
        "vmatrace_ksm_vmas", "VMAs that are likely there for KSM's sake alone.",
        _one(lambda audit: audit.bill.apart if audit.snapshot.flags_known else None),
    ),
    _Metric("vmatrace_ksm_merged_pages", "Pages that ksmd has merged.", _counted("merged")),
    _Metric(
        "vmatrace_ksm_zero_pages", "Pages that ksmd has replaced by the page of zeros.",
        _counted("zeros"),
    ),
    _Metric(
        "vmatrace_ksm_profit_bytes", "What KSM saves less what it needs, as the kernel reckons.",
        _counted("profit"),
    ),
    _Metric(
        "vmatrace_pattern_vmas", "VMAs of one pattern; each VMA is of one.",
        lambda audit: (({"pattern": use.name}, use.vmas) for use in audit.patterns),
    ),
)  # fmt: skip


def form(out: TextIO, count: int) -> Form[Audit]:
    """All snapshots, metric by metric: the format wants the samples of one together."""
    return _Metrics(out, count)


class _Metrics(Form[Audit]):
    def __init__(self, out: TextIO, count: int) -> None:
        super().__init__(out, count)
        self._lines: dict[str, list[str]] = {metric.name: [] for metric in _METRICS}

    def write(self, answer: Audit) -> None:
        snapshot = answer.snapshot
        own = {"source": snapshot.source} if snapshot.pid is None else {
            "pid": str(snapshot.pid), "process": snapshot.process}  # fmt: skip
        for metric in _METRICS:
            for labels, value in metric.values(answer):
                text = ",".join(
                    f'{name}="{_escaped(of)}"' for name, of in {**own, **labels}.items()
                )
                self._lines[metric.name].append(f"{metric.name}{{{text}}} {value}\n")

    def finish(self) -> None:
        for metric in (metric for metric in _METRICS if self._lines[metric.name]):
            self.out.write(f"# HELP {metric.name} {metric.meaning}\n# TYPE {metric.name} gauge\n")
            self.out.writelines(self._lines[metric.name])


def _escaped(text: str) -> str:
    """*text* as the value of a label."""
    return visible(text).replace("\\", "\\\\").replace('"', '\\"')
