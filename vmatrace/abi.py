"""Linux's numbers: uapi constants, vm_flags bits with their smaps codes, errno names.

Knows names and values, nothing about behaviour. Values are those of x86-64 and arm64
(include/uapi/asm-generic/{mman,mman-common,errno}.h, include/uapi/linux/{mman,prctl,mempolicy}.h);
vm_flags bits and their two-letter codes are those of include/linux/mm.h and show_smap_vma_flags()
in fs/proc/task_mmu.c. A vm_flags bit number is private to this tool where kernels moved it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

# --- uapi constants --------------------------------------------------------------------------

PROT_NONE: Final = 0
PROT_READ: Final = 1
PROT_WRITE: Final = 2
PROT_EXEC: Final = 4
PROT_SEM: Final = 8
PROT_BTI: Final = 0x10  # arm64
PROT_MTE: Final = 0x20  # arm64
PROT_GROWSDOWN: Final = 0x01000000
PROT_GROWSUP: Final = 0x02000000

MAP_SHARED: Final = 0x01
MAP_PRIVATE: Final = 0x02
MAP_SHARED_VALIDATE: Final = 0x03
MAP_DROPPABLE: Final = 0x08
MAP_TYPE: Final = 0x0F
MAP_FIXED: Final = 0x10
MAP_ANONYMOUS: Final = 0x20
MAP_32BIT: Final = 0x40
MAP_GROWSDOWN: Final = 0x0100
MAP_DENYWRITE: Final = 0x0800
MAP_EXECUTABLE: Final = 0x1000
MAP_LOCKED: Final = 0x2000
MAP_NORESERVE: Final = 0x4000
MAP_POPULATE: Final = 0x8000
MAP_NONBLOCK: Final = 0x10000
MAP_STACK: Final = 0x20000
MAP_HUGETLB: Final = 0x40000
MAP_SYNC: Final = 0x80000
MAP_FIXED_NOREPLACE: Final = 0x100000
MAP_HUGE_SHIFT: Final = 26
MAP_HUGE_MASK: Final = 0x3F
# LEGACY_MAP_MASK of include/linux/mman.h: flags MAP_SHARED_VALIDATE knows on every file.
LEGACY_MAP_MASK: Final = (
    MAP_SHARED | MAP_PRIVATE | MAP_FIXED | MAP_ANONYMOUS | MAP_DENYWRITE | MAP_EXECUTABLE
    | MAP_GROWSDOWN | MAP_LOCKED | MAP_NORESERVE | MAP_POPULATE | MAP_NONBLOCK | MAP_STACK
    | MAP_HUGETLB | MAP_32BIT | (MAP_HUGE_MASK << MAP_HUGE_SHIFT)
)  # fmt: skip

MREMAP_MAYMOVE: Final = 1
MREMAP_FIXED: Final = 2
MREMAP_DONTUNMAP: Final = 4

MADV_NORMAL: Final = 0
MADV_RANDOM: Final = 1
MADV_SEQUENTIAL: Final = 2
MADV_WILLNEED: Final = 3
MADV_DONTNEED: Final = 4
MADV_FREE: Final = 8
MADV_REMOVE: Final = 9
MADV_DONTFORK: Final = 10
MADV_DOFORK: Final = 11
MADV_MERGEABLE: Final = 12
MADV_UNMERGEABLE: Final = 13
MADV_HUGEPAGE: Final = 14
MADV_NOHUGEPAGE: Final = 15
MADV_DONTDUMP: Final = 16
MADV_DODUMP: Final = 17
MADV_WIPEONFORK: Final = 18
MADV_KEEPONFORK: Final = 19
MADV_COLD: Final = 20
MADV_PAGEOUT: Final = 21
MADV_POPULATE_READ: Final = 22
MADV_POPULATE_WRITE: Final = 23
MADV_DONTNEED_LOCKED: Final = 24
MADV_COLLAPSE: Final = 25
MADV_HWPOISON: Final = 100
MADV_SOFT_OFFLINE: Final = 101
MADV_GUARD_INSTALL: Final = 102
MADV_GUARD_REMOVE: Final = 103

MCL_CURRENT: Final = 1
MCL_FUTURE: Final = 2
MCL_ONFAULT: Final = 4
MLOCK_ONFAULT: Final = 1

PR_SET_THP_DISABLE: Final = 41
PR_GET_THP_DISABLE: Final = 42
PR_SET_MDWE: Final = 65
PR_GET_MDWE: Final = 66
PR_SET_MEMORY_MERGE: Final = 67
PR_GET_MEMORY_MERGE: Final = 68
PR_SET_VMA: Final = 0x53564D41
PR_SET_VMA_ANON_NAME: Final = 0
PR_THP_DISABLE_EXCEPT_ADVISED: Final = 2
PR_MDWE_REFUSE_EXEC_GAIN: Final = 1
PR_MDWE_NO_INHERIT: Final = 2
# Instead of a descriptor: the thread that asks, its process (include/uapi/linux/pidfd.h).
PIDFD_SELF_THREAD: Final = -10000
PIDFD_SELF_THREAD_GROUP: Final = -10001

MPOL_DEFAULT: Final = 0
MPOL_PREFERRED: Final = 1
MPOL_BIND: Final = 2
MPOL_INTERLEAVE: Final = 3
MPOL_LOCAL: Final = 4
MPOL_PREFERRED_MANY: Final = 5
MPOL_WEIGHTED_INTERLEAVE: Final = 6

SHM_RDONLY: Final = 0o10000
SHM_RND: Final = 0o20000
SHM_REMAP: Final = 0o40000
SHM_EXEC: Final = 0o100000

MS_ASYNC: Final = 1
MS_INVALIDATE: Final = 2
MS_SYNC: Final = 4

CLONE_VM: Final = 0x100
CLONE_FILES: Final = 0x400
CLONE_VFORK: Final = 0x4000
CLONE_PARENT: Final = 0x8000
CLONE_THREAD: Final = 0x10000
CLONE_UNTRACED: Final = 0x800000

READ_IMPLIES_EXEC: Final = 0x400000
PERSONALITY_ASK: Final = 0xFFFFFFFF

RLIMIT_DATA: Final = 2
RLIMIT_STACK: Final = 3
RLIMIT_MEMLOCK: Final = 8
RLIMIT_AS: Final = 9
RLIM_INFINITY: Final = (1 << 64) - 1

UFFDIO_API: Final = 0xC018AA3F
UFFDIO_REGISTER: Final = 0xC020AA00
UFFDIO_UNREGISTER: Final = 0x8010AA01
UFFDIO_REGISTER_MODE_MISSING: Final = 1
UFFDIO_REGISTER_MODE_WP: Final = 2
UFFDIO_REGISTER_MODE_MINOR: Final = 4
UFFDIO_REGISTER_MODE_RWP: Final = 8
UFFD_FEATURE_EVENT_FORK: Final = 1 << 1
UFFD_FEATURE_EVENT_REMAP: Final = 1 << 2
UFFD_FEATURE_WP_ASYNC: Final = 1 << 15
UFFD_FEATURE_RWP: Final = 1 << 17

# Names a trace may use, by prefix families: everything above plus aliases and rare ones.
_EXTRA_CONSTANTS: Final = {
    "NULL": 0,
    "MAP_FILE": 0,
    "MAP_ANON": MAP_ANONYMOUS,
    "MAP_UNINITIALIZED": 0x4000000, "MAP_ABOVE4G": 0x80,
    # Of architectures beside x86-64 and arm64: names alone, since their numbers differ.
    "PROT_SAO": 0x10, "PROT_ADI": 0x10, "MAP_RENAME": 0, "MAP_AUTOGROW": 0, "MAP_AUTORSRV": 0,
    "MAP_LOCAL": 0, "MAP_GROWSUP": 0, "MAP_INHERIT": 0, "_MAP_INHERIT": 0, "_MAP_NEW": 0,
    "_MAP_HASSEMAPHORE": 0, "_MAP_UNALIGNED": 0,
    "MAP_HUGE_16KB": 14 << 26, "MAP_HUGE_64KB": 16 << 26, "MAP_HUGE_512KB": 19 << 26,
    "MAP_HUGE_1MB": 20 << 26, "MAP_HUGE_2MB": 21 << 26, "MAP_HUGE_8MB": 23 << 26,
    "MAP_HUGE_16MB": 24 << 26, "MAP_HUGE_32MB": 25 << 26, "MAP_HUGE_256MB": 28 << 26,
    "MAP_HUGE_512MB": 29 << 26, "MAP_HUGE_1GB": 30 << 26, "MAP_HUGE_2GB": 31 << 26,
    "MAP_HUGE_16GB": 34 << 26,
    "PR_SET_DUMPABLE": 4, "PR_SET_NAME": 15, "PR_GET_NAME": 16, "PR_SET_MM": 35,
    "MPOL_F_STATIC_NODES": 1 << 15, "MPOL_F_RELATIVE_NODES": 1 << 14,
    "MPOL_F_NUMA_BALANCING": 1 << 13, "MPOL_MF_STRICT": 1, "MPOL_MF_MOVE": 2,
    "MPOL_MF_MOVE_ALL": 4,
    "CLONE_FS": 0x200, "CLONE_SIGHAND": 0x800, "CLONE_PIDFD": 0x1000, "CLONE_PTRACE": 0x2000,
    "CLONE_NEWNS": 0x20000, "CLONE_SYSVSEM": 0x40000, "CLONE_SETTLS": 0x80000,
    "CLONE_PARENT_SETTID": 0x100000, "CLONE_CHILD_CLEARTID": 0x200000,
    "CLONE_DETACHED": 0x400000, "CLONE_CHILD_SETTID": 0x1000000,
    "CLONE_NEWCGROUP": 0x2000000, "CLONE_NEWUTS": 0x4000000, "CLONE_NEWIPC": 0x8000000,
    "CLONE_NEWUSER": 0x10000000, "CLONE_NEWPID": 0x20000000, "CLONE_NEWNET": 0x40000000,
    "CLONE_IO": 0x80000000,
    "SIGCHLD": 17,
    "PER_LINUX": 0, "PER_LINUX32": 8, "UNAME26": 0x20000, "ADDR_NO_RANDOMIZE": 0x40000,
    "FDPIC_FUNCPTRS": 0x80000, "MMAP_PAGE_ZERO": 0x100000, "ADDR_COMPAT_LAYOUT": 0x200000,
    "ADDR_LIMIT_32BIT": 0x800000, "SHORT_INODE": 0x1000000, "WHOLE_SECONDS": 0x2000000,
    "STICKY_TIMEOUTS": 0x4000000, "ADDR_LIMIT_3GB": 0x8000000,
    "RLIMIT_CPU": 0, "RLIMIT_FSIZE": 1, "RLIMIT_CORE": 4, "RLIMIT_RSS": 5, "RLIMIT_NPROC": 6,
    "RLIMIT_NOFILE": 7, "RLIMIT_LOCKS": 10, "RLIMIT_SIGPENDING": 11, "RLIMIT_MSGQUEUE": 12,
    "RLIMIT_NICE": 13, "RLIMIT_RTPRIO": 14, "RLIMIT_RTTIME": 15,
    "UFFD_FEATURE_PAGEFAULT_FLAG_WP": 1 << 0, "UFFD_FEATURE_EVENT_REMOVE": 1 << 3,
    "UFFD_FEATURE_MISSING_HUGETLBFS": 1 << 4, "UFFD_FEATURE_MISSING_SHMEM": 1 << 5,
    "UFFD_FEATURE_EVENT_UNMAP": 1 << 6, "UFFD_FEATURE_SIGBUS": 1 << 7,
    "UFFD_FEATURE_THREAD_ID": 1 << 8, "UFFD_FEATURE_MINOR_HUGETLBFS": 1 << 9,
    "UFFD_FEATURE_MINOR_SHMEM": 1 << 10, "UFFD_FEATURE_EXACT_ADDRESS": 1 << 11,
    "UFFD_FEATURE_WP_HUGETLBFS_SHMEM": 1 << 12, "UFFD_FEATURE_WP_UNPOPULATED": 1 << 13,
    "UFFD_FEATURE_POISON": 1 << 14, "UFFD_FEATURE_MOVE": 1 << 16,
    "UFFD_FEATURE_RWP_ASYNC": 1 << 18,
    "O_RDONLY": 0, "O_WRONLY": 1, "O_RDWR": 2, "O_CREAT": 0o100, "O_CLOEXEC": 0o2000000,
    "MFD_CLOEXEC": 1, "MFD_ALLOW_SEALING": 2, "MFD_HUGETLB": 4,
}  # fmt: skip
_FAMILIES: Final = (
    "PROT_", "MAP_", "MREMAP_", "MADV_", "MCL_", "MLOCK_", "PR_", "MPOL_", "SHM_", "MS_",
    "CLONE_", "UFFDIO_", "UFFD_", "RLIMIT_", "READ_IMPLIES_EXEC",
)  # fmt: skip
_NOT_UAPI: Final = ("MAP_HUGE_SHIFT", "MAP_HUGE_MASK", "MAP_TYPE")

CONSTANTS: Final[dict[str, int]] = {
    name: value
    for name, value in list(globals().items())
    if name.startswith(_FAMILIES) and name not in _NOT_UAPI and isinstance(value, int)
}
CONSTANTS.update(_EXTRA_CONSTANTS)

# --- errno (asm-generic/errno-base.h, asm-generic/errno.h) -----------------------------------

_ERRNO_NAMES: Final = (
    "EPERM", "ENOENT", "ESRCH", "EINTR", "EIO", "ENXIO", "E2BIG", "ENOEXEC", "EBADF", "ECHILD",
    "EAGAIN", "ENOMEM", "EACCES", "EFAULT", "ENOTBLK", "EBUSY", "EEXIST", "EXDEV", "ENODEV",
    "ENOTDIR", "EISDIR", "EINVAL", "ENFILE", "EMFILE", "ENOTTY", "ETXTBSY", "EFBIG", "ENOSPC",
    "ESPIPE", "EROFS", "EMLINK", "EPIPE", "EDOM", "ERANGE", "EDEADLK", "ENAMETOOLONG", "ENOLCK",
    "ENOSYS", "ENOTEMPTY", "ELOOP",
)  # fmt: skip
ERRNO: Final[dict[str, int]] = {name: number for number, name in enumerate(_ERRNO_NAMES, 1)}
ERRNO.update(
    EWOULDBLOCK=11, ENODATA=61, ETIME=62, EPROTO=71, EOVERFLOW=75, EUSERS=87, EOPNOTSUPP=95,
    ENOTSUP=95, ETIMEDOUT=110, ECANCELED=125, EHWPOISON=133,
    ERESTARTSYS=512, ERESTARTNOINTR=513, ERESTARTNOHAND=514, ERESTART_RESTARTBLOCK=516,
)  # fmt: skip
ERRNO_NAME: Final[dict[int, str]] = {
    number: name for name, number in reversed(ERRNO.items())
}  # reversed: the first name of a number wins

EPERM: Final = 1
ENOENT: Final = 2
ESRCH: Final = 3
EINTR: Final = 4
E2BIG: Final = 7
EBADF: Final = 9
EAGAIN: Final = 11
ENOMEM: Final = 12
EACCES: Final = 13
EFAULT: Final = 14
EBUSY: Final = 16
EEXIST: Final = 17
ENODEV: Final = 19
EINVAL: Final = 22
ENOSYS: Final = 38
EOVERFLOW: Final = 75
EOPNOTSUPP: Final = 95

# --- vm_flags ---------------------------------------------------------------------------------

VM_READ: Final = 1 << 0
VM_WRITE: Final = 1 << 1
VM_EXEC: Final = 1 << 2
VM_SHARED: Final = 1 << 3
VM_MAYREAD: Final = 1 << 4
VM_MAYWRITE: Final = 1 << 5
VM_MAYEXEC: Final = 1 << 6
VM_MAYSHARE: Final = 1 << 7
VM_GROWSDOWN: Final = 1 << 8
VM_UFFD_MISSING: Final = 1 << 9
VM_PFNMAP: Final = 1 << 10
VM_MAYBE_GUARD: Final = 1 << 11
VM_UFFD_WP: Final = 1 << 12
VM_LOCKED: Final = 1 << 13
VM_IO: Final = 1 << 14
VM_SEQ_READ: Final = 1 << 15
VM_RAND_READ: Final = 1 << 16
VM_DONTCOPY: Final = 1 << 17
VM_DONTEXPAND: Final = 1 << 18
VM_LOCKONFAULT: Final = 1 << 19
VM_ACCOUNT: Final = 1 << 20
VM_NORESERVE: Final = 1 << 21
VM_HUGETLB: Final = 1 << 22
VM_SYNC: Final = 1 << 23
VM_ARCH_1: Final = 1 << 24  # of arm64 BTI: VM_ARM64_BTI, which has a code of its own
VM_WIPEONFORK: Final = 1 << 25
VM_DONTDUMP: Final = 1 << 26
VM_SOFTDIRTY: Final = 1 << 27
VM_MIXEDMAP: Final = 1 << 28
VM_HUGEPAGE: Final = 1 << 29
VM_NOHUGEPAGE: Final = 1 << 30
VM_MERGEABLE: Final = 1 << 31
VM_PKEY_SHIFT: Final = 32
VM_PKEY_MASK: Final = 0xF << VM_PKEY_SHIFT
VM_SHADOW_STACK: Final = 1 << 37
VM_UFFD_MINOR: Final = 1 << 38
VM_DROPPABLE: Final = 1 << 40
VM_MTE: Final = 1 << 41
VM_ARM64_BTI: Final = 1 << 42
VM_DENYWRITE: Final = 1 << 46  # until 5.15
VM_NONLINEAR: Final = 1 << 47  # until 4.0
VM_MPX: Final = 1 << 48  # until 5.6
VM_UFFD_RWP: Final = 1 << 43
VM_SEALED: Final = 1 << 63

VM_ACCESS_FLAGS: Final = VM_READ | VM_WRITE | VM_EXEC
VM_MAY_ALL: Final = VM_MAYREAD | VM_MAYWRITE | VM_MAYEXEC
VM_SPECIAL: Final = VM_IO | VM_DONTEXPAND | VM_PFNMAP | VM_MIXEDMAP
VM_LOCKED_MASK: Final = VM_LOCKED | VM_LOCKONFAULT
VM_STARTGAP: Final = VM_GROWSDOWN | VM_SHADOW_STACK
VM_UFFD_FLAGS: Final = VM_UFFD_MISSING | VM_UFFD_WP | VM_UFFD_MINOR | VM_UFFD_RWP

# In the order smaps prints them. pkey bits have an empty mnemonic there and are left out.
VM_FLAG_CODES: Final[dict[int, str]] = {
    VM_READ: "rd", VM_WRITE: "wr", VM_EXEC: "ex", VM_SHARED: "sh", VM_MAYREAD: "mr",
    VM_MAYWRITE: "mw", VM_MAYEXEC: "me", VM_MAYSHARE: "ms", VM_GROWSDOWN: "gd",
    VM_UFFD_MISSING: "um", VM_PFNMAP: "pf", VM_DENYWRITE: "dw", VM_MAYBE_GUARD: "gu",
    VM_UFFD_WP: "uw",
    VM_LOCKED: "lo", VM_IO: "io", VM_SEQ_READ: "sr", VM_RAND_READ: "rr", VM_DONTCOPY: "dc",
    VM_DONTEXPAND: "de", VM_LOCKONFAULT: "lf", VM_ACCOUNT: "ac", VM_NORESERVE: "nr",
    VM_HUGETLB: "ht", VM_NONLINEAR: "nl", VM_SYNC: "sf", VM_ARCH_1: "ar", VM_ARM64_BTI: "bt",
    VM_WIPEONFORK: "wf", VM_DONTDUMP: "dd",
    VM_SOFTDIRTY: "sd", VM_MIXEDMAP: "mm", VM_HUGEPAGE: "hg", VM_NOHUGEPAGE: "nh",
    VM_MERGEABLE: "mg", VM_MPX: "mp", VM_MTE: "mt", VM_SHADOW_STACK: "ss",
    VM_UFFD_MINOR: "ui", VM_DROPPABLE: "dp", VM_SEALED: "sl", VM_UFFD_RWP: "ur",
}  # fmt: skip
VM_FLAG_NAMES: Final[dict[int, str]] = {
    value: name
    for name, value in list(globals().items())
    if isinstance(value, int)
    and name != "VM_PKEY_SHIFT"
    and value in VM_FLAG_CODES
    and name.startswith("VM_")
}
CODE_TO_VM_FLAG: Final[dict[str, int]] = {code: bit for bit, code in VM_FLAG_CODES.items()}
#: What smaps prints for a flag that has no code; any other code that is not here is a newer one.
NAMELESS_CODE: Final = "??"

_CODES_BY_FLAGS: dict[int, tuple[str, ...]] = {}


def vm_flag_codes(vm_flags: int) -> tuple[str, ...]:
    """The two-letter codes of *vm_flags* in the order of a smaps VmFlags line."""
    codes = _CODES_BY_FLAGS.get(vm_flags)
    if codes is None:
        codes = tuple(code for bit, code in VM_FLAG_CODES.items() if vm_flags & bit)
        _CODES_BY_FLAGS[vm_flags] = codes
    return codes


def perms(vm_flags: int) -> str:
    """The permission column of /proc/PID/maps, such as ``rw-p`` (show_vma_header_prefix())."""
    return (
        ("r" if vm_flags & VM_READ else "-")
        + ("w" if vm_flags & VM_WRITE else "-")
        + ("x" if vm_flags & VM_EXEC else "-")
        + ("s" if vm_flags & VM_MAYSHARE else "p")
    )


PAGE_SIZES: Final = (4096, 16384, 65536)
TASK_SIZE: Final = 0x7FFFFFFFF000  # x86-64 with 4-level page tables
#: By architecture, as `uname -m` calls it: the end of the memory that a process can have, in bytes.
#: (TASK_SIZE_MAX or its like; where the page tables decide, that of the largest.)
TASK_SIZES: Final[dict[str, int]] = {
    "x86_64": TASK_SIZE,
    "x86_64-la57": (1 << 56) - 4096,
    "aarch64": 1 << 52,
    "ppc64le": 1 << 52,
    "ppc64": 1 << 52,
    "riscv64": 1 << 56,
    "s390x": 1 << 53,
    "loongarch64": 1 << 47,
    "mips64": 1 << 48,
    "sparc64": 1 << 52,
    "i686": 0xFFFFE000,
    "armv7l": 0xFFFF0000,
}
#: Where nobody says which it is, an address may be of any of them.
ANY_TASK_SIZE: Final = max(TASK_SIZES.values())
ULONG_MAX: Final = (1 << 64) - 1


def page_align(value: int, page_mask: int) -> int:
    """*value* bytes rounded up to whole pages (PAGE_ALIGN()); *page_mask* is the page size - 1."""
    return (value + page_mask) & ~page_mask


def c_integer(text: str) -> int:
    """The value of a C integer constant: decimal, 0x hex, 0 octal; NULL is 0. Raises ValueError."""
    if text == "NULL":
        return 0
    if len(text) > 66 or "_" in text or not text.isascii():
        raise ValueError(text)
    octal = text[:1] == "0" and text.isdigit()
    return int(text, 8 if octal else 16 if text[:2] in ("0x", "0X") else 10)


#: The VM_MAY* codes, and the codes that are a driver's; all others the call, the process or later
#: calls decide.
_MAY: Final = {"mr": VM_MAYREAD, "mw": VM_MAYWRITE, "me": VM_MAYEXEC}
DRIVER_CODES: Final = ("pf", "io", "dc", "de", "ht", "wf", "dd", "mm", "hg", "nh")


def driver_flags(codes: Iterable[str]) -> tuple[int, int]:
    """The vm_flags that the driver behind a mapping with *codes* sets, and the VM_MAY* it takes.

    Without any of ``mr mw me`` among the codes, nothing is taken.
    """
    given = set(codes)
    sets = 0
    for code in given.intersection(DRIVER_CODES):
        sets |= CODE_TO_VM_FLAG[code]
    clears = 0
    if given.intersection(_MAY):
        for code in set(_MAY) - given:
            clears |= _MAY[code]
    return sets, clears
