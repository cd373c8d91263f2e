"""Debian's kernel images: the list of them, their place in the cache, and `make kernels`.

    python tests/boot/kernel_images.py [RELEASE...]

Fetches the images that the cache has not got, from the archive that this machine's apt already
takes packages from; nothing is installed. Packages are checked by apt, the image in them against
the list.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from vmatrace import cache

LIST = Path(__file__).with_name("images.tsv")
_KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"


class Image(NamedTuple):
    """A kernel image: its release, such as 6.12.117, and the package that it is in."""

    release: str
    package: str
    suite: str
    digest: str

    @property
    def path(self) -> Path:
        """Its place in the cache."""
        kernel = self.package.removeprefix("linux-image-")
        return cache.folder() / "kernels" / self.release / f"vmlinuz-{kernel}"


def images() -> list[Image]:
    """The images of the list, oldest kernel first."""
    lines = LIST.read_text().splitlines()
    return [Image(*line.split("\t")) for line in lines if not line.startswith("#")]


def main(releases: list[str]) -> None:
    """Fetch the images that the cache has not got."""
    known = {image.release: image for image in images()}
    if unknown := [release for release in releases if release not in known]:
        sys.exit(f"not in the list: {', '.join(unknown)} (it has {', '.join(known)})")
    wanted = [known[r] for r in releases or known]
    missing = [image for image in wanted if not _is_good(image)]
    if missing:
        with tempfile.TemporaryDirectory(prefix="vmatrace-apt-") as directory:
            apt = Apt(Path(directory))
            for image in missing:
                _fetch(image, apt)
    for image in wanted:
        sys.stdout.write(f"{image.release:<9} {image.path}\n")


def _is_good(image: Image) -> bool:
    if not image.path.exists():
        return False
    return hashlib.sha256(image.path.read_bytes()).hexdigest() == image.digest


def _fetch(image: Image, apt: Apt) -> None:
    packages = [apt.download(image.package)]
    # Since 6.19 the image is in a package of its own, which the other depends on.
    depends = subprocess.check_output(["dpkg-deb", "-f", packages[0], "Depends"], text=True)
    if binary := re.search(r"linux-binary-[\w.+-]+", depends):
        packages.append(apt.download(binary[0]))
    for package in packages:
        content = apt.directory / f"{package.stem}.content"
        subprocess.run(["dpkg-deb", "-x", package, content], check=True)
        for found in content.rglob("vmlinuz*"):
            if found.is_file() and not found.is_symlink():
                return _keep(image, found)
        shutil.rmtree(content)
    sys.exit(f"{image.package}: no vmlinuz in {', '.join(p.name for p in packages)}")


def _keep(image: Image, found: Path) -> None:
    digest = hashlib.sha256(found.read_bytes()).hexdigest()
    if digest != image.digest:
        sys.exit(f"{image.package}: its image has SHA-256 {digest}, expected {image.digest}")
    image.path.parent.mkdir(parents=True, exist_ok=True)
    part = image.path.with_suffix(".part")
    shutil.copyfile(found, part)
    os.replace(part, image.path)


class Apt:
    """apt-get with lists of its own in *directory*, of the archive this machine is set up for."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        for tool in ("apt-get", "dpkg-deb"):
            if shutil.which(tool) is None:
                sys.exit(
                    f"no {tool}: the images are Debian's; put others as "
                    f"{cache.folder() / 'kernels' / 'RELEASE' / 'vmlinuz-NAME'}"
                )
        (directory / "lists" / "partial").mkdir(parents=True)
        sources = directory / "sources.list"
        sources.write_text("".join(self._sources()))
        options = {
            "Dir::State::Lists": directory / "lists", "Dir::Etc::SourceList": sources,
            "Dir::Etc::SourceParts": "/dev/null", "Dir::Cache::pkgcache": "",
            "Dir::Cache::srcpkgcache": "", "APT::Sandbox::User": "root",
        }  # fmt: skip
        self._command = ["apt-get", *(f"-o{name}={value}" for name, value in options.items())]
        self._run("update")

    @staticmethod
    def _sources() -> list[str]:
        form = "$(LABEL) $(REPO_URI)"
        command = ["apt-get", "indextargets", "--format", form, "Created-By: Packages"]
        found = dict(
            line.split() for line in subprocess.check_output(command, text=True).splitlines()
        )
        if "Debian" not in found:
            sys.exit(
                "no Debian archive among this machine's apt sources (or: apt-get update first)"
            )
        signed = f" [signed-by={_KEYRING}]" if os.path.exists(_KEYRING) else ""
        suites = [("Debian", suite) for suite in sorted({image.suite for image in images()})]
        if "Debian-Security" in found:
            suites.append(("Debian-Security", "trixie-security"))
        return [f"deb{signed} {found[label]} {suite} main\n" for label, suite in suites]

    def download(self, package: str) -> Path:
        """The file of *package*, in the directory."""
        sys.stderr.write(f"fetching {package} ...\n")
        self._run("download", package)
        return next(self.directory.glob(f"{package}_*.deb"))

    def _run(self, *arguments: str) -> None:
        done = subprocess.run(
            [*self._command, *arguments], cwd=self.directory, capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        if done.returncode:
            lines = [line for line in done.stderr.splitlines() if line.startswith("E:")]
            sys.exit("\n".join(lines or [f"apt-get {arguments[0]} failed"]))


if __name__ == "__main__":
    main(sys.argv[1:])
