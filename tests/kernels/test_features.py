"""Every feature makes a difference: a trace for each that tells a kernel with it from one without.

The trace is replayed under a model that has it and the same model without; what the feature's
summary says must be what sets the two apart.
"""

from __future__ import annotations

from typing import Any

import pytest

from vmatrace import kernels
from vmatrace.kernels import FEATURES, KERNELS, Feature, Kernel
from vmatrace.replayer.run import Replay
from vmatrace.trace.file import load_trace

ANON = "MAP_PRIVATE|MAP_ANONYMOUS|MAP_FIXED, -1, 0)"
RW = "PROT_READ|PROT_WRITE"
HEADER = """
vmatrace: 1
process: {brk: 0x555555559000, ksm: %s}
sysctl: {max_map_count: %s}
files:
  3: {path: /srv/file, fs: ext4, size: 0x100000}
  4: {path: "/memfd:file (deleted)", fs: tmpfs, size: 0x100000}
  5: {path: /dev/zero, fs: legacy}
  6: {path: /dev/zero, fs: legacy, mode: r}
  7: {path: /secret, fs: secretmem}
  8: {path: /dev/driver, fs: mmap_prepare}
  9: {path: /dev/old, fs: legacy}
  10: {path: /srv/fuse, fs: overlay}
events:
"""


def anon(page: int, count: int, prot: str = RW) -> str:
    return f"mmap({0x10000000 + page * 4096:#x}, {count * 4096}, {prot}, {ANON}"


def file(page: int, count: int, fd: int, offset: int, prot: str = RW, kind: str = "PRIVATE") -> str:
    address = 0x10000000 + page * 4096
    return (
        f"mmap({address:#x}, {count * 4096}, {prot}, MAP_{kind}|MAP_FIXED, {fd}, {offset * 4096})"
    )


def fault(page: int, count: int = 1) -> str:
    return f"fault({0x10000000 + page * 4096:#x}, {count * 4096}, PROT_WRITE)"


def move(page: int, count: int, to: int, more: str = "") -> str:
    old, new = (0x10000000 + p * 4096 for p in (page, to))
    size = count * 4096
    return f"mremap({old:#x}, {size}, {size}, MREMAP_MAYMOVE|MREMAP_FIXED{more}, {new:#x})"


def on(call: str, page: int, count: int, *rest: str) -> str:
    return f"{call}({', '.join([hex(0x10000000 + page * 4096), str(count * 4096), *rest])})"


def child(call: str) -> str:
    return f'{{pid: c, call: "{call}"}}'


def uffd(page: int, count: int, mode: str, fd: int = 100, call: str = "REGISTER") -> str:
    start = 0x10000000 + page * 4096
    modes = "|".join(f"UFFDIO_REGISTER_MODE_{word}" for word in mode.split("|"))
    argument = f"{{range={{start={start:#x}, len={count * 4096:#x}}}, mode={modes}}}"
    if call == "UNREGISTER":
        argument = f"{{start={start:#x}, len={count * 4096:#x}}}"
    return f'"ioctl({fd}, UFFDIO_{call}, {argument})"'


def api(features: str, fd: int = 100) -> str:
    return f'"ioctl({fd}, UFFDIO_API, {{api=0xaa, features={features}}})"'


