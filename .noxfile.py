"""The tests under other Pythons, with other versions, elsewhere: each session is a make target.

The versions of .ci/lock.txt are installed where a session does not say otherwise.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import nox

LOCK = ".ci/lock.txt"
PROJECT = nox.project.load_toml("pyproject.toml")
PYTHONS = nox.project.python_versions(PROJECT)

nox.options.reuse_venv = "yes"


def interpreters() -> dict[str, str]:
    """The path of each supported Python that runs here: one on PATH, else the newest of pyenv's."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    found = {}
    for version in PYTHONS:
        name = f"python{version}"
        installed = sorted(pyenv.glob(f"versions/{version}.*/bin/{name}"), reverse=True)
        for path in filter(None, [shutil.which(name), *map(str, installed)]):
            # What pyenv puts on PATH may be there and refuse to run.
            if subprocess.run([path, "-c", ""], capture_output=True, check=False).returncode == 0:
                found[version] = path
                break
    return found


HERE = interpreters()
#: Without the Python of .venv, under which `make test` runs.
OTHERS = {
    version: path for version, path in HERE.items() if version != "{}.{}".format(*sys.version_info)
}


#: The one of them whose tests run on a wheel with extensions, where they can be made.
COMPILED = next(reversed(OTHERS.values()), None)
_CAN_COMPILE = "import sys; sys.path.insert(0, '.ci'); import backend; print(backend.may_compile())"


def install_locked(session: nox.Session) -> None:
    session.install("--quiet", "--require-hashes", "--requirement", LOCK)
    session.install("--quiet", "--no-deps", "--no-build-isolation", "--editable", ".")


def copied(place: str) -> Path:
    """A copy, in the folder *place*, of what git knows of this tree."""
    tree = Path(place, "tree")
    for file in subprocess.check_output(["git", "ls-files"], text=True).splitlines():
        (tree / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(file, tree / file, follow_symlinks=False)
    return tree


def test_wheel(session: nox.Session, compiled: bool) -> None:
    """All tests but those of the page on what a wheel holds."""
    with tempfile.TemporaryDirectory(prefix="vmatrace-") as place:
        session.run(
            "python", "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation",
            "--wheel-dir", place, ".", env={"VMATRACE_COMPILE": str(int(compiled))},
        )  # fmt: skip
        (wheel,) = Path(place).glob("*.whl")
        Path("build/wheels").mkdir(parents=True, exist_ok=True)
        shutil.copy(wheel, "build/wheels")
        tree = copied(place)
        shutil.rmtree(tree / "vmatrace")
        zipfile.ZipFile(wheel).extractall(tree)
        session.log(f"testing {wheel.name}")
        with session.chdir(tree):
            test(session, "--ignore=tests/browser")


def test(session: nox.Session, *arguments: str) -> None:
    session.run(
        "python", "-m", "pytest", "-q", "-n", "auto", "--dist", "loadfile", *arguments,
        *session.posargs,
    )  # fmt: skip


@nox.session
@nox.parametrize("python", list(OTHERS.values()), ids=list(OTHERS))
def pythons(session: nox.Session) -> None:
    """All tests but those of the page, which is the same under any Python.

    Those of one Python run on a wheel with extensions.
    """
    install_locked(session)
    said = session.run("python", "-c", _CAN_COMPILE, silent=True)
    if session.python == COMPILED and str(said).strip() == "True":
        test_wheel(session, compiled=True)
    else:
        test(session, "--ignore=tests/browser")


@nox.session
def wheels(session: nox.Session) -> None:
    """Both wheels, kept in build/wheels/, and the tests on each."""
    install_locked(session)
    for compiled in (False, True):
        test_wheel(session, compiled)


@nox.session(python=next(iter(HERE.values()), None))
def lowest(session: nox.Session) -> None:
    """The oldest versions that pyproject.toml allows, under the oldest Python that is here."""
    session.install("--quiet", "uv>=0.5")
    session.run(
        "uv", "pip", "install", "--quiet", "--resolution", "lowest-direct",
        "--python", str(Path(session.bin) / "python"), "--editable", ".[dev,zstd]",
    )  # fmt: skip
    # What only a newer release's types ask to be ignored is no fault of the oldest.
    session.run("mypy", "--no-warn-unused-ignores")
    test(session)


@nox.session
def newest(session: nox.Session) -> None:
    """The newest versions that pyproject.toml allows."""
    session.install("--quiet", "--upgrade", "--editable", ".[dev,zstd]")
    session.run("ruff", "check", "--quiet")
    session.run("mypy")
    test(session)


@nox.session(venv_backend="none")
def elsewhere(session: nox.Session) -> None:
    """In another place and mood: nobody's tests of a tree that cannot be written, shuffled.

    With the locale C, another hash seed, no home and, where this is root, as another user. A seed
    of the order as argument shows the same order again.
    """
    seed = session.posargs[0] if session.posargs else str(random.randrange(1 << 32))
    with tempfile.TemporaryDirectory(prefix="vmatrace-") as place:
        tree = copied(place)
        venv, scratch = Path(place, "venv"), Path(place, "scratch")
        scratch.mkdir()
        session.run(python_for_others(session), "-m", "venv", str(venv), external=True)
        pip = [str(venv / "bin/pip"), "install", "--quiet"]
        session.run(*pip, "--require-hashes", "--requirement", LOCK, external=True)
        session.run(
            *pip, "--no-deps", "--no-build-isolation", "--editable", str(tree), external=True
        )
        session.run("chmod", "-R", "a-w,a+rX", str(tree), external=True)
        Path(place).chmod(0o755)
        user = []
        if os.geteuid() == 0:
            os.chown(scratch, 65534, 65534)
            user = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]
        with session.chdir(tree):
            session.run(
                *user, "env", "--ignore-environment", f"PATH={os.environ['PATH']}", "LC_ALL=C",
                f"HOME={place}/none", f"TMPDIR={scratch}", f"PYTHONHASHSEED={seed}",
                str(venv / "bin/python"), "-m", "pytest", "-q", "-n", "auto", "--dist", "loadfile",
                "-p", "randomly", "--randomly-seed", seed, external=True,
            )  # fmt: skip


def python_for_others(session: nox.Session) -> str:
    """A Python that another user may run too: root's own pyenv is closed to all others."""
    for path in [*HERE.values(), *map("/usr/bin/python{}".format, PYTHONS)]:
        real = Path(path).resolve()
        if real.exists() and all(folder.stat().st_mode & 1 for folder in [real, *real.parents]):
            return str(real)
    return session.error("no Python that another user may run (Debian: apt install python3-venv)")
