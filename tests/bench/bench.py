"""How fast and how large: ``make bench``. Prints a table; ``--json FILE`` writes the figures too.

Every figure is the median of several runs. The toy engine of toy.py is run on the same events, so
that a ratio to it can be compared between machines. Nothing here passes or fails.
"""

from __future__ import annotations

import argparse
import compileall
import gc
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

from kernel import calls_per_second
from logs import everything, mappings, memory_calls, snapshot
from memory import seconds_per_look
from recording import overheads
from streams import HEADER, STREAMS, Process, Stream, call_strings, map_and_unmap, unmap_and_place
from toy import Toy

from vmatrace._version import is_compiled
from vmatrace.kernels import DEFAULT, get_kernel
from vmatrace.replayer.run import Replay
from vmatrace.trace.callstring import CallParser
from vmatrace.trace.file import Item, Trace, load_trace
from vmatrace.trace.header import Sysctl

PACKAGE: Final = Path(__file__).parents[2] / "vmatrace"
#: Live VMAs in the address spaces, of which the last takes a raised max_map_count.
SMALL, LARGE, HUGE = 1_000, 60_000, 1_000_000


class Report:
    """The figures so far, by name, and the lines of the table as they come."""

    def __init__(self) -> None:
        self.figures: dict[str, float] = {}

    def title(self, text: str) -> None:
        sys.stdout.write(f"\n{text}\n")

    def add(self, key: str, label: str, value: float, unit: str, note: str = "") -> None:
        self.figures[key] = round(value, 4)
        number = f"{value:,.0f}" if value >= 100 else f"{value:.2f}"
        sys.stdout.write(f"  {label:<42}{number:>12} {unit:<12}{note}".rstrip() + "\n")
        sys.stdout.flush()


def rate(runs: int, count: int, work: Callable[[], object]) -> float:
    """How many of *count* things a second of CPU time *work* does: the median of *runs*."""
    return count / statistics.median(_timed(work) for _ in range(runs))


def _timed(work: Callable[[], object]) -> float:
    gc.collect()
    start = time.process_time()
    work()
    return time.process_time() - start


# --- reading ------------------------------------------------------------------------------------


def bench_reading(report: Report, runs: int, count: int) -> None:
    """Call strings alone, and a whole trace through YAML."""
    report.title("Reading")
    for recorded in (False, True):
        texts = call_strings(count, recorded)

        def parse(texts: list[str] = texts) -> None:
            parse_one = CallParser().parse
            for text in texts:
                parse_one(text)

        what = "with results" if recorded else "without results"
        key = f"call_strings_per_second_{'with' if recorded else 'without'}_result"
        report.add(key, f"call strings, {what}", rate(runs, count, parse), "calls/s")
    lines = "".join(f"  - {text}\n" for text in Process().calls(count))
    data = (HEADER + lines).encode()
    value = rate(runs, count, lambda: load_trace(data).validate())
    report.add("yaml_items_per_second", "items of a YAML trace", value, "items/s")


# --- the engine alone ---------------------------------------------------------------------------


def bench_engine(report: Report, runs: int, count: int) -> None:
    """Prepared events through the engine, among few live VMAs, many, and a million.

    The toy cannot choose an address; where the engine must, it is measured against map_and_unmap.
    """
    report.title(f"The engine alone, {count:,} prepared events")
    for make in STREAMS:
        few, many, most = (make(live, count) for live in (SMALL, LARGE, HUGE))
        yardstick = few if make is not unmap_and_place else map_and_unmap(SMALL, count)
        # In turn, so that a busy moment of the machine slows all of them.
        times = [
            (toy_run(yardstick), *(engine_run(stream) for stream in (few, many, most)))
            for _ in range(runs)
        ]
        toy, small, large, huge = (
            count / statistics.median(column) for column in zip(*times, strict=True)
        )
        name = make.__name__
        report.figures[f"toy_{name}_{SMALL}"] = round(toy)
        report.figures[f"engine_{name}_ratio"] = round(large / small, 4)
        report.figures[f"engine_{name}_million_ratio"] = round(huge / small, 4)
        for live, value, note in (
            (SMALL, small, f"{small / toy:.0%} of the toy's {toy:,.0f}"),
            (LARGE, large, f"{large / small:.0%} of that of {SMALL:,}"),
            (HUGE, huge, f"{huge / small:.0%} of that of {SMALL:,} (to reach: 60%)"),
        ):
            label = f"{few.name}, {live:,} VMAs"
            report.add(f"engine_{name}_{live}", label, value, "events/s", note)
    for live in (SMALL, HUGE):
        label, value = f"a look at 1 of {live:,} VMAs and the next", seconds_per_look(live, runs)
        report.add(f"look_{live}", label, 1e9 * value, "ns", "memory alone, nothing searched")