DONTUNMAP = "|MREMAP_DONTUNMAP"
HUGE = "MAP_PRIVATE|MAP_ANONYMOUS|MAP_HUGETLB|MAP_NORESERVE"
SELF = '"process_madvise({}, [{{iov_base=0x10000000, iov_len=0x1000}}], 1, {}, 0)"'
#: feature -> the model that has it (the others of the newest release), and the events.
TOLD_APART: dict[Feature, tuple[str, list[str]]] = {
    kernels.KSM_PRCTL: ("6.4", ["prctl(PR_SET_MEMORY_MERGE, 1, 0, 0, 0)"]),
    kernels.KSM_EXEC_INHERIT: (
        "6.7",
        ["prctl(PR_SET_MEMORY_MERGE, 1, 0, 0, 0)", 'execve("/bin/true", ["true"], [])', anon(0, 1)],
    ),
    kernels.KSM_BEFORE_MERGE: ("6.17 ksm", [anon(0, 1), anon(1, 1)]),
    kernels.KSM_UNMERGE_KEEPS_FLAGS: (
        "6.18",
        [
            anon(0, 1),
            on("madvise", 0, 1, "MADV_MERGEABLE"),
            on("mseal", 0, 1, "0"),
            on("madvise", 0, 1, "MADV_UNMERGEABLE"),
        ],
    ),
    kernels.REMOVE_ASKS_MAYWRITE: (
        "6.7",
        [
            "mmap(0x10000000, 0x1000, PROT_READ, MAP_SHARED|MAP_ANONYMOUS|MAP_FIXED, -1, 0)",
            "madvise(0x10000000, 0x1000, MADV_REMOVE)",
        ],
    ),
    kernels.MEMORY_FAILURE: ("6.18", [anon(0, 1), "madvise(0x10000000, 0, MADV_HWPOISON)"]),
    kernels.KSM_LATE_CHECK_BEFORE_HOOK: (
        "series-v2 ksm",
        [f"mmap(NULL, 0x200000, PROT_READ, {HUGE}, -1, 0)"],
    ),
    kernels.FILL_NEXT_FIRST: ("6.11", [anon(0, 2), anon(4, 2), fault(4, 2), anon(2, 2)]),
    kernels.MERGE_UNFAULTED_TARGET: (
        "6.16",
        [
            anon(0, 2),
            anon(2, 2, "PROT_READ|PROT_WRITE|PROT_EXEC"),
            fault(2),
            on("mprotect", 2, 2, RW),
        ],
    ),
    kernels.MREMAP_COPIED_FROM: (
        "6.19",
        [
            anon(0, 4),
            fault(0, 4),
            move(0, 4, 100),
            "c = fork()",
            child(anon(4, 4)),
            child(move(100, 4, 0)),
        ],
    ),
    kernels.ANON_PGOFF: (
        "7.3",
        [file(0, 2, 3, 0), file(8, 2, 3, 2), fault(8, 2), move(8, 2, 2)],
    ),
    kernels.DRIVER_FLAGS_RETRY_NEW: (
        "6.12",
        [file(0, 1, 7, 0, kind="SHARED"), file(1, 1, 7, 1, kind="SHARED")],
    ),
    kernels.DRIVER_FLAGS_RETRY_EXISTING: (
        "6.13",
        [file(0, 1, 7, 0, kind="SHARED"), file(1, 1, 7, 1, kind="SHARED")],
    ),
    kernels.MAP_STACK_NOHUGEPAGE: (
        "6.8",
        [f"mmap(NULL, 4096, {RW}, MAP_PRIVATE|MAP_ANONYMOUS|MAP_STACK, -1, 0)"],
    ),
    kernels.THP_ALIGN_ANON: (
        "6.7",
        [f"mmap(NULL, 0x200000, {RW}, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0)"],
    ),
    kernels.THP_ALIGN_FILES: (
        "6.12",
        ["mmap(NULL, 0x200000, PROT_READ, MAP_PRIVATE, 10, 0)"],
    ),
    kernels.THP_ALIGN_MULTIPLE: (
        "6.12",
        [f"mmap(NULL, 0x201000, {RW}, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0)"],
    ),
    kernels.THP_ALIGN_UNHINTED: (
        "6.13",
        [anon(0, 1), f"mmap(0x10000000, 0x200000, {RW}, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0)"],
    ),
    kernels.THP_ALIGN_DEVZERO: ("6.18", [f"mmap(NULL, 0x200000, {RW}, MAP_PRIVATE, 5, 0)"]),
    kernels.DROPPABLE: (
        "6.11",
        [f"mmap(NULL, 4096, {RW}, MAP_DROPPABLE|MAP_ANONYMOUS, -1, 0)"],
    ),
    kernels.DROPPABLE_NEVER_LOCKED: (
        "7.1",
        ["mlockall(MCL_FUTURE)", f"mmap(NULL, 4096, {RW}, MAP_DROPPABLE|MAP_ANONYMOUS, -1, 0)"],
    ),
    kernels.SECRETMEM_UNLOCKED: ("7.3", [file(0, 1, 7, 0, kind="SHARED")]),
    kernels.DEVZERO_SHARED_READONLY: ("7.3", [file(0, 1, 6, 0, "PROT_READ", "SHARED")]),
    kernels.DEVZERO_ANONYMOUS: ("next", [file(0, 5, 5, 0), file(5, 5, 5, 0)]),
    kernels.MMAP_PREPARE: ("6.17 ksm", [file(0, 1, 8, 0), file(1, 1, 8, 1)]),
    kernels.FS_MMAP_PREPARE: ("6.17 ksm", [file(0, 1, 3, 0), file(1, 1, 3, 1)]),
    kernels.SHMEM_MMAP_PREPARE: ("6.19 ksm", [file(0, 1, 5, 0), file(1, 1, 5, 1)]),
    kernels.ALL_MMAP_PREPARE: ("converted ksm", [file(0, 1, 9, 0), file(1, 1, 9, 1)]),
    kernels.MPROTECT_UNACCOUNT: ("6.7", [anon(0, 1), on("mprotect", 0, 1, "PROT_READ")]),
    kernels.MSEAL: ("6.10", [anon(0, 1), on("mseal", 0, 1, "0")]),
    kernels.MSEAL_REFUSES_ADVICE: (
        "6.10",
        [anon(0, 1, "PROT_READ"), on("mseal", 0, 1, "0"), on("madvise", 0, 1, "MADV_RANDOM")],
    ),
    kernels.MSEAL_IN_LOOP: (
        "6.12",
        [anon(0, 2), on("mseal", 1, 1, "0"), on("mprotect", 0, 2, "PROT_READ")],
    ),
    kernels.MSEAL_ASKS_VM_OPS: (
        "6.17",
        [
            file(0, 1, 5, 0, "PROT_READ"),
            on("mseal", 0, 1, "0"),
            on("madvise", 0, 1, "MADV_DONTFORK"),
        ],
    ),
    kernels.MSEAL_STALE_START: (
        "6.17",
        [anon(0, 3), on("mseal", 1, 1, "0"), on("mseal", 0, 3, "0")],
    ),
    kernels.GUARD_REGIONS: ("6.13", [anon(0, 1), on("madvise", 0, 1, "MADV_GUARD_INSTALL")]),
    kernels.GUARD_FILES: ("6.15", [file(0, 1, 3, 0), on("madvise", 0, 1, "MADV_GUARD_INSTALL")]),
    kernels.MAYBE_GUARD_FLAG: ("6.19", [anon(0, 1), on("madvise", 0, 1, "MADV_GUARD_INSTALL")]),
    kernels.GUARD_ANON_ONLY: (
        "6.19",
        [
            file(0, 4, 4, 0, kind="SHARED"),
            on("madvise", 0, 1, "MADV_GUARD_INSTALL"),
            "c = fork()",
            child(file(4, 4, 4, 4, kind="SHARED")),
        ],
    ),
    kernels.PROCESS_MADVISE_SELF: ("6.15", [anon(0, 1), SELF.format(-10000, "MADV_DONTDUMP")]),
    kernels.PROCESS_MADVISE_ADVICE_FIRST: ("7.2", ['"process_madvise(-10000, [], 0, 200, 0)"']),
    kernels.PIDFD_SELF: ("6.15", [anon(0, 1), SELF.format(-10000, "MADV_COLD")]),
    kernels.PIDFD_SELF_10001: ("6.17", [anon(0, 1), SELF.format(-20000, "MADV_COLD")]),
    kernels.THP_DISABLE_EXCEPT_ADVISED: ("6.18", ["prctl(PR_SET_THP_DISABLE, 1, 2, 0, 0)"]),
    kernels.UFFD_NOT_DROPPABLE: (
        "6.17",
        [
            f"mmap(0x10000000, 4096, {RW}, MAP_DROPPABLE|MAP_ANONYMOUS|MAP_FIXED, -1, 0)",
            uffd(0, 1, "MISSING"),
        ],
    ),
    kernels.UFFD_UNREGISTER_STRICT: (
        "6.17",
        [
            anon(0, 2),
            uffd(0, 1, "MISSING"),
            uffd(1, 1, "MISSING", 101),
            uffd(0, 2, "MISSING", call="UNREGISTER"),
        ],
    ),
    kernels.UFFD_BELOW_MIN_ADDR: (
        "7.1",
        [anon(8 - 0x10000, 1), uffd(8 - 0x10000, 1, "MISSING")],
    ),
    kernels.UFFD_MODE_STICKY: (
        "7.3",
        [anon(0, 1), uffd(0, 1, "MISSING|WP"), uffd(0, 1, "MISSING")],
    ),
    kernels.UFFD_POISON: ("6.6", [api("UFFD_FEATURE_POISON")]),
    kernels.UFFD_WP_ASYNC: ("6.7", [api("UFFD_FEATURE_WP_ASYNC")]),
    kernels.UFFD_MOVE: ("6.8", [api("UFFD_FEATURE_MOVE")]),
    kernels.UFFD_RWP: ("7.3", [anon(0, 1), uffd(0, 1, "RWP")]),
    kernels.UFFD_NO_MERGE_ON_COPY: (
        "next",
        [anon(0, 2), anon(4, 2), uffd(0, 2, "MISSING"), uffd(4, 2, "MISSING"), move(4, 2, 2)],
    ),
    kernels.MREMAP_MULTI_VMA: ("6.17", [anon(0, 1), anon(1, 1, "PROT_READ"), move(0, 2, 8)]),
    kernels.MREMAP_TARGET_FIRST: (
        "6.15",
        ["mremap(0x10000000, 4096, 4096, MREMAP_MAYMOVE|MREMAP_FIXED, 0x10010010)"],
    ),
    kernels.MREMAP_CHECKS_FIRST: (
        "6.17",
        ["mremap(0x10000000, 4096, 4096, MREMAP_MAYMOVE|MREMAP_FIXED, 0x7ffffffff000)"],
    ),
    kernels.MREMAP_MAP_COUNT: (
        "7.1 full",
        [*(anon(page, 1) for page in (0, 2, 4, 6)), "mremap(0x10000000, 4096, 4096, 0)"],
    ),
    kernels.DONTUNMAP_UNACCOUNTS_SOURCE: ("6.16", [anon(0, 2), move(0, 2, 8, DONTUNMAP)]),
    kernels.DONTUNMAP_SPLITS_LOCKED: (
        "7.3",
        [anon(0, 3), on("mlock", 0, 3), move(1, 1, 8, DONTUNMAP)],
    ),
    kernels.DONTUNMAP_NO_SELF_MERGE: ("7.3", [anon(0, 2), move(0, 2, 2, DONTUNMAP)]),
    kernels.DONTUNMAP_RESETS_PGOFF: (
        "7.3",
        [anon(0, 2), fault(0), move(0, 2, 8), move(8, 2, 16, DONTUNMAP), anon(10, 2)],
    ),
    kernels.KSM: ("6.17", ["prctl(PR_SET_MEMORY_MERGE, 1, 0, 0, 0)"]),
    kernels.TRANSPARENT_HUGEPAGE: ("6.17", [anon(0, 1), on("madvise", 0, 1, "MADV_HUGEPAGE")]),
    kernels.ANON_VMA_NAME: (
        "6.17",
        [anon(0, 1), 'prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, 0x10000000, 4096, "x")'],
    ),
    kernels.USERFAULTFD: ("6.17", [anon(0, 1), uffd(0, 1, "MISSING")]),
    kernels.UFFD_WP: ("6.17", [anon(0, 1), uffd(0, 1, "WP")]),
    kernels.UFFD_MINOR: ("6.17", [file(0, 1, 4, 0, kind="SHARED"), uffd(0, 1, "MINOR")]),
    kernels.PKEYS: ("6.17", [anon(0, 1), on("pkey_mprotect", 0, 1, "PROT_READ", "0")]),
}


