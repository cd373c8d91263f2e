"""Which kernel has which features: a release, the backports of its stable series, a configuration.

With vmatrace.kernels.features the one place that knows releases: everything else asks
``kernel.has(kernels.FEATURE)``. A mainline release is one row here; what it has, and what each
point release of its stable series has, the features say themselves.
"""

from __future__ import annotations

import os
import re
from collections.abc import Container, Iterable
from dataclasses import dataclass, replace
from functools import cache
from typing import Final

from vmatrace.kernels import features as f
from vmatrace.kernels.errors import UnknownFeature, UnknownKernel, nearest
from vmatrace.kernels.features import CONFIGURATION, FEATURES, Feature, Release, numbers


@dataclass(frozen=True)
class Kernel:
    """A kernel model: the set of features it has.

    ``release`` orders it in version ranges. ``changes`` lists what differs from the row before it
    (of a point release, from its mainline; of a derived kernel, from ``base``): (feature, whether
    it was added). ``assumed`` says in words what its name left open and was taken for granted.
    """

    name: str
    features: frozenset[str]
    release: Release
    summary: str
    changes: tuple[tuple[Feature, bool], ...]
    base: str = ""
    assumed: tuple[str, ...] = ()

    def has(self, feature: Feature) -> bool:
        """Whether this kernel behaves as the feature says."""
        return feature.name in self.features

    def with_features(self, names_on: Iterable[str], names_off: Iterable[str] = ()) -> Kernel:
        """This kernel with single features switched, named after the model it derives from.

        Switching a feature to what it is changes nothing, so undoing a switch gives back the
        model. Raises UnknownFeature, and ValueError for a feature switched both ways.
        """
        on = {get_feature(name).name for name in names_on}
        off = {get_feature(name).name for name in names_off}
        for name in sorted(on & off):
            raise ValueError(f"feature {name!r} is switched both on and off")
        features = (self.features | on) - off
        base = get_kernel(self.base or self.name)
        if features == base.features:
            return replace(base, assumed=self.assumed) if self.assumed else base
        changes = _changes(base.features, features)
        name = base.name + "".join(("+" if added else "-") + x.name for x, added in changes)
        return Kernel(name, features, base.release, base.summary, changes, base.name, self.assumed)

    def switched(self, features: Iterable[Feature]) -> Kernel:
        """This kernel with each of *features* the other way."""
        names = {feature.name for feature in features}
        return self.with_features(names - self.features, names & self.features)

    def relevant(self, uses: Container[str]) -> frozenset[str]:
        """Its features that can make a difference to a trace that uses these things.

        Kernels that have the same of these do the same with such a trace.
        """
        return frozenset(name for name in self.features if FEATURES[name].can_matter(uses))

    def configured(self) -> Kernel:
        """This kernel in the configuration that models have: what it is as a release."""
        usual = _USUAL - self.features
        unusual = {n for n in self.features - _USUAL if FEATURES[n].kind == CONFIGURATION}
        return self.with_features(usual, unusual)


KERNELS: Final[dict[str, Kernel]] = {}
DEFAULT: Final = "post-patch"

#: The configuration that a model has: all of it, on a CPU with protection keys.
_USUAL: Final = frozenset(x.name for x in FEATURES.values() if x.kind == CONFIGURATION)


def _changes(before: frozenset[str], after: frozenset[str]) -> tuple[tuple[Feature, bool], ...]:
    changed = [x for x in FEATURES.values() if (x.name in before) != (x.name in after)]
    added = tuple((x, True) for x in changed if x.name in after)
    return added + tuple((x, False) for x in changed if x.name not in after)


def _features_of(release: Release) -> frozenset[str]:
    return _USUAL | {x.name for x in FEATURES.values() if x.is_in(release)}


def _release(name: str, newest: str, summary: str) -> None:
    """A mainline release after the last one. *newest*: the last point release anything is known of.

    Of what came in between, features.py says what is known.
    """
    before = next(reversed(KERNELS.values())).features if KERNELS else frozenset()
    release = numbers(name)
    features = _features_of(release)
    KERNELS[name] = Kernel(name, features, release, summary, _changes(before, features))
    _NEWEST[release] = numbers(newest)


def _model(
    name: str,
    base: str,
    summary: str,
    added: tuple[Feature, ...] = (),
    dropped: tuple[Feature, ...] = (),
) -> None:
    """A model that is no release: *base* and what sets it apart, with the release of *base*."""
    parent = KERNELS[base]
    features = (parent.features | {x.name for x in added}) - {x.name for x in dropped}
    changes = _changes(parent.features, features)
    KERNELS[name] = Kernel(name, features, parent.release, summary, changes)


_NEWEST: Final[dict[Release, Release]] = {}

