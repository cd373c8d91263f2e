"""--jobs and --on: the same answers from processes here and from a cluster, whatever is lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, nullcontext
from pathlib import Path
from typing import Any

import cloudpickle  # type: ignore[import-untyped]
import distributed
import pytest
from distributed import LocalCluster
from program import LIMIT, ROOT, RunProgram

import vmatrace
from vmatrace import cluster
from vmatrace.commands import sharing

cloudpickle.register_pickle_by_value(sys.modules[__name__])

CLIENTS: Any = distributed.Client._instances
BAD = "vmatrace: 1\nevents: [munmap(1)]\n"
GOOD = """\
vmatrace: 1
process: {ksm: true}
events:
  - mmap(0x10000000, 4096, PROT_READ, MAP_PRIVATE|MAP_ANONYMOUS|MAP_FIXED, -1, 0)
  - mmap(0x10001000, 4096, PROT_READ, MAP_PRIVATE|MAP_ANONYMOUS|MAP_FIXED, -1, 0)
  - expect: {vmas: 1}
"""


SMAPS = """\
10000000-10001000 r--p 00000000 00:00 0
VmFlags: rd mr mw me
10001000-10002000 r--p 00000000 00:00 0
VmFlags: rd mr mw me
"""
#: A worker that is started again whenever it is lost, while the tests run. (A nanny does not start
#: one again that is lost before the nanny has heard that it runs.)
WORKER = """
while kill -0 "$PPID"; do
    "$0" -m distributed.cli.dask_worker "$@" --no-nanny --no-dashboard
done
"""


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A cluster of two processes, which are started again when they are lost."""
    make: Any = LocalCluster
    place = tmp_path_factory.mktemp("workers")
    with make(n_workers=0, dashboard_address=":0") as found, ExitStack() as stack:
        for _ in range(2):
            worker = subprocess.Popen(
                ["sh", "-c", WORKER, sys.executable, found.scheduler_address, "--nthreads", "1",
                 "--local-directory", str(place)],
                env={**os.environ, "PYTHONPATH": str(ROOT)}, start_new_session=True,
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )  # fmt: skip
            stack.callback(worker.wait)
            stack.callback(os.killpg, worker.pid, signal.SIGKILL)
        found.wait_for_workers(2, timeout=LIMIT)
        yield found.scheduler_address