def observed(kernel: Kernel, where: str, events: list[str]) -> list[Any]:
    """Every result and every layout of the trace under *kernel*."""
    header = HEADER % ("true" if "ksm" in where else "false", 7 if "full" in where else 65530)
    text = header + "".join(f"  - {event}\n" for event in events)
    replay = Replay(load_trace(text.encode()), kernel)
    found = []
    for step in replay.steps():
        mm = step.mm
        found.append((step.result, [(v.start, v.end, v.flags, v.anon) for v in mm.vmas]))
    layouts = [[m.key() for m in p.layout] for p in replay.result.processes]
    return [*found, layouts]


VDSO = """maps: |
  7ffff7ff9000-7ffff7ffd000 r--p 00000000 00:00 0   [vvar]
  7ffff7ffd000-7ffff7fff000 r-xp 00000000 00:00 0   [vdso]
"""
LIMITED = "process: {rlimits: {as: 0x3000}}\n"
#: Those that need another beginning.
TOLD_APART_FROM: dict[Feature, tuple[str, str, list[str]]] = {
    kernels.VVAR_MIXEDMAP: ("7.1", VDSO, []),
    kernels.VVAR_NO_IO: ("7.3", VDSO, []),
    kernels.DOFORK_SPECIAL_STRICT: (
        "7.0",
        VDSO,
        ["madvise(0x7ffff7ffd000, 4096, MADV_DOFORK)"],
    ),
    kernels.UFFD_REFUSES_SPECIAL: (
        "7.2",
        VDSO,
        [api("UFFD_FEATURE_WP_ASYNC"), uffd(0x7FFFE7FFD, 2, "WP")],
    ),
    kernels.MAP_FIXED_KEEPS_ON_FAILURE: (
        "6.12",
        LIMITED,
        [anon(0, 3), anon(1, 8, "PROT_READ")],
    ),
}
#: Those that no trace shows, and what does.
SHOWN_OTHERWISE = {
    kernels.HUGETLBFS_MMAP_PREPARE: "hugetlbfs",
    kernels.DRIVERS_MMAP_PREPARE: "hpet",
}


