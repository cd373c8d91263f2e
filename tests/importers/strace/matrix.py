"""`make matrix`: one program under strace with each set of options, read alike.

    python tests/importers/strace/matrix.py [STRACE...]

Each STRACE (by default the one in PATH) runs program.c, linked statically and without address
randomization, so that every log must lead to the same memory. Sets that leave calls out are only
read: no line may be misunderstood. An option that a strace lacks is counted.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[2]))

from vmatrace.importers import open_trace  # noqa: E402
from vmatrace.kernels import get_kernel  # noqa: E402
from vmatrace.replayer.run import replay  # noqa: E402

#: What strace --help of 6.1 to 7.2 has that changes what is printed. -o stands for a file.
WHOLE: Final = """
-f; -f -o; -ff -o; -ff -tt -o; -f --output-separately -o; -f -t; -f -tt; -f -ttt; -f -r; -f -r -t;
-f -T; -f -tt -T -o; -f -i; -f -n; -f -y; -f -yy; -f -Y; -f -yy -Y -o; -f -v; -f -s 0; -f -s 4096;
-f -x; -f -xx; -f -y -xx; -f --strings-in-hex=all; -f --strings-in-hex=non-ascii-chars;
-f -e raw=all; -f -e raw=mmap,mprotect; -f -X raw; -f -X verbose; -f -X abbrev; -f -q; -f -qq;
-f -qqq; -f -e quiet=all; -f -C; -f -w -C; -f -a 0; -f -a 120 -o; -f -D -o; -f -DD -o; -f -DDD -o;
-f -k; -f -kk; -f -k --stack-trace-frame-limit=2; -f -e status=successful,failed;
-f --decode-pids=pidns; -f --decode-pids=comm; -f --decode-fds=all; -f -e decode-fds=socket;
-f --absolute-timestamps=format:unix,precision:ns --syscall-times=ns; -f --relative-timestamps=ns;
-f --seccomp-bpf; -f --always-show-pid; -f -N; -f -N -yy -X verbose -tt -o; -f -n -N; -f -u root;
-f --kill-on-exit; -f -e trace=%memory,%process,%desc; -f -e trace=all -e signal=none; -f -b execve;
-f -X verbose -i -n -tt -T -yy
"""
PARTS: Final = """
-f -e trace=%memory; -f -y -e trace=%memory; -f -z; -f -Z; -f -e status=failed; -f -e trace=none;
-f -e trace=mmap,munmap; -f -e inject=munmap:error=EINVAL:when=1; -f -P /dev/null; -f -c; -f -c -w
"""
_LACKS: Final = (b"unrecognized option", b"invalid option", b"not supported", b"not implemented",
                 b"invalid -", b"option -")  # fmt: skip
#: What -e raw hides is said, and cannot be read.
_HIDDEN: Final = "(strace -e raw hides "

Memory = list[tuple[int, int, str, int]]


def main() -> int:
    failed = 0
    with tempfile.TemporaryDirectory(dir=_roomy()) as folder:
        program = Path(folder, "program")
        build = ["cc", "-O1", "-w", "-static", "-o", str(program), str(HERE / "program.c")]
        subprocess.run(build, check=True)
        expected: Memory | None = None
        for strace in sys.argv[1:] or ["strace"]:
            counts = dict.fromkeys(("alike", "read", "lacking", "failed"), 0)
            for sets, whole in ((WHOLE, True), (PARTS, False)):
                for options in sets.replace("\n", " ").split(";"):
                    found = _run(strace, options.split(), program, Path(folder))
                    if isinstance(found, str):
                        kind = "lacking" if found == "lacking" else "failed"
                    else:
                        expected = expected or found
                        kind = "read" if not whole else "alike" if found == expected else "failed"
                    if kind == "failed":
                        sys.stdout.write(f"{strace}{options}: {found}\n")
                    counts[kind] += 1
            failed += counts["failed"]
            listed = ", ".join(f"{count} {kind}" for kind, count in counts.items())
            sys.stdout.write(f"{strace}: {listed}\n")
    return 1 if failed else 0


def _roomy() -> str | None:
    return "/dev/shm" if Path("/dev/shm").is_dir() else None


def _run(strace: str, options: list[str], program: Path, folder: Path) -> Memory | str:
    """What is mapped at the end; or what is wrong, "lacking" an option."""
    log = Path(tempfile.mkdtemp(dir=folder)) / "log"
    to_file = "-o" in options
    options = [*(o for o in options if o != "-o"), *(("-o", str(log)) if to_file else ())]
    command = ["setarch", "-R", "env", "-i", strace, *options, str(program)]
    done = subprocess.run(command, capture_output=True, cwd=log.parent, check=False, timeout=120)
    if done.returncode and any(what in done.stderr for what in _LACKS):
        return "lacking"
    if not to_file:
        log.write_bytes(done.stderr)
    time.sleep(0.2 if "-D" in " ".join(options) else 0)  # whose strace outlives the program
    if "-c" in options or "trace=none" in options:
        return []
    trace = open_trace(str(log))
    result = replay(trace, get_kernel("post-patch"))
    assert trace.notes is not None
    wrong = [each for each in trace.notes.misread if _HIDDEN not in each.message]
    if wrong:
        return f"not understood: {wrong[0]}"
    return [(m.start, m.end, m.perms, m.offset) for m in result.processes[0].layout]


if __name__ == "__main__":
    sys.exit(main())
