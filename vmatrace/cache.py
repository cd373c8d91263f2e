"""Where vmatrace keeps what can be made again."""

from __future__ import annotations

import os
from pathlib import Path


def folder() -> Path:
    """The directory for it (XDG Base Directory), which need not exist."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if os.path.isabs(base) else Path.home() / ".cache") / "vmatrace"
