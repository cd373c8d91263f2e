"""The build backend: that of setuptools, and the hot modules are compiled where they can be.

A wheel that is built where a C compiler and Python's headers are has extensions that mypyc makes of
the same source, beside it; elsewhere, and where that fails, it has the source alone.
VMATRACE_COMPILE=0 leaves them out, VMATRACE_COMPILE=1 makes a failure an error. An editable install
is never compiled; ``python .ci/backend.py`` (make compiled) puts the extensions into this tree.
"""

from __future__ import annotations

import io
import os
import platform
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from setuptools import build_meta
from setuptools.build_meta import (
    build_editable,
    get_requires_for_build_editable,
    get_requires_for_build_sdist,
    prepare_metadata_for_build_editable,
    prepare_metadata_for_build_wheel,
)

__all__ = [
    "build_editable", "build_sdist", "build_wheel", "get_requires_for_build_editable",
    "get_requires_for_build_sdist", "get_requires_for_build_wheel",
    "prepare_metadata_for_build_editable", "prepare_metadata_for_build_wheel",
]  # fmt: skip

ROOT = Path(__file__).parent.parent
#: Of pyproject.toml's extra dev, with what mypyc needs.
MYPY = "mypy[mypyc]>=2.2,<3"
#: Where the time of a replay goes. Others gain nothing, or use what mypyc does not know: another
#: class put in place (world), values that go from process to process (layout), a dataclass with a
#: base or with a field that can be anything (refusal, result).
MODULES = (
    "abi", "event", "trace/callstring", "trace/entries",
    *(f"importers/strace/{name}" for name in (
        "calls", "descriptors", "line", "processes", "reader",
    )),
    *(f"engine/{name}" for name in (
        "faults", "ksm", "limits", "merge", "mm", "placement", "ranges", "region", "view", "vma",
        "vmamap", "walk",
    )),
    *(f"replayer/{name}" for name in ("assumptions", "files", "processes", "run", "tally")),
    *(f"engine/syscalls/{name}" for name in (
        "advice", "control", "heap", "locking", "mapping", "policy", "protection", "remapping",
        "sharing", "uffd",
    )),
)  # fmt: skip
_SETUP = f"""\
from mypyc.build import mypycify
from setuptools import setup

setup(ext_modules=mypycify({[f"vmatrace/{name}.py" for name in MODULES]}, opt_level="2"))
"""
_LEFT_OUT = shutil.ignore_patterns(".*", "build", "dist", "*.egg-info", "*.so", "__pycache__")


def get_requires_for_build_wheel(config_settings: Any = None) -> list[str]:
    """What setuptools asks for, and mypy where modules are compiled."""
    needed: list[str] = build_meta.get_requires_for_build_wheel(config_settings)
    return [*needed, MYPY] if may_compile() else needed


def build_wheel(
    wheel_directory: str, config_settings: Any = None, metadata_directory: str | None = None
) -> str:
    """A wheel with extensions, or without: its name."""
    place = str(Path(wheel_directory).resolve())
    if may_compile():
        try:
            with _prepared():
                return str(build_meta.build_wheel(place, config_settings))
        except (Exception, SystemExit) as error:  # mypyc ends the process
            if _wish() == "1":
                raise
            sys.stderr.write(f"vmatrace is not compiled: {error!r}\n")
    return str(build_meta.build_wheel(place, config_settings, metadata_directory))


def build_sdist(sdist_directory: str, config_settings: Any = None) -> str:
    """Setuptools' archive, and in it this file, which only pyproject.toml names."""
    name = str(build_meta.build_sdist(sdist_directory, config_settings))
    archive = Path(sdist_directory, name)
    inside = f"{name.removesuffix('.tar.gz')}/.ci/backend.py"
    with tarfile.open(archive) as old:
        files = [(m, old.extractfile(m).read() if m.isfile() else b"") for m in old]  # type: ignore[union-attr]
    with tarfile.open(archive, "w:gz") as new:
        for member, data in files:
            new.addfile(member, io.BytesIO(data))
        new.add(__file__, inside)
    return name


def _wish() -> str:
    return os.environ.get("VMATRACE_COMPILE", "")


def may_compile() -> bool:
    """Whether extensions are wanted, and there is what it takes."""
    if _wish() in ("0", "1"):
        return _wish() == "1"
    compiler = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")
    return (
        platform.python_implementation() == "CPython"
        and shutil.which(compiler[0]) is not None
        and Path(sysconfig.get_path("include"), "Python.h").exists()
    )


@contextmanager
def _prepared() -> Iterator[Path]:
    """Be in a copy of the tree, where setuptools is told of the extensions."""
    before = Path.cwd()
    with tempfile.TemporaryDirectory(prefix="vmatrace-") as folder:
        tree = Path(folder, "vmatrace")
        shutil.copytree(ROOT, tree, ignore=_LEFT_OUT)
        (tree / "setup.py").write_text(_SETUP)
        # Other than in pyproject.toml: only what is compiled is judged, without stubs of others.
        (tree / "mypy.ini").write_text(
            "[mypy]\nfollow_imports = silent\nignore_missing_imports = true\n"
        )
        os.chdir(tree)
        try:
            yield tree
        finally:
            os.chdir(before)


def main() -> None:
    """``python .ci/backend.py``."""
    with _prepared() as tree:
        subprocess.run([sys.executable, "setup.py", "-q", "build_ext", "--inplace"], check=True)
        for built in (tree / "vmatrace").rglob("*.so"):  # beside them lies build/
            shutil.copy(built, ROOT / built.relative_to(tree))
        for shared in tree.glob("*__mypyc*.so"):  # what the modules have in common
            shutil.copy(shared, sysconfig.get_path("platlib"))
    sys.stderr.write(f"compiled {len(MODULES)} modules\n")


if __name__ == "__main__":
    main()
