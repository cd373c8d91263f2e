"""Calls with what they leave in other processes and later: on the model as on this kernel."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from program import LIMIT

from live.test_record import ENVIRONMENT

#: Words of the traces below.
WORDS = {
    "FIXED": "MAP_PRIVATE|MAP_ANONYMOUS|MAP_FIXED",
    "RW": "PROT_READ|PROT_WRITE",
    "MISSING": "UFFDIO_REGISTER_MODE_MISSING",
    "WRITES": "UFFDIO_REGISTER_MODE_WP",
}
USERFAULTFDS = """\
vmatrace: 1
files: {u: {path: x}, v: {path: y}}
events:
  - "ioctl(u, UFFDIO_API, {api=0xaa, features=UFFD_FEATURE_EVENT_FORK|UFFD_FEATURE_EVENT_REMAP})"
  - "ioctl(v, UFFDIO_API, {api=0xaa, features=0})"
  - "ioctl(v, UFFDIO_API, {api=0xaa, features=0})"
  - a = mmap(0x10000000000, 0x8000, RW, FIXED, -1, 0)
  - "ioctl(u, UFFDIO_REGISTER, {range={start=0x10000000000, len=0x2000}, mode=MISSING})"
  - "ioctl(v, UFFDIO_REGISTER, {range={start=0x10000004000, len=0x2000}, mode=WRITES})"
  - c = fork()
  - {pid: c, call: "mprotect(a, 0x1000, PROT_READ)"}
  - {pid: c, call: "mprotect(a, 0x1000, RW)"}
  - {pid: c, call: "ioctl(u, UFFDIO_REGISTER,
      {range={start=0x10000006000, len=0x1000}, mode=MISSING})"}
  - d = fork()
  - {pid: c, label: e, call: fork()}
  - mremap(a, 0x1000, 0x1000, MREMAP_MAYMOVE|MREMAP_FIXED, 0x20000000000)
  - {pid: c, call: "mremap(a, 0x1000, 0x1000, MREMAP_MAYMOVE|MREMAP_FIXED, 0x20000000000)"}
  - {pid: d, call: "munmap(a, 0x1000)"}
  - close(u)
  - {pid: d, call: "munmap(a, 0x1000)"}
  - {pid: c, call: "close(u)"}
  - {pid: e, call: "mremap(a, 0x1000, 0x1000, MREMAP_MAYMOVE|MREMAP_FIXED, 0x20000000000)"}
  - {pid: e, call: "close(u)"}
  - {pid: d, call: "close(u)"}
  - close(v)
  - close(v)
