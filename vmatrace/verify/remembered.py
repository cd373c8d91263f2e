"""What experiments have found out about the running kernel, remembered until it is booted anew.

They take 0.1 s, which a recording of a short program need not spend each time. Their outcome can
depend on more than the kernel: all that is known to is part of the key. Kept in the user's cache;
what somebody else could have written is not read.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from vmatrace import cache, kernels
from vmatrace.atomic import AtomicFile
from vmatrace.verify import findings
from vmatrace.verify.findings import Findings

#: Files of the kernel whose content experiments may depend on, and lines of /proc/self/status.
_STATE = (
    "/proc/sys/kernel/random/boot_id", "/sys/kernel/mm/transparent_hugepage/enabled",
    "/sys/kernel/mm/transparent_hugepage/shmem_enabled", "/sys/kernel/mm/ksm/run",
    "/proc/sys/vm/unprivileged_userfaultfd", "/proc/sys/vm/mmap_min_addr",
    "/proc/sys/vm/max_map_count", "/proc/sys/vm/overcommit_memory", "/proc/sys/vm/nr_hugepages",
    "/proc/self/personality",
)  # fmt: skip
_STATUS = ("Uid:", "CapEff:", "CapBnd:", "NoNewPrivs:", "Seccomp:", "THP_enabled:")
_LIMITS = ("RLIMIT_AS", "RLIMIT_DATA", "RLIMIT_MEMLOCK", "RLIMIT_STACK", "RLIMIT_NOFILE")


def look() -> Findings:
    """findings.look() of the running kernel, or what it found before. Raises Unavailable."""
    path = cache.folder() / "findings.json"
    key = list(_key())
    found = _read(path, key)
    if found is None:
        fresh = findings.look()
        _write(path, {"key": key, "found": dict(fresh.found)})
        return fresh
    return findings.conclude(found)


def _key() -> Iterator[str]:
    yield from os.uname()
    for path in _STATE:
        try:
            yield Path(path).read_text(encoding="ascii").strip()
        except (OSError, ValueError):
            yield ""
    with contextlib.suppress(OSError), open("/proc/self/status", encoding="ascii") as status:
        yield from (line.strip() for line in status if line.startswith(_STATUS))
    for name in ("user", "mnt", "ipc"):
        with contextlib.suppress(OSError):
            yield os.readlink(f"/proc/self/ns/{name}")
    yield from (f"{resource.getrlimit(getattr(resource, name))}" for name in _LIMITS)
    yield str(os.stat(tempfile.gettempdir()).st_dev)
    # The experiments themselves, and what is concluded from them.
    for folder in ("oracle", "kernels", "verify"):
        for entry in sorted(os.scandir(Path(__file__).parents[1] / folder), key=lambda e: e.name):
            if entry.name.endswith(".py"):
                yield f"{entry.name} {entry.stat().st_size} {entry.stat().st_mtime_ns}"


def _read(path: Path, key: list[str]) -> dict[str, bool | None] | None:
    try:
        with open(path, encoding="utf-8") as file:
            about = os.fstat(file.fileno())
            if about.st_uid != os.geteuid() or about.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
                return None
            kept = json.load(file)
    except (OSError, ValueError):
        return None
    if not isinstance(kept, dict) or kept.get("key") != key:
        return None
    found = kept.get("found")
    known = isinstance(found, dict) and found.keys() <= kernels.FEATURES.keys()
    return found if known else None


def _write(path: Path, kept: dict[str, object]) -> None:
    """A cache that cannot be written is no error."""
    with contextlib.suppress(OSError):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with AtomicFile(str(path)) as file:
            os.fchmod(file.fileno(), 0o600)
            json.dump(kept, file)
