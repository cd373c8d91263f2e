"""The words of patterns: what each is, what usually makes it, and what would be done about it."""

from __future__ import annotations

from typing import Final, NamedTuple

from vmatrace import kernels
from vmatrace.commands.audit import patterns


class PatternWords(NamedTuple):
    """``title`` in a few words; sentences without a full stop; ``rewriting``: that of `whatif`."""

    title: str
    made_by: str
    remedy: str
    rewriting: str = ""


_GUARDS: Final = f"MADV_GUARD_INSTALL ({kernels.GUARD_REGIONS.release}), which takes no VMA"

PATTERNS: Final[dict[str, PatternWords]] = {
    patterns.THREAD_STACKS: PatternWords(
        "stacks, each above a guard page",
        "threads or coroutines: a stack and its guard (mprotect or mmap PROT_NONE) are two VMAs",
        f"fewer threads, a pool of them, or guards by {_GUARDS}",
        "guards",
    ),
    patterns.GUARD_PAGES: PatternWords(
        "guard pages between small pieces",
        "mprotect(PROT_NONE) around each object: a hardened or debugging allocator, a sanitizer, "
        "buffers that are guarded one by one",
        f"guard groups of objects and not each, or by {_GUARDS}",
        "guards",
    ),
    patterns.ARENAS: PatternWords(
        "arenas of glibc's malloc",
        "many threads that allocate: each arena is a heap of 64M, used below and reserved above",
        "fewer arenas: MALLOC_ARENA_MAX, glibc.malloc.arena_max, or another malloc",
    ),
    patterns.RESERVED: PatternWords(
        "memory reserved, and committed in pieces",
        "mprotect or mmap over a PROT_NONE reservation: jemalloc where the kernel does not "
        "overcommit, the heaps of Go, Java and other managed runtimes",
        "commit larger pieces; for jemalloc, vm.overcommit_memory 0 or 1; give memory back by "
        "MADV_DONTNEED and not by PROT_NONE",
    ),
    patterns.JIT: PatternWords(
        "pages of generated code",
        "a JIT that makes code writable and executable by turns, page by page; .NET maps it twice "
        "(doublemapper)",
        "one region for code that changes as a whole; for .NET, DOTNET_EnableWriteXorExecute=0 "
        "does without the second mapping",
    ),
    patterns.PROTECTION: PatternWords(
        "pieces of differing protection",
        "mprotect of parts: write barriers of a garbage collector, tables made read-only, "
        "checkpoints",
        "protect larger pieces, or track writes by userfaultfd or soft-dirty bits",
    ),
    patterns.NAMES: PatternWords(
        "neighbours of differing names",
        "prctl(PR_SET_VMA_ANON_NAME): an allocator that gives each arena a name of its own",
        "the same name for all of a kind, or none",
        "names",
    ),
    patterns.DONTFORK: PatternWords(
        "neighbours in and out of MADV_DONTFORK",
        "RDMA: ibv_fork_init() or RDMAV_FORK_SAFE takes what is registered out of fork; "
        "hypervisors and drivers that pin memory",
        "register one large buffer and not many; leave it out where nothing forks",
        "dontfork",
    ),
    patterns.ACCOUNTING: PatternWords(
        "neighbours that differ in MAP_NORESERVE",
        "mmap with and without MAP_NORESERVE, or made writable one later than the other",
        "map all that touches with the same flags",
        "noreserve",
    ),
    patterns.LOCKED: PatternWords(
        "locked beside unlocked",
        "mlock() of small pieces: keys, buffers of real-time programs",
        "keep what is locked together, or mlockall()",
        "locking",
    ),
    patterns.KSM_FLAG: PatternWords(
        "mergeable beside not mergeable",
        "madvise(MADV_MERGEABLE) on pieces, or KSM switched on late",
        "advise whole regions, once they are all mapped",
        "mergeable",
    ),
    patterns.ADVICE: PatternWords(
        "neighbours of differing advice or flags",
        "madvise() on pieces (huge pages, MADV_DONTDUMP, MADV_WIPEONFORK, MADV_RANDOM), pkeys, "
        "userfaultfd, mseal",
        "give the advice to whole regions",
    ),
    patterns.LOOKALIKES: PatternWords(
        "neighbours that look alike",
        "what a snapshot does not show; the causes are below",
        "see below",
        "arenas",
    ),
    patterns.HOLES: PatternWords(
        "holes left by unmapping",
        "munmap of parts of a mapping: an allocator that gives back memory from its middle",
        "give it back by MADV_DONTNEED or MADV_FREE, which leaves the mapping whole; for jemalloc, "
        "retain:true in MALLOC_CONF, its default on Linux",
    ),
    patterns.SCATTERED: PatternWords(
        "alike pieces, scattered over the addresses",
        "mmap of each piece at an address of its own choice: V8 (Node.js, Chromium) takes one at "
        "random for each page of its heap, 256K",
        "let the kernel choose, or reserve one region for all; for Node.js a smaller heap "
        "(--max-old-space-size), or a build with pointer compression",
    ),
    patterns.LIBRARIES: PatternWords(
        "programs and libraries",
        "the segments of each, four or five, with permissions of their own",
        "load fewer: plugins and modules that nobody uses",
    ),
    patterns.PIECES: PatternWords(
        "files mapped in pieces",
        "mmap of parts of one file, each for itself: databases, indexes, ring buffers",
        "map the file once, or in larger pieces",
    ),
    patterns.FILES: PatternWords(
        "files, each mapped by itself",
        "mmap of many small files: search indexes (Lucene), fonts, archives",
        "read() small files; fewer and larger ones, such as by merging an index's segments",
    ),
    patterns.SHARED_MEMORY: PatternWords(
        "shared memory",
        "a memfd, a shmget or a /dev/shm file for each buffer or client",
        "one segment that is divided, and not one for each",
    ),
    patterns.DEVICES: PatternWords(
        "memory of drivers",
        "graphics, RDMA, io_uring and perf: a mapping for each buffer, queue or ring",
        "fewer and larger buffers, or the driver's own pool",
    ),
    patterns.KERNEL: PatternWords(
        "the kernel's own", "vdso and vvar of each process", "nothing: there are few"
    ),
    patterns.SINGLE: PatternWords(
        "by themselves",
        "mappings that touch nothing of their kind",
        "nothing in the map shows one",
    ),
}
