"""Trace files as pytest collects, runs and reports them: a test is an expectation under a model.

Loaded by pytest_plugin when the first *.yaml file is met. What an expectation means, and under
which models a trace is checked, it asks those who know.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from vmatrace.commands.check.question import NO_EXPECTATIONS, UNCOVERED, models
from vmatrace.commands.check.words import failure_text, permit, uncovered_text
from vmatrace.escape import visible
from vmatrace.event import Expectation
from vmatrace.importers.looks import HEAD, is_meant
from vmatrace.kernels import KERNELS, Kernel, get_kernel
from vmatrace.replayer.blame import blame
from vmatrace.replayer.expectations import applies
from vmatrace.replayer.identities import named
from vmatrace.replayer.result import Failure, Result
from vmatrace.replayer.run import replay
from vmatrace.trace.file import Trace, TraceError, load_trace

_ALLOW: Final = "--vmatrace-allow"


def is_trace(path: Path) -> bool:
    """Whether the file at *path* is meant for a trace, and is not YAML that is somebody else's.

    One that cannot be read may be: collecting it says so.
    """
    try:
        with open(path, "rb") as file:
            return is_meant(file.read(HEAD))
    except OSError:
        return True


class TraceFile(pytest.File):
    """A trace file. A model's replay is kept for its tests, which are run one after another."""

    trace: Trace
    _replayed: tuple[Kernel, Result] | None = None

    def collect(self) -> Iterator[pytest.Item]:
        """A test for each expectation and model that it is about."""
        try:
            names: list[str] = self.config.getoption("--vmatrace-kernel")
            chosen = [*KERNELS.values()] if "all" in names else [*map(get_kernel, names)]
        except ValueError as error:
            raise self.CollectError(f"--vmatrace-kernel: {error}") from None
        shown = os.path.relpath(self.path, self.config.invocation_params.dir)
        try:
            self.trace = load_trace(self.path, shown)
            expected = list(named(self.trace.items()))
        except TraceError as error:
            raise self.CollectError(str(error)) from None
        allowed: list[str] = self.config.getoption("--vmatrace-allow")
        allowed += self.config.getini("vmatrace_allow")
        if not expected and NO_EXPECTATIONS not in allowed:
            raise self.CollectError(f"{shown}: it expects nothing{permit(NO_EXPECTATIONS, _ALLOW)}")
        under = chosen or models(self.trace, (expectation for expectation, _ in expected))
        for lost, _ in expected:
            if not chosen and not any(applies(lost, kernel) for kernel in under):
                text = f"{shown}:{lost.line}: {uncovered_text(', '.join(lost.on))}"
                if UNCOVERED not in allowed:
                    raise self.CollectError(text + permit(UNCOVERED, _ALLOW))
                self.warn(pytest.PytestCollectionWarning(text))
        for kernel in under:
            for expectation, name in expected:
                if applies(expectation, kernel):
                    yield ExpectationItem.from_parent(
                        self, name=f"{visible(name)}[{kernel.name}]", expectation=expectation,
                        kernel=kernel,
                    )  # fmt: skip

    def result(self, kernel: Kernel) -> Result:
        """The replay under *kernel*. Raises TraceError where a call is not modelled."""
        if self._replayed is None or self._replayed[0] is not kernel:
            result = replay(self.trace, kernel)
            blame(self.trace, kernel, result.failures)
            self._replayed = kernel, result
        return self._replayed[1]


class ExpectationItem(pytest.Item):
    """An expectation under one model."""

    parent: TraceFile

    def __init__(self, *, expectation: Expectation, kernel: Kernel, **more: Any) -> None:
        super().__init__(**more)
        self.expectation = expectation
        self.kernel = kernel

    def runtest(self) -> None:
        """Raises UnmetError if the expectation does not hold."""
        here = self.expectation.line, self.expectation.column
        failures = self.parent.result(self.kernel).failures
        unmet = [failure for failure in failures if (failure.line, failure.column) == here]
        if unmet:
            raise UnmetError(unmet)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """What was expected and what was there; of a mistake in the trace, where it is."""
        error = excinfo.value
        if isinstance(error, TraceError):
            return str(error)
        if not isinstance(error, UnmetError):
            return super().repr_failure(excinfo, style)
        path = self.parent.trace.path
        shown = [failure_text(path, failure) for failure in error.failures]
        why = f"to see why: vmatrace replay {path} --kernel {self.kernel.name} --steps"
        return "\n".join([*shown, why])

    def reportinfo(self) -> tuple[Path, int, str]:
        """The line of the trace, from 0."""
        return self.path, self.expectation.line - 1, f"{self.parent.trace.name}: {self.name}"


class UnmetError(Exception):
    """An expectation that does not hold, with what failed of it."""

    def __init__(self, failures: list[Failure]) -> None:
        super().__init__(failures)
        self.failures = failures