# fmt: off
_release("6.4", "6.4.16", "KSM by default: PR_SET_MEMORY_MERGE")
_release("6.5", "6.5.13", "no change known")
_release("6.6", "6.6", "no change known")
_release("6.7", "6.7.12", "KSM by default survives execve(); mprotect() gives accounting back")
_release("6.8", "6.8.12", "MAP_STACK without huge pages")
_release("6.9", "6.9.12", "no change known")
_release("6.10", "6.10.14", "mseal()")
_release("6.11", "6.11.11", "MAP_DROPPABLE")
_release("6.12", "6.12.118", "mmap() and seals check before they change")
_release("6.13", "6.13.12", "guard regions")
_release("6.14", "6.14.11", "no change known")
_release("6.15", "6.15.11", "guard regions in files")
_release("6.16", "6.16.12", "merges into unfaulted VMAs; .mmap_prepare()")
_release("6.17", "6.17.13", "KSM by default no longer breaks merging; mremap() of several VMAs")
_release("6.18", "6.18.52", "huge pages only where advised")
_release("6.19", "6.19.14", "guard regions show; shared memory has .mmap_prepare()")
_release("7.0", "7.0.13", "MADV_DOFORK refuses special mappings")
_release("7.1", "7.1.13", "mremap() counts maps anew")
_release("7.2", "7.2.13", "userfaultfd refuses special mappings")
_release("7.3", "7.3.4", "a second page offset of private file mappings")
_model("pre-patch", "6.17", "6.17 without the KSM series and nothing else different",
       dropped=(f.KSM_BEFORE_MERGE,))
_model("post-patch", "6.17", "6.17: with the KSM series")
_model("series-v2", "post-patch", "6.17 with the KSM series as it was posted in May 2025",
       added=(f.KSM_LATE_CHECK_BEFORE_HOOK,))
# fmt: on


def _future(name: str, base: str, summary: str, added: tuple[Feature, ...]) -> None:
    """A model of what is to come: the release after the newest one."""
    parent = KERNELS[base]
    newest = max(_NEWEST)
    release = (newest[0], newest[1] + 1)
    features = _features_of(release) | {x.name for x in added}
    KERNELS[name] = Kernel(name, features, release, summary, _changes(parent.features, features))


_future("next", f"{max(_NEWEST)[0]}.{max(_NEWEST)[1]}", "what is queued: private /dev/zero is "
        "anonymous memory", (f.DEVZERO_ANONYMOUS,))  # fmt: skip
_future("converted", "next", "every driver on .mmap_prepare(), the late KSM check gone",
        (f.DEVZERO_ANONYMOUS, f.ALL_MMAP_PREPARE))  # fmt: skip


# --- names ---------------------------------------------------------------------------------------

_RELEASE_NAME: Final = re.compile(
    r"v?(\d+)\.(\d+)(?:\.(\d+)(?P<rest>\.\d.*|[+~_-].*)?|(?P<tag>\+|[+~_-]\D.*))?",
    re.DOTALL | re.ASCII,
)
_CANDIDATE: Final = re.compile(r"-rc\d+")


@cache
def get_kernel(name: str) -> Kernel:
    """The model of that name: a row of KERNELS, a release, or ``running``.

    A release is written as the kernel's developers do, ``6.12.95`` or ``v7.2``, or as uname(1)
    prints it, ``6.12.43+deb13-amd64`` or ``7.3.0-rc2``. The names that with_features() makes are
    names, too: ``6.12-pkeys``. Raises UnknownKernel.
    """
    if name == "running":
        return _running()
    if switched := _switched(name):
        return switched
    kernel = KERNELS.get(name) or KERNELS.get(re.sub(r"^v(?=\d)", "", name))
    if kernel is not None:
        return kernel
    match = _RELEASE_NAME.fullmatch(name)
    if match is None:
        raise UnknownKernel(f"unknown kernel {name!r}{_suggestion(name)}")
    mainline = (int(match[1]), int(match[2]))
    if mainline not in _NEWEST:
        raise UnknownKernel(f"unknown kernel {name!r}{_not_a_release(mainline)}")
    return _of_release(mainline, int(match[3] or 0), match["rest"] or match["tag"] or "")


def _switched(name: str) -> Kernel | None:
    """The model that with_features() calls so, None where *name* is not made like that."""
    on: list[str] = []
    off: list[str] = []
    while True:
        ends = [s + x for s in "+-" for x in FEATURES if name.endswith(s + x)]
        if not ends:
            break
        # Of nested names (ksm in…-ksm, mseal in no-mseal) the longest is meant.
        end = max(ends, key=len)
        (on if end[0] == "+" else off).append(end[1:])
        name = name[: -len(end)]
    if not on and not off:
        return None
    return get_kernel(name).with_features(on, off)


