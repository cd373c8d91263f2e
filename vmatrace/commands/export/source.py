"""A trace as one C file, ready for a mailing list: what it needs, its files, its calls."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.resources import files
from itertools import groupby
from typing import Final, TextIO

from vmatrace import abi
from vmatrace._version import __version__
from vmatrace.commands.export.program import CProgram, Statement, UnperformableError
from vmatrace.commands.export.spelling import function, harmless, quoted
from vmatrace.event import File
from vmatrace.syscalls import numbers

_HEADERS: Final = (
    "errno.h", "fcntl.h", "linux/userfaultfd.h", "setjmp.h", "signal.h", "stdbool.h", "stdio.h",
    "stdlib.h", "string.h", "sys/ioctl.h", "sys/ipc.h", "sys/mman.h", "sys/personality.h",
    "sys/prctl.h", "sys/resource.h", "sys/shm.h", "sys/stat.h", "sys/statfs.h",
    "sys/syscall.h", "sys/types.h", "sys/uio.h", "sys/wait.h", "ucontext.h", "unistd.h",
)  # fmt: skip
#: statfs.f_type of the file systems that a file can be asked to be on.
_MAGIC: Final = {
    "ext4": 0xEF53, "xfs": 0x58465342, "btrfs": 0x9123683E, "overlay": 0x794C7630,
    "f2fs": 0xF2F52010, "fuse": 0x65735546, "nfs": 0x6969,
}  # fmt: skip
#: Calls with one number on every machine, which older C libraries do not know.
_YOUNG: Final = frozenset({"mseal", "process_madvise"})
_MODES: Final = {"r": "O_RDONLY", "w": "O_WRONLY", "rw": "O_RDWR"}
#: Bytes of a file whose size the trace leaves open. Sparse.
_SIZE: Final = 1 << 30
_HUGE: Final = 2 << 20

_OPENING: Final = """
/* An unlinked file of its own, opened as the trace has it. */
static int opened(int file, long size, int mode)
{
	char path[64];
	int again;

	if (file < 0 || ftruncate(file, size))
		skip("a file that the trace needs cannot be made here");
	snprintf(path, sizeof(path), "/proc/self/fd/%d", file);
	again = open(path, mode);
	if (again < 0)
		skip("a file that the trace needs cannot be opened here");
	return again;
}
"""
_DISK: Final = """
/* A file in $TMPDIR or here, which has to be on that file system. */
static int on_disk(long magic, const char *what)
{
	const char *folders[] = { getenv("TMPDIR"), "/tmp", "/var/tmp", "." };
	char path[512];
	struct statfs at;

	for (int i = 0; i < 4; i++) {
		int file;

		if (!folders[i] || statfs(folders[i], &at) || (at.f_type & 0xffffffffL) != magic)
			continue;
		snprintf(path, sizeof(path), "%s/vmatrace-XXXXXX", folders[i]);
		file = mkstemp(path);
		if (file >= 0) {
			unlink(path);
			return file;
		}
	}
	skip(what);
	return -1;
}
"""
_TURNS: Final = """
/* One process at a time: whose turn it is hears so through its pipe, and what the others know. */
static int pipes[PROCESSES][2];
static unsigned long *const shared[] = { @shared@ };
#define SHARED (sizeof(shared) / sizeof(*shared))

static void give(int process)
{
	unsigned long told[SHARED + 2] = { (unsigned long)tests, (unsigned long)failed };

	for (size_t i = 0; i < SHARED; i++)
		told[2 + i] = *shared[i];
	fflush(stdout);
	if (write(pipes[process][1], told, sizeof(told)) != sizeof(told))
		exit(FAIL);
}

