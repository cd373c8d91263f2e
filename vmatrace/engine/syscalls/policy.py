"""mbind, set_mempolicy_home_node. Mirrors do_mbind() and its kin in mm/mempolicy.c.

The machine is taken to have one memory node, number 0.
"""

from __future__ import annotations

from typing import Final

from vmatrace import abi
from vmatrace.engine.mm import Mm
from vmatrace.engine.vma import NO_EXTRA, Vma, some
from vmatrace.engine.walk import Holes, walk
from vmatrace.structures import nodemask as words

_STATIC: Final = 1 << 15
_RELATIVE: Final = 1 << 14
_BALANCING: Final = 1 << 13
_MODE_FLAGS: Final = _STATIC | _RELATIVE | _BALANCING
_KNOWN_MF: Final = 0x7  # MPOL_MF_STRICT | MPOL_MF_MOVE | MPOL_MF_MOVE_ALL
_MODES: Final = 7
_MAX_NODES: Final = 1024

Policy = tuple[object, ...]


def mbind(
    mm: Mm, addr: int, length: int, mode: int, nodemask: int | str, maxnode: int, flags: int
) -> int:
    """mbind(2): 0 or -errno. *nodemask* is text such as ``[0x1]``, or 0."""
    mode_flags = mode & _MODE_FLAGS
    mode &= ~_MODE_FLAGS
    if mode >= _MODES or mode_flags & (_STATIC | _RELATIVE) == _STATIC | _RELATIVE:
        return -abi.EINVAL
    if mode_flags & _BALANCING and mode not in (abi.MPOL_BIND, abi.MPOL_PREFERRED_MANY):
        return -abi.EINVAL
    nodes = _nodes(nodemask, maxnode)
    if nodes < 0:
        return nodes
    mask = mm.world.page_mask
    if flags & ~_KNOWN_MF or addr & mask:
        return -abi.EINVAL
    end = _end(addr, length, mask)
    if end < 0 or end == addr:
        return min(end, 0)
    policy = _policy(mode, mode_flags, nodes)
    if isinstance(policy, int):
        return policy
    if not _covered(mm, addr, end, holes_matter=mode != abi.MPOL_DEFAULT):
        return -abi.EFAULT
    return walk(mm, mm.vmas.find(addr), addr, end, Holes.SKIPPED, _bind, policy)


def _end(addr: int, length: int, mask: int) -> int:
    """Where the range ends, or -errno."""
    end = addr + (abi.page_align(length, mask) & abi.ULONG_MAX)
    return -abi.EINVAL if end > abi.ULONG_MAX else end


def _nodes(nodemask: int | str, maxnode: int) -> int:
    """The mask of nodes, or -errno (get_nodes())."""
    bits = maxnode - 1
    if bits == 0 or nodemask == 0:
        return 0
    if bits < 0 or bits > 4096 * 8:
        return -abi.EINVAL
    if isinstance(nodemask, int):
        return -abi.EFAULT
    value = 0
    for i, word in enumerate(words(nodemask)):
        value |= word << (64 * i)
    value &= (1 << bits) - 1
    return -abi.EINVAL if value >> _MAX_NODES else value


def _policy(mode: int, mode_flags: int, nodes: int) -> Policy | int | None:
    """mpol_new() and mpol_set_nodemask(): a policy by value, None for the default, or -errno."""
    if mode == abi.MPOL_DEFAULT:
        return -abi.EINVAL if nodes else None
    user = mode_flags & (_STATIC | _RELATIVE)
    if mode == abi.MPOL_PREFERRED and not nodes:
        return -abi.EINVAL if user else (abi.MPOL_LOCAL, 0, 0)
    if mode == abi.MPOL_LOCAL:
        return -abi.EINVAL if nodes or user else (abi.MPOL_LOCAL, mode_flags, 0)
    if not nodes:
        return -abi.EINVAL
    allowed = 1 if user & _RELATIVE else nodes & 1
    if not allowed:
        return -abi.EINVAL
    return (mode, mode_flags, nodes if user else allowed)


def _covered(mm: Mm, start: int, end: int, holes_matter: bool) -> bool:
    """Whether [start, end) is mapped: without a hole, or at all (queue_pages_test_walk())."""
    if holes_matter:
        return mm.vmas.covers(start, end)
    return any(True for _ in mm.vmas.overlapping(start, end))


def set_home_node(mm: Mm, addr: int, length: int, node: int, flags: int) -> int:
    """set_mempolicy_home_node(2): 0 or -errno; memory without a policy is passed over."""
    mask = mm.world.page_mask
    if addr & mask or flags or node:  # the machine has node 0 alone
        return -abi.EINVAL
    end = _end(addr, length, mask)
    if end < 0 or end == addr:
        return min(end, 0)
    found = [vma for vma in mm.vmas.overlapping(addr, end) if _policy_of(vma) is not None]
    if not found:
        return -abi.ENOENT
    return walk(mm, mm.vmas.find(addr), addr, end, Holes.SKIPPED, _bind_home)


def _policy_of(vma: Vma) -> Policy | None:
    return vma.extra.policy if vma.extra is not None else None


def _bind_home(mm: Mm, vma: Vma, start: int, end: int) -> Vma | int:
    """The policy of [start, end) with node 0 for its home, which mpol_equal() compares too."""
    policy = _policy_of(vma)
    if policy is None:
        return vma
    if policy[0] not in (abi.MPOL_BIND, abi.MPOL_PREFERRED_MANY):
        return -abi.EOPNOTSUPP
    return _bind(mm, vma, start, end, (*policy[:3], 0))


def _bind(mm: Mm, vma: Vma, start: int, end: int, policy: Policy | None) -> Vma | int:
    """mbind_range()."""
    old = vma.extra
    extra = some((old or NO_EXTRA)._replace(policy=policy))
    return vma if extra == old else mm.modify(vma, start, end, vma.flags, extra)
