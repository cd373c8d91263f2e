"""Which models, features and file systems there are; vmatrace.kernels knows them."""

from __future__ import annotations

from dataclasses import dataclass, field

from vmatrace import kernels
from vmatrace.kernels import Feature, Kernel
from vmatrace.printable import Printable


def _file_systems() -> dict[str, tuple[tuple[str, str], ...]]:
    return {fs: tuple(kernels.hooks(fs)) for fs in kernels.FILE_SYSTEMS}


@dataclass(frozen=True)
class Known(Printable):
    """The models, features and file systems, by name; ``default`` is a model.

    A file system has (release, mmap hook from then on), oldest first. ``file_systems_alone``: who
    reads it asks for nothing else.
    """

    shown_by = "vmatrace.commands.kernels.as_table:write"

    file_systems_alone: bool = False
    default: str = kernels.DEFAULT
    kernels: dict[str, Kernel] = field(default_factory=lambda: dict(kernels.KERNELS))
    features: dict[str, Feature] = field(default_factory=lambda: dict(kernels.FEATURES))
    file_systems: dict[str, tuple[tuple[str, str], ...]] = field(default_factory=_file_systems)
