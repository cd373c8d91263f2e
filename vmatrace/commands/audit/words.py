"""The words of an audit: for each cause what it is, and what would be done about it."""

from __future__ import annotations

from typing import Final

from vmatrace import kernels
from vmatrace.commands.audit.question import (
    FAULTED_APART,
    FORKED,
    HIDDEN_FLAGS,
    LATE_FLAG,
    ONE_FAULTED,
    OPENED_TWICE,
    PGOFF,
    POLICY,
    UFFD,
    UNTRIED,
)

#: The feature that an audit before it is about.
SERIES: Final = kernels.KSM_BEFORE_MERGE
#: What each cause is, and what would be done about it.
SENTENCES: Final[dict[str, str]] = {
    LATE_FLAG: "VM_MERGEABLE (mg) was set after the merge had been tried without it",
    FAULTED_APART: "each was written to while they were apart, so each has an anon_vma of its own",
    ONE_FAULTED: "only one has been written to, and kernels before "
    f"{kernels.MERGE_UNFAULTED_TARGET.release} do not merge such a pair",
    OPENED_TWICE: "the file was opened twice, and each open() is a file of its own",
    FORKED: "their pages are shared with another process since a fork",
    PGOFF: "mremap() moved them here after they had been written to, which leaves them the page "
    "offset of where they were",
    POLICY: "they have different NUMA policies (mbind; /proc/PID/numa_maps shows them)",
    UFFD: "they are registered with different userfaultfds",
    HIDDEN_FLAGS: "flags differ that a maps text does not show",
    UNTRIED: "nothing separates them any more, but no call has tried to merge them",
}
#: The same in few words, for causes that are no more than possible.
BRIEFLY: Final[dict[str, str]] = {
    LATE_FLAG: "mg set late",
    FAULTED_APART: "written to while apart",
    ONE_FAULTED: "only one written to",
    OPENED_TWICE: "a file opened twice",
    FORKED: "shared with a forked process",
    PGOFF: "moved by mremap()",
    POLICY: "NUMA policies (mbind)",
    UFFD: "different userfaultfds",
    HIDDEN_FLAGS: "flags that are not shown",
    UNTRIED: "nothing, but no call tried to merge them",
}
ACTIONS: Final[dict[str, str]] = {
    LATE_FLAG: f"run a kernel with the KSM series ({SERIES.release}, {SERIES.commit})",
    FAULTED_APART: "map them as one, or write to them only when both are mapped",
    ONE_FAULTED: f"run a kernel of release {kernels.MERGE_UNFAULTED_TARGET.release} or later",
    OPENED_TWICE: "map both through one open()",
    HIDDEN_FLAGS: "look at /proc/PID/smaps, which shows them",
}
