"""Recordings of what drivers and odd files map: exact, with their VmFlags kept in the trace."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from live.test_record import PYTHON, exact, record
from vmatrace.trace.file import load_trace

START = """
import ctypes, fcntl, mmap, os, socket, struct
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
def map(fd, prot=3, flags=1, size=8192, offset=0):
    return libc.mmap(None, ctypes.c_size_t(size), prot, flags, fd, ctypes.c_long(offset))
"""
DRIVERS = {
    "anon_inode:[io_uring]": """
params = ctypes.create_string_buffer(120)
fd = libc.syscall(425, 8, params)
if fd < 0: raise SystemExit(77)
map(fd, size=4096); map(fd, size=4096, offset=0x10000000)
if not os.fork(): map(-1, 1, 0x22, 4096); os._exit(0)
os.wait()
""",
    "anon_inode:[perf_event]": """
attr = struct.pack('<IIQ', 1, 112, 0).ljust(112, b'\\0')
fd = libc.syscall(298, attr, 0, -1, -1, 0)
if fd < 0: raise SystemExit(77)
map(fd)
if not os.fork(): os._exit(0)
os.wait()
""",
    "anon_inode:bpf-map": """
fd = libc.syscall(321, 0, struct.pack('<5I', 2, 4, 8, 2048, 1024).ljust(120, b'\\0'), 120)
if fd < 0: raise SystemExit(77)
map(fd, size=4096); map(fd, size=4096, offset=4096); map(fd, size=4096)
""",
    "socket:[": """
try: ring = socket.socket(17, socket.SOCK_RAW, 0x300)
except PermissionError: raise SystemExit(77)
ring.setsockopt(263, 5, struct.pack('4I', 4096, 2, 2048, 4))
map(ring.fileno())
""",
    "/sys/kernel/btf/vmlinux": """
try: fd = os.open('/sys/kernel/btf/vmlinux', 0)
except OSError: raise SystemExit(77)
map(fd, 1, 2, 4096); map(fd, 3, 2, 4096)
""",
    "/secretmem (deleted)": """
fd = libc.syscall(447, 0)
if fd < 0: raise SystemExit(77)
os.ftruncate(fd, 8192)
at = map(fd)
libc.mprotect(ctypes.c_void_p(at), 4096, 5); map(fd, 5)
""",
    "/memfd:sealed (deleted)": """
fd = os.memfd_create('sealed', os.MFD_ALLOW_SEALING)
os.ftruncate(fd, 16384)
map(fd, 3, 2)
fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE)
at = map(fd, 1)
libc.mprotect(ctypes.c_void_p(at), 4096, 3); map(fd, 3); map(fd, 3, 2, 4096)
""",
}


@pytest.mark.parametrize("path", DRIVERS)
def test_what_a_driver_maps_replays_to_what_smaps_showed(tmp_path: Path, path: str) -> None:
    probed = record(tmp_path, PYTHON, "-c", START + DRIVERS[path])
    if probed.returncode == 77:
        pytest.skip("this machine has no such driver, or it is not for us")
    assert probed.returncode == 0, probed.stderr
    files = load_trace(tmp_path / "trace.yaml").files.values()
    assert any(file.vmflags for file in files if file.path.startswith(path))


def test_a_segment_of_huge_pages_is_one(tmp_path: Path) -> None:
    exact(
        tmp_path,
        START + "shm = libc.shmget(0, 2 << 20, 0o5000 | 0o10000 | 0o600)\n"
        "libc.shmat.restype = ctypes.c_void_p\n"
        "at = libc.shmat(shm, None, 0)\nlibc.shmctl(shm, 0, None)\n"
        "libc.shmdt(ctypes.c_void_p(at))\n",
    )


def test_nothing_is_executable_on_a_noexec_mount(tmp_path: Path) -> None:
    program = START + (
        "fd = os.open('noexec/f', os.O_RDWR | os.O_CREAT); os.ftruncate(fd, 8192)\n"
        "at = map(fd, 1, 2); map(fd, 5, 2)\nlibc.mprotect(ctypes.c_void_p(at), 4096, 5)\n"
    )
    (tmp_path / "program.py").write_text(program)
    (tmp_path / "noexec").mkdir()
    script = f"mount -t tmpfs -o noexec none noexec || exit 77; exec {sys.executable} program.py"
    done = record(tmp_path, "unshare", "-m", "sh", "-c", script)
    if done.returncode == 77 or "unshare failed" in done.stderr:
        pytest.skip("no mount namespace for us")
    assert done.returncode == 0, done.stderr
    files = load_trace(tmp_path / "trace.yaml").files.values()
    assert [f.vmflags for f in files if f.path.endswith("/noexec/f")] == [("mr", "mw")]
