"""Which file a descriptor is: what each call that makes, copies or closes one does to a table."""

from __future__ import annotations

import re

import pytest

from vmatrace.importers.strace.descriptors import Names, Open, Table, follow, guessed_file_system


def table(calls: str) -> Table:
    """What *calls*, one a line as strace prints it, leave of descriptors 3</a> and 4</b>."""
    made = Table()
    made.put(3, Open("/a", "r"))
    made.put(4, Open("/b"), cloexec=True)
    for call in calls.strip().splitlines():
        match = re.fullmatch(r"\s*(\w+)\((.*)\) = (.*)", call)
        assert match is not None
        follow(made, match[1], match[2], match[3])
    return made


def shown(made: Table) -> str:
    """What is not as it was, each descriptor with its path and mode; "!": an exec closes it; "=":
    -y printed the path.
    """
    texts = [
        f"{number}{'!' * (number in made.cloexec)}{'=' * file.shown}{file.path}:{file.mode}"
        for number, file in sorted(made.opened.items())
    ]
    return " ".join(text for text in texts if text not in ("3/a:r", "4!/b:rw"))


@pytest.mark.parametrize(
    ("call", "left"),
    [
        ('open("/x", O_RDONLY) = 5', "5/x:r"),
        ('open("/x", O_WRONLY|O_CREAT, 0644) = 5', "5/x:w"),
        ('open("/x", O_RDWR|O_CLOEXEC) = 5', "5!/x:rw"),
        ('open("/x", 0x80002) = 5', "5!/x:rw"),
        ('open("/x", 0) = 5', "5/x:r"),
        ('open("/x", 0x1) = 5', "5/x:w"),
        ('open("/x", 0x3) = 5', "5/x:rw"),
        ('open("/x") = 5', "5/x:rw"),
        ('open("/x", O_RDONLY) = 0x5', "5/x:r"),
        ('open("/x", O_RDONLY) = 5</y>', "5=/y:r"),
        ('open("/x", O_RDONLY) = 5</y>(deleted)', "5=/y (deleted):r"),
        ('open("/x", O_RDONLY) = -1 ENOENT (No such file or directory)', ""),
        ('open("/\\303\\251, \\"", O_RDONLY) = 5', '5/é, ":r'),
        ("open(0x7f00, 0x80000) = 5", "5!fd:5:r"),
        ("open(0x7f00, 0x1, 0x2) = 5</y>", "5=/y:w"),
        ("open(0x7f00) = 5", "5fd:5:rw"),
        ('openat(AT_FDCWD, "x", O_RDONLY) = 5', "5x:r"),
        ('openat(AT_FDCWD</home>, "../x", O_RDONLY) = 5', "5/x:r"),
        ('openat(7</home/b>, "x", O_RDWR) = 5', "5/home/b/x:rw"),
        ('openat(7</home/b>, "/x", O_RDWR) = 5', "5/x:rw"),
        ("openat(0xffffff9c, 0x7f00, 0x80001, 0) = 5", "5!fd:5:w"),
        ('openat2(AT_FDCWD, "x", {flags=O_RDWR|O_CLOEXEC, resolve=0}, 24) = 5', "5!x:rw"),
        ('openat2(AT_FDCWD, "x", {flags=O_RDONLY}, 24) = 5</y>', "5=/y:r"),
        ('openat2(AT_FDCWD, "x", {flags=0x1}, 24) = 5', "5x:w"),
        ('creat("/x", 0644) = 5', "5/x:w"),
        ('creat("/x", 0644) = 5</y>', "5=/y:w"),
        ('memfd_create("m", 0) = 5', "5=/memfd:m (deleted):rw"),
        ('memfd_create("m", MFD_CLOEXEC) = 5', "5!=/memfd:m (deleted):rw"),
        ('memfd_create("m", 0x1) = 5', "5!=/memfd:m (deleted):rw"),
        ('memfd_create("m", MFD_HUGETLB) = 5', "5=/anon_hugepage (deleted):rw"),
        ('memfd_create("m", 0x5) = 5', "5!=/anon_hugepage (deleted):rw"),
        ('memfd_create("m", 0) = 5</memfd:m>(deleted)', "5=/memfd:m (deleted):rw"),
        ("memfd_create(0x7f00, 0) = 5", "5=/memfd:? (deleted):rw"),
        ("memfd_secret(FD_CLOEXEC) = 5", "5!/secretmem (deleted):rw"),
        ("userfaultfd(O_CLOEXEC|O_NONBLOCK) = 5", "5!anon_inode:[userfaultfd]:rw"),
        ("userfaultfd(0) = 5", "5anon_inode:[userfaultfd]:rw"),
        ("io_uring_setup(8, {flags=0}) = 5", "5anon_inode:[io_uring]:rw"),
        ("pidfd_open(77, 0) = 5", "5!anon_inode:[pidfd]:rw"),
        ("socket(AF_UNIX, SOCK_STREAM|SOCK_CLOEXEC, 0) = 5", "5!?:rw"),
        ("dup(3) = 5", "5/a:r"),
        ("dup(3</a>) = 5</a>", "5/a:r"),
        ("dup(9) = 5", "5fd:9:rw 9fd:9:rw"),
        ("dup2(3, 5) = 5", "5/a:r"),
        ("dup2(4, 4) = 4", ""),
        ("dup3(3, 5, O_CLOEXEC) = 5", "5!/a:r"),
        ("dup3(3, 5, 0x80000) = 5", "5!/a:r"),
        ("dup3(3, 5, 0) = 5", "5/a:r"),
        ("dup(-1) = -1 EBADF", ""),
        ("fcntl(3, F_DUPFD, 5) = 5", "5/a:r"),
        ("fcntl(3, F_DUPFD_CLOEXEC, 5) = 5", "5!/a:r"),
        ("fcntl(3, 0x406, 5) = 5", "5!/a:r"),
        ("fcntl(3, 0, 5) = 5", "5/a:r"),
        ("fcntl(4, F_SETFD, 0) = 0", "4/b:rw"),
        ("fcntl(4, F_SETFD, FD_CLOEXEC) = 0", ""),
        ("fcntl(4, 0x2, 0x1) = 0", ""),
        ("fcntl(4, 0x2, 0) = 0", "4/b:rw"),
        ("fcntl(9, F_SETFD, FD_CLOEXEC) = 0", ""),
        ("fcntl(4, F_SETFD) = 0", "4/b:rw"),
        ("fcntl(4, F_GETFD) = 0", ""),
        ("fcntl(4) = 0", ""),
        ("fcntl(x, F_DUPFD, 5) = 5", ""),
    ],
)
def test_a_call_makes_or_copies_a_descriptor(call: str, left: str) -> None:
    assert shown(table(call)) == left