def engine_run(stream: Stream) -> float:
    """Seconds that the engine takes for the stream's events; the building is not counted."""
    times: list[float] = []

    def items() -> Iterator[Item]:
        yield from stream.build
        times.append(time.process_time())
        yield from stream.events
        times.append(time.process_time())

    gc.collect()
    gc.freeze()  # the prepared events are not the engine's garbage
    trace = Trace("bench", "bench", items, sysctl=Sysctl(max_map_count=2 * HUGE))
    result = Replay(trace, get_kernel(DEFAULT)).run()
    gc.unfreeze()
    assert result.errors == 0
    assert result.vmas == len(stream.build)
    return times[1] - times[0]


def toy_run(stream: Stream) -> float:
    """Seconds that the toy takes for the stream's events."""
    toy = Toy()
    toy.run(stream.build)
    return _timed(lambda: toy.run(stream.events))


# --- whole commands -----------------------------------------------------------------------------


def command(*args: str) -> list[str]:
    return [sys.executable, "-m", "vmatrace", *args]


class Cost(NamedTuple):
    """What a command took: wall and CPU time in seconds, peak memory of one process in MB."""

    seconds: float
    cpu: float
    memory: float


def run(argv: list[str]) -> Cost:
    """Run a command, whose output is thrown away; that it found something (1) is no failure."""
    start = time.perf_counter()
    process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, cwd="/")
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in (0, 1):
        raise SystemExit(f"{' '.join(argv)}: exit status {process.returncode}")
    return Cost(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def medians(argv: list[str], runs: int) -> Cost:
    """What a command takes: the median of each figure of *runs*."""
    return Cost(*map(statistics.median, zip(*(run(argv) for _ in range(runs)), strict=True)))


def asked(question: str, path: Path) -> list[str]:
    """The command of *question*, which is about FILE."""
    return command(*question.replace("FILE", str(path)).split())


def bench_startup(report: Report, runs: int, folder: Path) -> None:
    """Small commands beside an interpreter that does nothing."""
    small = folder / "small.yaml"
    write_trace(small, 20)
    commands = {
        "python": [sys.executable, "-c", "pass"],
        "version": command("--version"),
        "replay_20": command("replay", str(small)),
    }
    times: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(runs):
        for name, argv in commands.items():
            times[name].append(1000 * run(argv).seconds)
    bare = statistics.median(times["python"])
    report.title("Start-up")
    report.add("python_ms", "python -c pass", bare, "ms")
    for name, label in (("version", "vmatrace --version"), ("replay_20", "replay of 20 events")):
        value = statistics.median(times[name])
        report.add(f"{name}_ms", label, value, "ms", f"{value - bare:+.0f} over bare python")
        report.figures[f"{name}_over_python_ms"] = round(value - bare, 2)


def bench_replay(report: Report, runs: int, count: int, folder: Path) -> None:
    """A large recorded trace through the whole command."""
    large = folder / "large.yaml"
    write_trace(large, count)
    report.title(f"vmatrace replay, {count:,} events, {large.stat().st_size / 1e6:.0f} MB of YAML")
    for output in ("table", "json"):
        seconds, _, memory = medians(command("replay", str(large), "--format", output), runs)
        report.add(f"replay_{output}_seconds", f"wall time, --format {output}", seconds, "s")
        report.add(
            f"replay_{output}_per_second", "", count / seconds, "events/s", "to reach 120,000"
        )
        report.add(f"replay_{output}_peak_mb", "peak memory", memory, "MB", "to reach 80")


def bench_logs(report: Report, runs: int, count: int, folder: Path) -> None:
    """Large logs of strace through the whole command."""
    report.title(f"vmatrace replay, {count:,} lines of strace")
    for name, label, lines in (
        ("log", "a log of all calls", everything),
        ("memory_log", "a log of memory calls", memory_calls),
    ):
        path = folder / f"{name}.log"
        with path.open("w", encoding="utf-8") as file:
            file.writelines(f"{line}\n" for line in lines(count))
        seconds, _, memory = medians(command("replay", str(path)), runs)
        size = f"{path.stat().st_size / 1e6:.0f} MB"
        report.add(f"{name}_lines_per_second", label, count / seconds, "lines/s", size)
        report.add(f"{name}_peak_mb", "peak memory", memory, "MB")
    bench_kernel(report, runs, count, path, folder)


def bench_kernel(report: Report, runs: int, count: int, log: Path, folder: Path) -> None:
    """The same memory calls made by the running kernel, and the replay's rate by that."""
    rate = calls_per_second(log, folder, runs)
    if rate is None:
        return
    report.add("kernel_calls_per_second", "the running kernel, from C", rate, "calls/s")
    argv = command("replay", str(log), "--format", "json")
    first = str(min(os.sched_getaffinity(0)))
    for name, label, given, most in (
        ("two_cores", "all cores", argv, "1.0 compiled, 0.45 pure"),
        ("one_core", "one core", ["taskset", "-c", first, *argv], "0.7 compiled"),
    ):
        seconds = medians(given, runs).seconds
        by = count / seconds / rate
        report.add(
            f"kernel_{name}_ratio", f"replay on {label}", by, "by kernel", f"to reach {most}"
        )


#: What is asked of a log beside its replay: by how many replays it cost when one reading for many
#: models was begun (None: not measured), and is to cost at most.
ASKED: Final = {
    "diff": ("diff FILE", 5.1, 1.6),
    "across": ("diff --across 6.4..7.3 FILE", 52, 4),
    "report": ("report FILE", 3.3, 1.6),
    "html": ("report --format html FILE", 9.7, 2.5),
    "explain": ("explain FILE 0x7ffff7000000", 2.6, 1.5),
    "explain_all": ("explain FILE all", None, 2.5),
}


def bench_ratios(report: Report, runs: int, lines: int, folder: Path) -> None:
    """CPU time of the commands on two logs as multiples of a replay, each run beside the others."""
    for name, text in (("shell", everything(lines)), ("memory", memory_calls(lines))):
        report.title(f"A log of {lines:,} lines ({name}): CPU time in replays")
        path = folder / f"ratios-{name}.log"
        path.write_text("\n".join(text) + "\n", encoding="utf-8")
        times: dict[str, list[float]] = {key: [] for key in ASKED}
        memory = 0.0
        for _ in range(runs):
            unit = run(asked("replay --format json FILE", path)).cpu
            for key, (question, _, _) in ASKED.items():
                cost = run(asked(question, path))
                times[key].append(cost.cpu / unit)
                memory = max(memory, cost.memory)
        for key, (question, before, most) in ASKED.items():
            ratio = statistics.median(times[key])
            note = f"{'' if before is None else f'was {before}, '}to reach {most}"
            report.add(f"{name}_{key}_to_replay", question, ratio, "replays", note)
        label = "peak memory of the largest of them"
        report.add(f"{name}_asked_peak_mb", label, memory, "MB", "was 141, to reach 60")


def bench_many(report: Report, runs: int, folder: Path) -> None:
    """A snapshot and a page of very many VMAs."""
    report.title("Very many VMAs")
    smaps, trace = folder / "many.smaps", folder / "many.yaml"
    smaps.write_text(snapshot(64_000), encoding="ascii")
    trace.write_text(mappings(70_000), encoding="ascii")
    for key, label, question, path, note in (
        ("audit_64000", "audit of 64,000 VMAs", "audit FILE", smaps, "was 0.65, to reach 0.4"),
        ("page_70000", "a page with 70,000 VMAs", "report --format html FILE", trace,
         "was 30, to reach 3"),
    ):  # fmt: skip
        seconds = medians(asked(question, path), runs).seconds
        report.add(f"{key}_seconds", label, seconds, "s", note)


def bench_record(report: Report, runs: int) -> None:
    """Programs beside themselves when they are recorded."""
    report.title("vmatrace record, wall time inside the program, by that of the program alone")
    for each in overheads(runs):
        inside, key = each.inside / each.inside_alone, f"record_{each.key}"
        note = f"{1000 * each.inside_alone:.1f} ms alone"
        if each.inside_strace is not None:
            strace = each.inside_strace / each.inside_alone
            note = f"strace {strace:.2f} ({inside / strace:.2f} of it), {note}"
            report.figures[f"{key}_strace_times"] = round(strace, 3)
        report.add(f"{key}_times", each.label, inside, "times", note)
        report.figures[f"{key}_fixed_ms"] = round(1000 * (each.recorded - each.inside), 1)


#: What `check` does for a folder, without check: every replay, one after another.
REPLAYS = """
import sys
from pathlib import Path
from vmatrace.replayer.run import replay
from vmatrace.kernels import get_kernel
from vmatrace.trace.file import load_trace
for path in sorted(Path(sys.argv[1]).iterdir()):
    for kernel in ("pre-patch", "post-patch"):
        replay(load_trace(path), get_kernel(kernel))
"""


def bench_check(report: Report, runs: int, folder: Path) -> None:
    """A folder of small traces under two models, beside the same replays in one process."""
    traces = folder / "traces"
    traces.mkdir()
    expected = "  - expect: {on: [pre-patch, post-patch], vmas: '>= 1'}\n"
    for number in range(1000):
        write_trace(traces / f"{number}.yaml", 20, expected)
    check = command("check", str(traces))
    alone = [sys.executable, "-c", REPLAYS, str(traces)]
    times = [(run(check).seconds, run(alone).seconds) for _ in range(runs)]
    seconds, reference = (statistics.median(column) for column in zip(*times, strict=True))
    report.title("vmatrace check, 1,000 traces of 20 events, 2 models")
    note = f"{seconds / reference:.0%} of the replays in one process"
    report.add("check_1000_seconds", "wall time", seconds, "s", note)
    report.figures["check_1000_ratio"] = round(seconds / reference, 4)


def write_trace(path: Path, count: int, more: str = "") -> None:
    with path.open("w", encoding="utf-8") as file:
        file.write(HEADER)
        file.writelines(f"  - {text}\n" for text in Process().calls(count))
        file.write(more)


# --- all of it ----------------------------------------------------------------------------------


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure vmatrace.")
    parser.add_argument("--quick", action="store_true", help="a tenth of the work, fewer runs")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the figures here too")
    options = parser.parse_args()
    quick = options.quick
    runs = 3 if quick else 5
    report = Report()
    # As an installer does: else every command may compile what it imports, and that is measured.
    compileall.compile_dir(str(PACKAGE), quiet=1)
    load = os.getloadavg()[0]
    sys.stdout.write(
        f"Python {platform.python_version()}, {'compiled, ' if is_compiled() else ''}"
        f"{os.cpu_count()} CPUs, load {load:.2f} at the start,"
        f" medians of {runs} runs\n"
    )
    # Whole commands first: a child's peak memory is never less than that of its parent.
    with tempfile.TemporaryDirectory() as folder:
        bench_startup(report, 5 if quick else 15, Path(folder))
        bench_check(report, 1 if quick else 3, Path(folder))
        bench_replay(report, 1 if quick else 3, 100_000 if quick else 1_000_000, Path(folder))
        bench_logs(report, 1 if quick else 3, 100_000 if quick else 1_000_000, Path(folder))
        bench_ratios(report, runs, 10_000 if quick else 100_000, Path(folder))
        bench_many(report, runs, Path(folder))
    bench_record(report, 5 if quick else 15)
    bench_reading(report, runs, 10_000 if quick else 100_000)
    bench_engine(report, runs, 10_000 if quick else 50_000)
    if options.json is not None:
        text = {"python": platform.python_version(), "load": load, "figures": report.figures}
        options.json.write_text(json.dumps(text, indent=1) + "\n", encoding="utf-8")
        sys.stdout.write(f"\nwritten to {options.json}\n")


if __name__ == "__main__":
    main()