def parted(kernel: Kernel, feature: Feature) -> Kernel:
    assert kernel.has(feature), "the model named here is one with the feature"
    return kernel.with_features([], [feature.name])


@pytest.mark.parametrize("feature", TOLD_APART, ids=lambda feature: feature.name)
def test_a_feature_makes_the_difference(feature: Feature) -> None:
    where, events = TOLD_APART[feature]
    name, *state = where.split()
    kernel = kernels.get_kernel(name)
    here = observed(kernel, " ".join(state), events)
    assert here != observed(parted(kernel, feature), " ".join(state), events)


@pytest.mark.parametrize("feature", TOLD_APART_FROM, ids=lambda feature: feature.name)
def test_a_feature_makes_the_difference_to_what_was_there(feature: Feature) -> None:
    name, header, events = TOLD_APART_FROM[feature]
    kernel = kernels.get_kernel(name)

    def seen(model: Kernel) -> Any:
        text = f"vmatrace: 1\n{header}events:\n  - munmap(0x70000000, 4096)\n"
        text += "".join(f"  - {event}\n" for event in events)
        replay = Replay(load_trace(text.encode()), model)
        results = [step.result for step in replay.steps()]
        return results, [[m.key() for m in p.layout] for p in replay.result.processes]

    assert seen(kernel) != seen(parted(kernel, feature))


@pytest.mark.parametrize("feature", SHOWN_OTHERWISE, ids=lambda feature: feature.name)
def test_a_feature_changes_a_drivers_hook(feature: Feature) -> None:
    kernel = next(k for k in KERNELS.values() if k.has(feature))
    hook = kernels.mmap_hook(SHOWN_OTHERWISE[feature], kernel)
    assert hook != kernels.mmap_hook(SHOWN_OTHERWISE[feature], parted(kernel, feature))


def test_every_feature_is_told_apart_by_a_test() -> None:
    told = {*TOLD_APART, *TOLD_APART_FROM, *SHOWN_OTHERWISE}
    # What exec maps is in the trace; the model only reads it.
    assert set(FEATURES.values()) - told == {kernels.VVAR_VCLOCK}
