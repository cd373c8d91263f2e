"""What pip builds of the project: with extensions where it can, and never nothing."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest
from program import ROOT
from test_lock import EXTRAS

_CALL = "import sys, backend; print(getattr(backend, sys.argv[1])(sys.argv[2]))"


@pytest.fixture(scope="module")
def backend() -> ModuleType:
    spec = spec_from_file_location("backend", ROOT / ".ci/backend.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """The project's files, less its tests."""
    tree = tmp_path / "tree"
    kept = shutil.ignore_patterns("__pycache__", "*.so")
    for name in ("vmatrace", "docs/man", ".ci"):
        shutil.copytree(ROOT / name, tree / name, ignore=kept)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree)
    # Where the project itself cannot be written, neither can a copy.
    for path in [tree, *tree.rglob("*")]:
        path.chmod(path.stat().st_mode | 0o200)
    return tree


def build(
    tree: Path, what: str, into: Path, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Ask the backend of *tree* as pip does: in a process of its own, within the tree."""
    into.mkdir(exist_ok=True)
    return subprocess.run(
        [sys.executable, "-c", _CALL, what, str(into)], cwd=tree, capture_output=True, text=True,
        check=False, env={**os.environ, "PYTHONPATH": str(tree / ".ci"), **environment},
    )  # fmt: skip


def built(tree: Path, what: str, into: Path, **environment: str) -> Path:
    done = build(tree, what, into, **environment)
    assert done.returncode == 0, done.stderr
    return into / done.stdout.split()[-1]


def test_it_asks_for_the_mypy_that_the_project_is_checked_with(backend: ModuleType) -> None:
    assert backend.MYPY.replace("[mypyc]", "") in EXTRAS["dev"]


def test_what_is_compiled_is_there(backend: ModuleType) -> None:
    missing = [name for name in backend.MODULES if not (ROOT / f"vmatrace/{name}.py").exists()]
    assert missing == []


@pytest.mark.parametrize(
    ("wish", "compiler", "expected"),
    [("0", "cc", False), ("1", "no-such", True), ("", "no-such-compiler", False)],
)
def test_it_compiles_where_there_is_a_compiler_or_it_is_told_to(
    backend: ModuleType, monkeypatch: pytest.MonkeyPatch, tree: Path, wish: str, compiler: str,
    expected: bool,
) -> None:  # fmt: skip
    monkeypatch.chdir(tree)  # setuptools writes there
    monkeypatch.setenv("VMATRACE_COMPILE", wish)
    monkeypatch.setenv("CC", compiler)
    assert backend.may_compile() == expected
    assert (backend.MYPY in backend.get_requires_for_build_wheel()) == expected


def test_an_archive_of_the_source_can_be_built_from(tree: Path, tmp_path: Path) -> None:
    archive = built(tree, "build_sdist", tmp_path / "sdist")
    (tmp_path / "unpacked").mkdir()
    subprocess.run(["tar", "-xzf", str(archive), "-C", str(tmp_path / "unpacked")], check=True)
    (unpacked,) = (tmp_path / "unpacked").iterdir()
    wheel = built(unpacked, "build_wheel", tmp_path / "wheel", VMATRACE_COMPILE="0")
    assert wheel.name.endswith("-py3-none-any.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert "vmatrace/engine/mm.py" in names
    assert "vmatrace/oracle/boot/guest.c" in names
    assert not [name for name in names if name.endswith(".so")]


def _fake_mypyc(folder: Path, body: str) -> None:
    (folder / "mypyc").mkdir(parents=True)
    (folder / "mypyc/__init__.py").touch()
    (folder / "mypyc/build.py").write_text(body)


@pytest.mark.parametrize("failure", ["raise SystemExit(1)", "raise ImportError('no mypyc')"])
def test_where_compiling_fails_the_source_is_installed(
    tree: Path, tmp_path: Path, failure: str
) -> None:
    fake = tmp_path / "fake"
    _fake_mypyc(fake, failure)
    path = f"{fake}{os.pathsep}{tree / '.ci'}"
    told = {"PYTHONPATH": path, "CC": sys.executable, "VMATRACE_COMPILE": "1"}
    done = build(tree, "build_wheel", tmp_path / "wheel", **told)
    assert done.returncode != 0
    told["VMATRACE_COMPILE"] = ""
    done = build(tree, "build_wheel", tmp_path / "wheel", **told)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[-1].endswith("-py3-none-any.whl")


def test_the_extensions_are_in_the_wheel_beside_the_source(tree: Path, tmp_path: Path) -> None:
    """With a mypyc that makes an empty extension: the real one takes a minute."""
    fake = tmp_path / "fake"
    _fake_mypyc(
        fake,
        "from pathlib import Path\n"
        "from setuptools import Extension\n"
        "def mypycify(paths, opt_level):\n"
        "    assert all(Path(path).exists() for path in paths)\n"
        "    Path('empty.c').write_text('int PyInit_mm(void) { return 0; }')\n"
        "    return [Extension('vmatrace.engine.mm', ['empty.c'])]\n",
    )
    path = f"{fake}{os.pathsep}{tree / '.ci'}"
    wheel = built(tree, "build_wheel", tmp_path / "wheel", PYTHONPATH=path, VMATRACE_COMPILE="1")
    names = zipfile.ZipFile(wheel).namelist()
    own = {Path(name).suffix for name in names if name.startswith("vmatrace/engine/mm.")}
    assert own == {".py", ".so"}
    assert not list(tree.rglob("*.so"))