@pytest.fixture(autouse=True)
def _nobody_stays_connected() -> Iterator[None]:
    """A client that outlives its command goes on to look for its scheduler."""
    yield
    assert {client.status for client in CLIENTS} <= {"closed"}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("a", "b", "d"):
        (tmp_path / f"{name}.yaml").write_text(GOOD)
    (tmp_path / "c.yaml").write_text(BAD)
    for name in ("e", "f"):
        (tmp_path / f"{name}.smaps").write_text(SMAPS)
    (tmp_path / "g.smaps").write_text(SMAPS + "VmFlags: -\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


COMMANDS = (
    ("check", ".", "--format", "json"),
    ("diff", "."),
    ("diff", ".", "--across", "6.16..6.18"),
    ("report", ".", "--format", "json"),
    ("report", "a.yaml", "--format", "html"),
    ("audit", "e.smaps", "g.smaps", "h.smaps", "f.smaps", "--format", "json"),
    ("hunt", "--from", "7.1", "--to", "7.3", "--programs", "120", "--seed", "7"),
)


@pytest.mark.parametrize("scheme", ["dask", "dask+send"])
@pytest.mark.parametrize("command", COMMANDS)
def test_a_cluster_answers_as_this_process_does(
    command: tuple[str, ...], scheme: str, run: RunProgram, folder: Path, address: str
) -> None:
    here = run(*command, "--jobs", "1")
    there = run(*command, "--on", f"{scheme}:{address}")
    assert without_seconds(there.out) == without_seconds(here.out)
    assert (there.status, there.err) == (here.status, here.err)


def without_seconds(text: str) -> list[str]:
    return [line for line in text.splitlines() if " programs in " not in line]


def test_processes_answer_as_this_one_does(
    run: RunProgram, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for command in COMMANDS[:4]:
        here = run(*command, "--jobs", "1")
        monkeypatch.setattr("vmatrace.workers.worthwhile", lambda _: True)
        assert run(*command, "--jobs", "3") == here
        monkeypatch.undo()
        monkeypatch.chdir(folder)


# --- what is lost ---------------------------------------------------------------------------------


def _work(folder: str, path: str) -> str:
    """Kills its process: at 13 the first time, at 40 every time."""
    mark = os.path.join(folder, "killed")
    if path == "40" or (path == "13" and not os.path.exists(mark)):
        with open(mark, "w", encoding="utf-8"):
            pass
        os.kill(os.getpid(), signal.SIGKILL)
    return path.upper()


def test_what_a_lost_worker_had_is_done_again(tmp_path: Path, address: str) -> None:
    def work(path: str) -> str:
        return _work(str(tmp_path), path)

    paths = [str(number) for number in range(100)]
    found = list(cluster.each_of(work, paths, address, False, lambda path: f"{path} died"))
    assert found == ["40 died" if path == "40" else path for path in paths]
    assert (tmp_path / "killed").exists()


def test_who_stops_asking_stops_the_work(tmp_path: Path, address: str) -> None:
    def work(path: str) -> str:
        return path

    paths = [str(number) for number in range(1000)]
    results = cluster.each_of(work, paths, address, False, str)
    assert next(results) == "0"
    results.close()  # type: ignore[attr-defined]
    assert list(cluster.each_of(work, ["x"], address, False, str)) == ["x"]


# --- what is said ---------------------------------------------------------------------------------


def test_a_cluster_that_cannot_be_used_is_named(
    run: RunProgram, folder: Path, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as hurry:
        hurry.setattr(cluster, "_PATIENCE", 1)
        done = run("check", ".", "--on", "dask:tcp://127.0.0.1:1")
    assert (done.status, done.out) == (2, "")
    assert "--on: no Dask scheduler at tcp://127.0.0.1:1" in done.err
    monkeypatch.setattr(cluster, "__version__", "9.9")
    done = run("check", ".", "--on", f"dask:{address}")
    assert done.status == 2
    assert f"has vmatrace {vmatrace.__version__} (expected 9.9, as here)" in done.err
    monkeypatch.setitem(sys.modules, "distributed", None)
    done = run("check", ".", "--on", f"dask:{address}")
    assert done.status == 2
    assert "Dask is not installed (expected: pip install 'vmatrace[dask]')" in done.err


class Tripping:
    """An executor whose first result went with its worker: distributed.cfexecutor trips over it."""

    def __init__(self) -> None:
        self.asked: list[Sequence[str]] = []

    def submit(self, work: Any, *arguments: Any) -> Future[list[str]]:
        done: Future[list[str]] = Future()
        if self.asked:
            done.set_result(work(*arguments))
        else:
            done.set_exception(AttributeError("'str' object has no attribute 'with_traceback'"))
        self.asked.append(arguments[-1])
        return done


def test_a_result_that_went_with_its_worker_is_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    executor = Tripping()
    monkeypatch.setattr(cluster, "_executor", lambda _: nullcontext((executor, 1)))
    inputs = [f"/{number}" for number in range(40)]
    assert list(cluster.each_of(str.upper, inputs, "", False, str)) == inputs
    assert len(executor.asked) > 2


@pytest.mark.parametrize("failures", [1, 2, 3])
def test_a_busy_scheduler_is_asked_again(
    failures: int, run: RunProgram, folder: Path, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """distributed.Client asserts that the scheduler's greeting comes alone."""
    connect: Any = distributed.Client
    left = [failures]

    def client(*arguments: Any, **options: Any) -> Any:
        if left[0]:
            left[0] -= 1
            raise AssertionError
        return connect(*arguments, **options)

    monkeypatch.setattr(distributed, "Client", client)
    done = run("check", ".", "--on", f"dask:{address}")
    if failures < 3:
        assert "--on" not in done.err
    else:
        assert (done.status, f"the Dask scheduler at {address} is too busy" in done.err) == (
            2,
            True,
        )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["check", ".", "--on", "x"], "(expected processes, dask:ADDRESS or dask+send:ADDRESS)"),
        (["check", ".", "--on", "dask:"], "unknown place 'dask:'"),
        (["check", ".", "--on", "dask:tcp://h:1", "--jobs", "2"], "goes without --on"),
        (["check", ".", "--on", "dask:tcp://h:1", "--update"], "goes without --on"),
        (["diff", ".", "--on", "dask:tcp://h:1", "--steps"], "and without --steps"),
    ],
)
def test_what_contradicts_itself_is_said(
    arguments: list[str], message: str, run: RunProgram, folder: Path
) -> None:
    done = run(*arguments)
    assert (done.status, done.out) == (2, "")
    assert message in " ".join(done.err.split())


def test_where_to_work() -> None:
    assert sharing.where(None, ("", False)).processes >= 1
    assert sharing.where(3, ("", False)).processes == 3
    assert not sharing.Where(cluster="tcp://h:1").worthwhile([])
    assert sharing.Where(cluster="tcp://h:1").worthwhile(["a"])


@pytest.mark.parametrize("source", ["1", "/proc/1/smaps", "/proc/1"])
def test_a_process_is_audited_where_it_is(source: str, run: RunProgram) -> None:
    done = run("audit", source, "--on", "dask:tcp://127.0.0.1:1")
    assert done.status == 2
    assert "--on takes files: a process is one of this machine" in done.err


@pytest.mark.parametrize("name", ["check", "diff", "report", "audit", "hunt"])
def test_the_help_says_who_does_the_work(run: RunProgram, name: str) -> None:
    text = " ".join(run(name, "--help").out.split())
    assert "--jobs N How many processes to use. [default: as many as there are cores]" in text
    assert (
        "--on WHERE Who does the work: processes of this machine, or the workers of a Dask "
        "cluster (dask:tcp://HOST:PORT; dask+send:… for workers that do not have the files). "
        "[default: processes]"
    ) in text