@pytest.mark.parametrize(
    ("call", "open_after", "cloexec"),
    [
        ("close(3) = 0", [4], [4]),
        ("close(4) = 0", [3], []),
        ("close(0x4) = 0", [3], []),
        ("close(9) = 0", [3, 4], [4]),
        ("close(3) = -1 EIO", [3, 4], [4]),
        ("close_range(3, 4294967295, 0) = 0", [], []),
        ("close_range(4, 0xffffffff, 0) = 0", [3], []),
        ("close_range(3, 3) = 0", [4], [4]),
        ("close_range(4, -1, 0) = 0", [3], []),
        ("close_range(3, 4, CLOSE_RANGE_CLOEXEC) = 0", [3, 4], [3, 4]),
        ("close_range(3, 4, 0x4) = 0", [3, 4], [3, 4]),
        ("close_range(0, 0, 0) = 0", [3, 4], [4]),
        ("close_range(0, 3, 0) = 0", [4], [4]),
        ("close_range(5, 9, 0) = 0", [3, 4], [4]),
        ("close_range(3) = 0", [3, 4], [4]),
        ("close_range(x, 4, 0) = 0", [3, 4], [4]),
        ("close_range(3, x, 0) = 0", [3, 4], [4]),
    ],
)
def test_a_call_closes_descriptors(call: str, open_after: list[int], cloexec: list[int]) -> None:
    made = table(call)
    assert (sorted(made.opened), sorted(made.cloexec)) == (open_after, cloexec)


def test_a_number_that_is_used_again_is_another_file_and_loses_its_mark() -> None:
    made = table('close(4) = 0\nopen("/c", O_RDONLY) = 4')
    assert (made.opened[4].path, made.cloexec) == ("/c", set())


