"""The samples of a process as one answer: ``VmaSeries``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vmatrace import kernels
from vmatrace.commands.audit import question
from vmatrace.commands.audit.question import Audit
from vmatrace.commands.audit.watch.forecast import Forecast, forecast
from vmatrace.commands.audit.watch.ratchet import Ratchet
from vmatrace.commands.audit.watch.samples import About, Sample, Samples
from vmatrace.kernels import Kernel
from vmatrace.printable import Printable


@dataclass(frozen=True, repr=False)
class VmaSeries(Printable):
    """``samples`` in order, at least one; ``ratchets``: what became of the cuts that came;
    ``last``: the audit of the last sample.
    """

    shown_by = "vmatrace.commands.audit.watch.as_table:write"

    path: str
    about: About
    samples: Sequence[Sample]
    ratchets: list[Ratchet]
    last: Audit

    def __repr__(self) -> str:
        return f"<VmaSeries of {self.about.pid}: {len(self.samples)} samples>"

    @property
    def forecast(self) -> Forecast | None:
        """When the limit is reached; None where there are too few samples."""
        return forecast_of(self.samples)

    @property
    def seconds(self) -> float:
        """From the first sample to the last."""
        return self.samples[-1].at - self.samples[0].at


def forecast_of(samples: Sequence[Sample]) -> Forecast | None:
    """When the limit that the last of *samples* has is reached."""
    points = [(sample.at, sample.vmas) for sample in samples]
    return forecast(points, samples[-1].max_map_count)


def series(samples: Samples, kernel: Kernel | None = None) -> VmaSeries:
    """The answer that *samples*, of which there is at least one, hold."""
    last = samples.taken[-1]
    try:
        kernel = kernel or kernels.named(samples.about.kernel)
    except kernels.UnknownKernel:
        kernel = None
    audit = question.audit(samples.snapshot(), kernel, last.max_map_count)
    return VmaSeries(samples.path, samples.about, samples.taken, samples.cuts.ratchets(), audit)
