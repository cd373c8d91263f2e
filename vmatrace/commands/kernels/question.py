"""Which models and features there are; vmatrace.kernels knows them."""

from __future__ import annotations

from dataclasses import dataclass, field

from vmatrace import kernels
from vmatrace.kernels import Kernel
from vmatrace.kernels.features import Feature


@dataclass(frozen=True)
class Known:
    """The models and the features, by name; ``default`` is a model."""

    default: str = kernels.DEFAULT
    kernels: dict[str, Kernel] = field(default_factory=lambda: dict(kernels.KERNELS))
    features: dict[str, Feature] = field(default_factory=lambda: dict(kernels.FEATURES))