def named(uname: str) -> Kernel:
    """The model of a kernel that exists and calls itself so: a newer one is as the newest known.

    Raises UnknownKernel for what is older than all models, and for what is no release.
    """
    match = _RELEASE_NAME.fullmatch(uname)
    newest = max(_NEWEST)
    if match is None or (int(match[1]), int(match[2])) <= newest:
        return get_kernel(uname)
    row = KERNELS[_name(newest)]
    return replace(row, assumed=(f"{uname} is taken to be as {row.name}, the newest one known",))


def _running() -> Kernel:
    """This machine's kernel, by its name."""
    name = os.uname().release
    kernel = named(name)
    said = f"this machine runs {name}; what it really does, `vmatrace verify --probe` finds out"
    return replace(kernel, assumed=(said, *kernel.assumed))


def _of_release(mainline: Release, point: int, rest: str) -> Kernel:
    """The point release of a series, of which the name says *rest* besides."""
    row = KERNELS[".".join(map(str, mainline))]
    newest = (*_NEWEST[mainline], 0)[2]
    assumed = []
    if _CANDIDATE.match(rest):
        assumed.append(f"a release candidate is taken to have what {row.name} has")
    elif build := rest.strip(".+~_-"):
        assumed.append(
            f"{build!r} names a build: it is taken as published, though a distribution may carry "
            "more changes"
        )
    elif rest:
        assumed.append(f"{rest!r} marks a tree with changes of its own: it is taken as published")
    if point > newest:
        limit = f"after {row.name}.{newest}" if newest else "beyond what `vmatrace kernels` lists"
        assumed.append(f"nothing is known of what {row.name}.y got {limit}")
    kernel = row
    if point:
        release = (*mainline, point)
        features = _features_of(release)
        kernel = Kernel(
            f"{row.name}.{point}", features, release, f"{row.name} with its backports",
            _changes(row.features, features),
        )  # fmt: skip
    return replace(kernel, assumed=tuple(assumed)) if assumed else kernel


def _not_a_release(mainline: Release) -> str:
    """Why there is no such release, and what may have been meant."""
    oldest, newest = min(_NEWEST), max(_NEWEST)
    if mainline < oldest:
        return f": models begin with {_name(oldest)} (did you mean {_name(oldest)!r}?)"
    if mainline > newest:
        return f": {_name(newest)} is the newest release known (did you mean 'next'?)"
    last = max(release for release in _NEWEST if release[0] == mainline[0])
    return f": {_name(last)} was the last of {last[0]}.x (did you mean {_name(last)!r}?)"


def _suggestion(name: str) -> str:
    """What may have been meant by what is not even written as a release."""
    written = re.search(r"([0-9]+)(?:[.,]([0-9]+))?(?:[.,]([0-9]+))?", name)
    digits = [int(digit) for digit in written.groups() if digit] if written else []
    if tuple(digits[:2]) in _NEWEST:
        return f" (did you mean {'.'.join(map(str, digits))!r}?)"
    if re.match("v?[0-9]", name):
        series = [release for release in _NEWEST if release[0] == digits[0]]
        return (
            f" (did you mean {_name(max(series))!r}?)" if series else _not_a_release((digits[0],))
        )
    names = (*(n for n in KERNELS if not n[0].isdigit()), "running")
    return nearest(name.lower(), names) or " (`vmatrace kernels` lists the models)"


def _name(release: Release) -> str:
    return ".".join(map(str, release))


def is_release(kernel: Kernel) -> bool:
    """Whether the model is a release, a point release included, with or without switches."""
    return kernel.name[0].isdigit()


def in_order(kernels: Iterable[Kernel]) -> list[Kernel]:
    """Releases from the oldest on, then the models that are none, as KERNELS has them."""
    rows = list(KERNELS)

    def key(kernel: Kernel) -> tuple[bool, Release, int, str]:
        release = is_release(kernel)
        row = 0 if release else rows.index(kernel.base or kernel.name)
        return (not release, kernel.release if release else (), row, kernel.name)

    return sorted(kernels, key=key)


def timeline() -> list[Kernel]:
    """The mainline releases from the oldest on, then the models of what is to come."""
    newest = max(_NEWEST)
    return [k for k in KERNELS.values() if is_release(k) or k.release > newest]


@cache
def point_releases(mainline: str) -> tuple[Kernel, ...]:
    """The stable releases of a mainline release that differ from the one before, oldest first."""
    series = KERNELS[mainline].release if is_release(KERNELS[mainline]) else ()
    points = {numbers(point) for x in FEATURES.values() for point in (*x.since[1:], *x.until[1:])}
    return tuple(get_kernel(_name(p)) for p in sorted(points) if p[:2] == series)


def get_feature(name: str) -> Feature:
    """The feature of that name. Raises UnknownFeature."""
    if name not in FEATURES:
        raise UnknownFeature(f"unknown feature {name!r}{nearest(name, FEATURES)}")
    return FEATURES[name]