"""
PERSONALITY = """\
vmatrace: 1
cpus: CPUS
events:
  - personality(0xffffffff)
  - personality(READ_IMPLIES_EXEC|ADDR_NO_RANDOMIZE)
  - a = mmap(0x10000000000, 0x8000, RW, FIXED, -1, 0)
  - mmap(0x10000008000, 0x8000, PROT_WRITE, FIXED, -1, 0)
  - mprotect(a, 0x1000, PROT_READ)
  - mprotect(a, 0xa000, RW)
  - brk(0)
  - brk(0x7000013000)
  - brk(0x7000014000)
  - c = fork()
  - {pid: c, call: "mmap(0x20000008000, 0x8000, PROT_READ, FIXED, -1, 0)"}
  - personality(ADDR_NO_RANDOMIZE)
  - mmap(0x20000008000, 0x8000, PROT_READ, FIXED, -1, 0)
  - mprotect(a, 0x1000, PROT_READ)
  - {pid: c, call: personality(0xffffffff)}
  - {pid: c, call: execve("/bin/x")}
  - {pid: c, call: personality(0xffffffff)}
  - {pid: c, call: "mmap(0x20000008000, 0x8000, PROT_READ, FIXED, -1, 0)"}
  - d = clone(flags=CLONE_VM|SIGCHLD)
  - {pid: d, call: personality(READ_IMPLIES_EXEC|ADDR_NO_RANDOMIZE)}
  - mmap(0x40000008000, 0x1000, PROT_READ, FIXED, -1, 0)
  - {pid: d, label: f, call: fork()}
  - {pid: d, label: g, call: vfork()}
  - {pid: f, call: "mmap(0x50000008000, 0x1000, PROT_READ, FIXED, -1, 0)"}
  - {pid: g, call: "mmap(0x60000008000, 0x1000, PROT_READ, FIXED, -1, 0)"}
  - h = fork()
  - {pid: h, call: "mmap(0x50000008000, 0x1000, PROT_READ, FIXED, -1, 0)"}
  - {pid: g, call: execve("/bin/x")}
  - {pid: g, call: personality(0xffffffff)}
  - {pid: d, call: "mmap(0x50000008000, 0x1000, PROT_READ, FIXED, -1, 0)"}
  - personality(0xffffffff)
  - io_setup(128, NULL)
  - io_setup(1, NULL)
  - io_setup(0, NULL)
  - setrlimit(RLIMIT_AS, {rlim_cur=1048576*1024, rlim_max=RLIM64_INFINITY})
  - mmap(0x30000008000, 0x80000000, PROT_READ, FIXED, -1, 0)
  - prlimit64(0, RLIMIT_AS, {rlim_cur=RLIM64_INFINITY, rlim_max=RLIM64_INFINITY}, NULL)
  - mmap(0x30000008000, 0x80000000, PROT_READ, FIXED, -1, 0)
"""
HOME_NODES = """\
vmatrace: 1
events:
  - a = mmap(0x10000000000, 0x8000, RW, FIXED, -1, 0)
  - set_mempolicy_home_node(a, 0x8000, 0, 0)
  - mbind(a, 0x4000, MPOL_BIND, [0x1], 64, 0)
  - set_mempolicy_home_node(a, 0x2000, 0, 0)
  - set_mempolicy_home_node(a + 0x1000, 0x6000, 0, 0)
  - set_mempolicy_home_node(a, 0x4000, 1, 0)
  - set_mempolicy_home_node(a, 0x4000, 0, 1)
  - set_mempolicy_home_node(a + 1, 0x4000, 0, 0)
  - set_mempolicy_home_node(a + 1, 0, 0, 0)
  - set_mempolicy_home_node(a, 0, 0, 0)
  - set_mempolicy_home_node(a, 0x2000, 0, 0)
  - mbind(a, 0x1000, MPOL_INTERLEAVE, [0x1], 64, 0)
  - set_mempolicy_home_node(a, 0x3000, 0, 0)
  - set_mempolicy_home_node(a - 0x2000, 0x1000, 0, 0)
  - set_mempolicy_home_node(a + 0x5000, 0x1000, 0, 0)
  - mbind(a, 0x4000, MPOL_BIND, [0x1], 64, 0)
"""


@pytest.mark.parametrize(
    "text", [USERFAULTFDS, PERSONALITY, HOME_NODES], ids=["userfaultfd", "personality", "homes"]
)
@pytest.mark.skipif(os.geteuid() != 0, reason="events of userfaultfd are for root alone")
def test_this_kernel_does_what_the_model_does(tmp_path: Path, text: str) -> None:
    possible = Path("/sys/devices/system/cpu/possible").read_text(encoding="ascii")
    cpus = int(possible.strip().rpartition("-")[2]) + 1
    for word, meaning in {**WORDS, "CPUS": str(cpus)}.items():
        text = re.sub(rf"\b{word}\b", meaning, text)
    (tmp_path / "t.yaml").write_text(text, encoding="ascii")
    done = subprocess.run(
        [sys.executable, "-m", "vmatrace", "verify", "t.yaml"], cwd=tmp_path, env=ENVIRONMENT,
        text=True, capture_output=True, timeout=LIMIT, check=False,
    )  # fmt: skip
    assert done.stdout.startswith("exact     t.yaml"), done.stdout + done.stderr