def test_a_copy_is_the_same_open_file() -> None:
    made = table("dup(3) = 5")
    assert made.opened[3] is made.opened[5]
    other = made.copy()
    follow(other, "close", "3", "0")
    assert (3 in made.opened, 3 in other.opened) == (True, False)
    assert other.opened[5] is made.opened[5]
    other.cloexec.add(5)
    assert 5 not in made.cloexec
    after = made.after_exec()
    assert (sorted(after.opened), after.cloexec) == ([3, 5], set())


def test_a_pidfd_knows_whose_it_is() -> None:
    assert table("pidfd_open(77, 0) = 5").opened[5].pid == "77"
    assert table("pidfd_open(x, 0) = 5").opened[5].pid is None


@pytest.mark.parametrize(
    ("given", "said", "same"),
    [
        (Open("/a"), "/b", True),  # a link may lie between the two
        (Open("/a", shown=True), "/b", False),
        (Open("/a", shown=True), "/a (deleted)", True),
        (Open("/a (deleted)", shown=True), "/a", True),
        (Open("fd:3"), "anon_inode:[eventfd]", True),
        (Open("/a"), "/memfd:x (deleted)", False),
        (Open("/a"), "anon_inode:[eventfd]", False),
        (Open("/memfd:x (deleted)"), "/a", False),
    ],
)
def test_a_path_that_is_shown_is_the_files_own_or_anothers(
    given: Open, said: str, same: bool
) -> None:
    made, names = Table({3: given}, {3}), Names()
    fd = made.of(3, said, names)
    assert (made.opened[3] is given) is same
    assert (3 in made.cloexec) is same
    assert fd.file is not None
    assert fd.file.path == said
    assert made.of(3, None, names) is fd


@pytest.mark.parametrize(
    ("path", "fs"),
    [
        ("/lib/a.so", "ext4"), ("/dev/shm/x", "tmpfs"), ("/memfd:x (deleted)", "tmpfs"),
        ("/SYSV00000000 1 (deleted)", "tmpfs"), ("/anon_hugepage (deleted)", "hugetlbfs"),
        ("/dev/zero", "ext4"), ("/proc/self/mem", "proc"), ("/dev/hugepages/x", "hugetlbfs"),
        ("/dev/dri/card0", "legacy"), ("/devel/x", "ext4"),
        ("anon_inode:[userfaultfd]", "legacy"), ("socket:[17]", "legacy"),
        ("/secretmem (deleted)", "secretmem"), ("/dev/shmx", "legacy"),
    ],
)  # fmt: skip
def test_a_path_says_on_what_a_file_is(path: str, fs: str) -> None:
    assert guessed_file_system(path) == fs


def test_a_file_that_is_mapped_keeps_the_name_that_it_had() -> None:
    made, names = Table({3: Open("/a")}), Names()
    first = made.of(3, None, names)
    again = made.of(3, "/b", names)
    assert again is first
    assert (first.file.path if first.file else "", made.opened[3].path) == ("/a", "/a")


def test_a_descriptor_whose_opening_is_not_shown_is_one_file() -> None:
    made, names = Table(), Names()
    fds = [made.of(7, None, names), made.of(7, None, names), made.of(8, "/x", names)]
    assert [(fd.key, fd.file.path if fd.file else "") for fd in fds] == [
        ("fd_7", "fd:7"), ("fd_7", "fd:7"), ("x", "/x"),
    ]  # fmt: skip
    assert not made.opened[7].shown
    assert made.opened[8].shown


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["/lib/libc.so.6", "/x/libc.so.6"], ["libc_so_6", "libc_so_6_2"]),
        (["/memfd:a b (deleted)"], ["memfd_a_b"]),
        (["/x/a", "/x/a_2", "/y/a"], ["a", "a_2", "a_3"]),
        (["/x/a", "/y/a", "/x/a_2"], ["a", "a_2", "a_2_2"]),
        (["/1", "/", "/é", "/PROT_READ", "/NULL"],
         ["file_2", "file_3", "file_4", "file_5", "file_6"]),
        (["/" + "x" * 50], ["x" * 40]),
        (["/__a__"], ["a"]),
        (["/XaX", "/x/XaX", "/é/b (deleted)"], ["XaX", "XaX_2", "b"]),
    ],
)  # fmt: skip
def test_names_come_from_paths_and_no_two_are_alike(paths: list[str], names: list[str]) -> None:
    made = Names()
    assert [made.new(path) for path in paths] == names