static void turn(int process)
{
	unsigned long told[SHARED + 2];

	if (read(pipes[process][0], told, sizeof(told)) != sizeof(told))
		exit(FAIL);
	tests = (int)told[0];
	failed = (int)told[1];
	for (size_t i = 0; i < SHARED; i++)
		*shared[i] = told[2 + i];
}
"""


def write(made: CProgram, out: TextIO) -> None:
    """Write the program. Raises UnperformableError for a file that no program can open."""
    parts = list(_parts(made))
    out.write("\n".join(parts) + "\n")


def write_skipped(name: str, why: str, out: TextIO) -> None:
    """Write a program that says why it tries nothing, and is skipped."""
    out.write(
        f"// SPDX-License-Identifier: MIT\n/* {harmless(name)}: not exported: {harmless(why)} */\n"
        f"#include <stdio.h>\n\nint main(void)\n{{\n"
        f'\tputs("KTAP version 1\\n1..0 # SKIP " {quoted(why)});\n\treturn 4;\n}}\n'
    )


def _parts(made: CProgram) -> Iterator[str]:
    trace = made.trace
    several = len(made.pids) > 1
    yield "// SPDX-License-Identifier: MIT"
    yield "/*"
    yield f" * {harmless(trace.name)}"
    for line in trace.description.strip().splitlines():
        yield f" * {harmless(line.rstrip())}".rstrip()
    yield " *"
    yield f" * Made by vmatrace {__version__}; what has to hold is that of {made.kernel.name}."
    yield " * cc -Wall -Wextra -Werror -static -o test THIS.c && ./test"
    yield " * Prints KTAP; exit status 0: it holds, 1: it does not, 4: cannot be tried here."
    yield " */"
    yield "#define _GNU_SOURCE"
    yield from (f"#include <{header}>" for header in _HEADERS)
    yield ""
    yield f"#define PAGE_SIZE {trace.page_size}"
    yield from _definitions(made)
    yield ""
    yield files(__package__).joinpath("runtime.c").read_text(encoding="utf-8").rstrip()
    opening = [_opening(key, file) for key, file in trace.files.items()]
    if any("opened(" in text for text in opening):
        yield _OPENING.rstrip()
    if any("on_disk(" in text for text in opening):
        yield _DISK.rstrip()
    yield ""
    yield f"/* --- {harmless(trace.name)} --- */"
    yield ""
    names = [*(f"fd_{key}" for key in trace.files), *made.uffds]
    if names:
        yield f"static int {', '.join(names)};"
    if made.variables:
        yield f"static unsigned long {', '.join(made.variables)};"
    if several:
        processes = ", ".join(map(_constant, made.pids))
        yield f"enum {{ {processes}, PROCESSES }};"
        shared = ", ".join(f"&{name}" for name in made.variables) or "NULL"
        yield _TURNS.replace("@shared@", shared).rstrip()
        yield ""
        for pid in made.pids[1:]:
            yield f"static void {function(pid)}(void);"
    yield ""
    yield from _setup(made, opening, several)
    for pid in made.pids[1:]:
        yield from _life(made, pid)
    yield from _main(made, several)


def _definitions(made: CProgram) -> Iterator[str]:
    """Constants and numbers of calls that the C library may not have yet."""
    constants = dict(made.constants)
    if made.trace.process.ksm:
        constants["PR_SET_MEMORY_MERGE"] = abi.PR_SET_MEMORY_MERGE
    for name, value in sorted(constants.items()):
        if name != "PAGE_SIZE":
            yield f"#ifndef {name}\n#define {name} {value:#x}\n#endif"
    known = numbers("x86_64")
    for call in sorted(made.calls & _YOUNG):
        yield f"#ifndef __NR_{call}\n#define __NR_{call} {known[call]}\n#endif"


def _opening(key: int | str, file: File) -> str:
    size = _SIZE if file.size is None else file.size
    mode = _MODES[file.mode]
    name = f"fd_{key}"
    if not name.isidentifier():
        raise UnperformableError(f"{key} is no name in C")
    if file.path == "/dev/zero":
        return f'{name} = open("/dev/zero", {mode});'
    if file.fs == "tmpfs" and file.path.startswith("/SYSV"):
        return f"{name} = shmget(IPC_PRIVATE, {size}, IPC_CREAT | 0600);"
    if file.fs == "tmpfs":
        return f'{name} = opened(memfd_create("vmatrace", 0), {size}, {mode});'
    if file.fs == "hugetlbfs":
        huge = -(-(file.size or _HUGE) // _HUGE) * _HUGE
        return f'{name} = opened(memfd_create("vmatrace", MFD_HUGETLB), {huge}, {mode});'
    if file.fs in _MAGIC:
        why = quoted(f"no folder on {file.fs} here (TMPDIR says where)")
        return f"{name} = opened(on_disk({_MAGIC[file.fs]:#x}L, {why}), {size}, {mode});"
    raise UnperformableError(f"no way to open {file.path} on {file.fs}")


def _setup(made: CProgram, opening: list[str], several: bool) -> Iterator[str]:
    trace = made.trace
    yield "static void prepare(void)"
    yield "{"
    body = [
        f'sysctl_is("/proc/sys/vm/overcommit_memory", {trace.sysctl.overcommit_memory});',
    ]
    if trace.sysctl.nr_hugepages:
        body.append(f'sysctl_is("/proc/sys/vm/nr_hugepages", {trace.sysctl.nr_hugepages});')
    limits = {"memlock": "RLIMIT_MEMLOCK", "stack": "RLIMIT_STACK"}
    for name, value in (trace.process.rlimits or {}).items():
        if value is not None:
            body.append(f"setrlimit({limits[name]}, &(struct rlimit){{ {value}UL, {value}UL }});")
    uses = {line for each in made.lines for line in each.code}
    opened = [key for key in trace.files if any(f"fd_{key}" in line for line in uses)]
    for key, text in zip(trace.files, opening, strict=True):
        if key in opened:
            body.append(text)
        else:
            body.append(f"(void)fd_{key};")
    body += [f"{name} = uffd({int(not asks)});" for name, asks in made.uffds.items()]
    if made.anon_names:
        body.append("names_are_kept();")
    if made.executes:
        body.append("can_execute();")
    if several:
        body += [
            "for (int i = 0; i < PROCESSES; i++)",
            "\tif (pipe(pipes[i]))",
            '\t\tskip("no pipes");',
        ]
    body.append("start();")
    if trace.process.ksm:
        body.append("if (prctl(PR_SET_MEMORY_MERGE, 1, 0, 0, 0))")
        body.append('\tskip("no KSM here (CONFIG_KSM)");')
    yield from (f"\t{line}" for line in body)
    yield "}"
    yield ""


def _segments(made: CProgram) -> list[tuple[str, list[Statement]]]:
    """The lines in order, those of one process that follow each other together."""
    return [(pid, list(lines)) for pid, lines in groupby(made.lines, key=lambda line: line.pid)]


def _constant(pid: str) -> str:
    return f"{function(pid)}_".upper()


def _body(made: CProgram, pid: str, *first: str) -> list[str]:
    """What one process does, after *first*: what it declares, and its turns."""
    body = list(_turns(made, pid))
    return [*(["\tlong r;", ""] if any("r = " in line for line in body) else []), *first, *body]


def _turns(made: CProgram, pid: str) -> Iterator[str]:
    segments = _segments(made)
    for index, (whose, lines) in enumerate(segments):
        if whose != pid:
            continue
        if index:
            yield f"\tturn({_constant(pid)});"
        for line in lines:
            yield from (f"\t{code}" if code else "" for code in line.code)
            yield ""
        following = segments[index + 1][0] if index + 1 < len(segments) else "main"
        if following != pid:
            yield f"\tgive({_constant(following)});"


def _life(made: CProgram, pid: str) -> Iterator[str]:
    yield f"static void {function(pid)}(void)"
    yield "{"
    yield from _body(made, pid, "\tprctl(PR_SET_PDEATHSIG, SIGKILL);")
    yield "\tfflush(stdout);"
    yield "\tpause(); /* the end of all ends it */"
    yield "\t_exit(PASS);"
    yield "}"
    yield ""


def _main(made: CProgram, several: bool) -> Iterator[str]:
    yield "int main(int argc, char **argv)"
    yield "{"
    yield from _body(
        made,
        "main",
        "\tat_usual_addresses(argc, argv);",
        "\tprepare();",
        f'\tprintf("KTAP version 1\\n1..{made.tests}\\n");',
        "",
    )
    last = _segments(made)[-1][0] if made.lines else "main"
    if several and last != "main":
        yield f"\tturn({_constant('main')});"
    yield f'\tprintf("# passed %d of %d\\n", tests - failed, {made.tests});'
    yield f"\treturn failed || tests != {made.tests} ? FAIL : PASS;"
    yield "}"
