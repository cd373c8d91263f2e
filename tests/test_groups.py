"""groups: each VMA in one, and names that only numbers tell apart together."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmatrace import abi, groups
from vmatrace.layout import Mapping

_NAMES = st.sampled_from(
    ["", "[heap]", "[stack]", "[anon:a 1]", "[anon:a 2]", "[vdso]", "/lib/x.so.1", "/data/1.idx",
     "/memfd:x (deleted)", "/dev/dri/card0", "anon_inode:[io_uring]", "[anon_shmem:b]", "/SYSV1"]
)  # fmt: skip


@st.composite
def layouts(draw: st.DrawFn) -> list[Mapping]:
    """Mappings in address order, touching or not."""
    at, found = 1, []
    for _ in range(draw(st.integers(0, 30))):
        at += draw(st.sampled_from([0, 0, 0, 1, 1 << 15]))
        pages = draw(st.sampled_from([1, 1, 1, 2, 33, 1 << 11, (1 << 14) - 1]))
        flags = draw(st.integers(0, 15)) | draw(
            st.sampled_from(
                [0, abi.VM_MERGEABLE, abi.VM_DONTCOPY, abi.VM_LOCKED, abi.VM_IO, abi.VM_MAYSHARE]
            )
        )
        name = draw(_NAMES)
        inode = 7 if name.startswith("/") else 0
        found.append(Mapping(at << 12, (at + pages) << 12, flags, 0, name, "00:00", inode))
        at += pages
    return found


@given(layouts())
def test_groups_have_each_vma_once(layout: list[Mapping]) -> None:
    found = groups.groups(layout)
    assert sum(group.vmas for group in found) == len(layout)
    assert sum(group.bytes for group in found) == sum(m.end - m.start for m in layout)
    for group in found:
        assert sum(group.sizes.values()) == group.vmas
        assert sum(size * n for size, n in group.sizes.items()) <= group.bytes
        assert group.bytes < sum(2 * size * n for size, n in group.sizes.items())
        assert group.key.backing in groups.BACKINGS
    assert len({group.key for group in found}) == len(found)
    assert [group.vmas for group in found] == sorted((g.vmas for g in found), reverse=True)


@pytest.mark.parametrize(
    ("name", "flags", "inode", "backing"),
    [
        ("", 0, 0, groups.ANONYMOUS),
        ("", abi.VM_MAYSHARE, 0, groups.SHARED),
        ("[anon:glibc: malloc arena]", 0, 0, groups.NAMED),
        ("[anon_shmem:x]", abi.VM_MAYSHARE, 0, groups.SHARED),
        ("[heap]", 0, 0, groups.HEAP),
        ("[stack:17]", 0, 0, groups.STACK),
        ("[vvar_vclock]", abi.VM_IO, 0, groups.KERNEL),
        ("/usr/lib/libc.so.6", 0, 5, groups.FILE),
        ("/memfd:doublemapper (deleted)", abi.VM_MAYSHARE, 5, groups.SHARED),
        ("/dev/shm/ring", abi.VM_MAYSHARE, 5, groups.SHARED),
        ("/dev/nvidiactl", abi.VM_IO, 5, groups.DEVICE),
        ("anon_inode:[perf_event]", 0, 5, groups.DEVICE),
    ],
)
def test_what_backs_a_vma(name: str, flags: int, inode: int, backing: str) -> None:
    assert groups.backing(Mapping(0, 4096, flags, 0, name, "00:00", inode)) == backing


def test_names_that_numbers_alone_tell_apart_are_one_where_there_are_many() -> None:
    arenas = [f"[anon:arena {i}]" for i in range(4)]
    assert set(groups.labels(arenas).values()) == {"[anon:arena *]"}
    assert groups.labels(arenas[:3]) == {name: name for name in arenas[:3]}
    assert groups.labels(["/lib/a.so.1"])["/lib/a.so.1"] == "/lib/a.so.1"


def test_many_files_of_one_folder_are_one_and_libraries_are_not() -> None:
    files = [f"/data/index/{name}.cfs" for name in "abcdefgh"]
    assert set(groups.labels(files).values()) == {"/data/index/*.cfs"}
    assert groups.labels(files[:7]) == {name: name for name in files[:7]}
    libraries = [f"/usr/lib/lib{name}.so" for name in "abcdefgh"]
    assert groups.labels(libraries) == {name: name for name in libraries}


@pytest.mark.parametrize("page", [4096, 16384, 65536])
def test_the_page_size_is_what_all_borders_are_at(page: int) -> None:
    assert groups.page_size([Mapping(page, 4 * page, 0), Mapping(5 * page, 6 * page, 0)]) == page
