"""The page on CI: every step of its workflows is run, as a CI server runs it.

What needs a network is replaced: `pip` by a program that does nothing. A step is what the server
would hand to a shell, in a project that has traces/ and the baseline that the page says to keep.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import jsonschema
import pytest
import yaml12
from program import ROOT

TEXT = (ROOT / "docs" / "tutorials" / "ci-gate.md").read_text(encoding="utf-8")
BEFORE = """\
vmatrace: 1
process: {ksm: true}
events:
  - mmap(0x10000, 4096, PROT_READ, MAP_PRIVATE|MAP_ANONYMOUS|MAP_FIXED, -1, 0)
  - mmap(0x11000, 4096, PROT_READ, MAP_PRIVATE|MAP_ANONYMOUS|MAP_FIXED, -1, 0)
  - expect: {on: post-patch, vmas: 1}
"""


def block(kind: str, name: str) -> Any:
    """The document in the block whose first line says that it is the file *name*."""
    match = re.search(rf"^```{kind}\n# {re.escape(name)}\n(.*?)^```$", TEXT, re.M | re.S)
    assert match is not None, name
    return yaml12.read(match[1])


def github_steps() -> list[dict[str, Any]]:
    (job,) = block("yaml", "memory.yaml")["jobs"].values()
    steps: list[dict[str, Any]] = job["steps"]
    return steps


def gitlab_steps() -> list[dict[str, Any]]:
    (job,) = block("yml", ".gitlab-ci.yml").values()
    return [{"run": line} for line in job["script"]]


def shell_steps() -> list[dict[str, Any]]:
    match = re.search(r"^```sh\n#!/bin/sh\n# gate\.sh\n(.*?)^```$", TEXT, re.M | re.S)
    assert match is not None
    return [{"name": "gate.sh", "run": match[1]}]


def action_steps() -> list[dict[str, Any]]:
    """Those of the action, with the inputs that the page gives it; nothing is installed."""
    action = yaml12.read((ROOT / ".github/actions/check/action.yml").read_text(encoding="utf-8"))
    (job,) = block("yaml", "action.yaml")["jobs"].values()
    (given,) = [step["with"] for step in job["steps"] if "vmatrace" in step["uses"]]
    assert set(given) <= set(action["inputs"])
    inputs = {name: of["default"] for name, of in action["inputs"].items()} | given
    inputs["install"] = ""
    steps = []
    for step in action["runs"]["steps"]:
        assert "${{" not in step["run"], "an input would be run"
        assert step["shell"] == "bash"
        env = {
            name: re.sub(r"\$\{\{ inputs\.(\w+) \}\}", lambda m: inputs[m[1]], value)
            for name, value in step["env"].items()
        }
        steps.append({**step, "env": env})
    return steps


def hook_steps() -> list[dict[str, Any]]:
    """pre-commit's: the entry with all files of the type that git knows of."""
    (hook,) = yaml12.read((ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))
    assert hook["types"] == ["yaml"]
    files = "git ls-files -z -- '*.yaml' '*.yml' | xargs -0"
    return [{"name": "hook", "run": f"{files} {hook['entry']}"}]


class Project:
    """A repository with traces, and a server that runs steps in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.summary = folder / "summary.md"
        commands = folder / "bin"
        commands.mkdir()
        run = f'PATH=$OLD_PATH exec {sys.executable} -m vmatrace "$@"'
        for name, runs in (("vmatrace", run), ("pip", "exit 0")):
            (commands / name).write_text(f"#!/bin/sh\n{runs}\n")
            (commands / name).chmod(0o755)
        self.environment = {
            "PATH": f"{commands}:{os.environ['PATH']}", "OLD_PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT), "GITHUB_STEP_SUMMARY": str(self.summary), "CI": "true",
            "PYTHONIOENCODING": "utf-8", "VMATRACE": "nowhere",
        }  # fmt: skip
        (folder / "traces").mkdir()
        self.write(BEFORE)
        self.write(BEFORE.replace("ksm: true}", "ksm: true}\nkernel: '6.12'"), "named")
        self.write(RECORDED.format(0x7FC04336E000), "recorded")
        (folder / "other.yml").write_text("on: [push]\njobs: {}\n")
        (keep,) = re.findall(r"^```sh\n(vmatrace baseline .*)\n```$", TEXT, re.M)
        assert self.run(keep).returncode == 0
        assert self.run("git init -q && git add other.yml traces").returncode == 0

    def write(self, trace: str, name: str = "adjacent") -> None:
        (self.folder / "traces" / f"{name}.yaml").write_text(trace, encoding="utf-8")

    def run(
        self, command: str, more: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        # What GitHub's servers run a step of an action with, which says shell: bash.
        script = self.folder / "bin" / "step.sh"
        script.write_text(command, encoding="utf-8")
        return subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", str(script)],
            cwd=self.folder, env=self.environment | (more or {}),
            text=True, encoding="utf-8", capture_output=True, check=False,
        )  # fmt: skip

    def statuses(self, steps: list[dict[str, Any]]) -> dict[str, int]:
        """The exit status of each step that runs something, by its name or else its command."""
        return {
            step.get("name", step["run"]): self.run(step["run"], step.get("env")).returncode
            for step in steps
            if "run" in step
        }


#: What recording one program twice gives: other addresses.
RECORDED = """\
vmatrace: 1
kernel: "6.18"
events:
  - a = mmap(NULL, 8192, PROT_READ, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0) = {:#x}
  - expect: {{vmas: 1}}
"""
every = pytest.mark.parametrize(
    "steps", [github_steps, gitlab_steps, shell_steps, action_steps, hook_steps]
)
#: Those that compare with the baseline.
comparing = pytest.mark.parametrize(
    "steps", [github_steps, gitlab_steps, shell_steps, action_steps]
)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


@every
def test_every_step_succeeds_where_nothing_is_wrong(project: Project, steps: Any) -> None:
    statuses = project.statuses(steps())
    assert statuses
    assert set(statuses.values()) == {0}, statuses


@every
def test_a_program_that_is_recorded_again_changes_nothing(project: Project, steps: Any) -> None:
    project.write(RECORDED.format(0x7F29CFAB3000), "recorded")
    statuses = project.statuses(steps())
    assert set(statuses.values()) == {0}, statuses


@comparing
def test_a_trace_that_is_gone_fails_a_step(project: Project, steps: Any) -> None:
    (project.folder / "traces" / "named.yaml").unlink()
    statuses = project.statuses(steps())
    assert 1 in statuses.values(), statuses


@comparing
def test_a_new_trace_fails_a_step_until_the_baseline_has_it(project: Project, steps: Any) -> None:
    project.write(BEFORE, "new")
    assert 1 in project.statuses(steps()).values()
    assert project.run("vmatrace baseline traces/ --update -o baseline.json").returncode == 0
    assert set(project.statuses(steps()).values()) == {0}


@every
@pytest.mark.parametrize(("right", "wrong"), [("mmap", "mmpa"), ("vmatrace: 1", "vmatrac: 1")])
def test_a_broken_trace_fails_a_step(project: Project, steps: Any, right: str, wrong: str) -> None:
    project.write(BEFORE.replace(right, wrong))
    assert 2 in project.statuses(steps()).values() or steps in (shell_steps, hook_steps)
    assert any(project.statuses(steps()).values())


def test_the_report_for_servers_is_there(project: Project) -> None:
    project.statuses(gitlab_steps())
    report = ElementTree.parse(project.folder / "vmatrace.xml").getroot()
    assert report.iter("testcase")


def test_the_summary_says_what_the_series_changes(project: Project) -> None:
    project.statuses(github_steps())
    summary = project.summary.read_text(encoding="utf-8")
    assert "adjacent" in summary
    assert "| " in summary


def test_a_failed_expectation_fails_its_step_alone_and_marks_the_line(project: Project) -> None:
    project.write(BEFORE.replace("vmas: 1", "vmas: 2"))
    statuses = project.statuses(github_steps())
    assert {name for name, status in statuses.items() if status} == {"every expectation holds"}
    steps = {step.get("name"): step for step in github_steps()}
    printed = project.run(steps["every expectation holds"]["run"]).stdout
    assert re.search(r"^::error .*file=traces/adjacent\.yaml,line=6", printed, re.M), printed


def test_a_layout_that_is_not_the_baselines_fails_its_step_alone(project: Project) -> None:
    project.write(BEFORE.replace("0x11000", "0x12000").replace("vmas: 1", "vmas: 2"))
    statuses = project.statuses(github_steps())
    failed = {name: status for name, status in statuses.items() if status}
    assert failed == {"nothing changed since the baseline": 1}


def test_a_broken_trace_fails_every_step(project: Project) -> None:
    project.write(BEFORE.replace("mmap", "mmpa"))
    statuses = project.statuses(github_steps())
    assert {name for name, status in statuses.items() if not status} == {'pip install "$VMATRACE"'}


@pytest.mark.parametrize(
    "given", [" -k 6.12", "/etc/*", "$(touch owned)", "traces/ ; touch owned", "`touch owned`"]
)
def test_an_input_of_the_action_is_never_run(project: Project, given: str) -> None:
    for step in action_steps():
        for name in step["env"]:
            project.run(step["run"], step["env"] | {name: given, "INSTALL": ""})
    assert not list(project.folder.rglob("owned"))


def test_the_action_without_inputs_takes_what_the_settings_name(project: Project) -> None:
    (project.folder / "vmatrace.toml").write_text('traces = ["traces"]\n', encoding="utf-8")
    (step,) = [s for s in action_steps() if s["name"] == "every expectation holds"]
    assert project.run(step["run"], step["env"] | {"TRACES": ""}).returncode == 0
    project.write(BEFORE.replace("vmas: 1", "vmas: 2"))
    assert project.run(step["run"], step["env"] | {"TRACES": ""}).returncode == 1


def valid(document: Any, schema: str) -> None:
    text = (ROOT / "tests" / "schemas" / schema).read_text(encoding="utf-8")
    jsonschema.Draft7Validator(json.loads(text)).validate(document)


def test_what_servers_read_is_as_their_schemas_say() -> None:
    """The schemas of json.schemastore.org (Apache-2.0) and gitlab.com (MIT)."""
    action = yaml12.read((ROOT / ".github/actions/check/action.yml").read_text(encoding="utf-8"))
    valid(action, "github-action.json")
    for name in ("memory.yaml", "action.yaml"):
        valid(block("yaml", name), "github-workflow.json")
    valid(block("yml", ".gitlab-ci.yml"), "gitlab-ci.json")
    del action["runs"]["steps"][0]["shell"]
    with pytest.raises(jsonschema.ValidationError):
        valid(action, "github-action.json")


def test_the_pre_commit_hook_that_is_named_exists() -> None:
    manifest = yaml12.read((ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))
    (repository,) = block("yaml", ".pre-commit-config.yaml")["repos"]
    assert {hook["id"] for hook in repository["hooks"]} <= {hook["id"] for hook in manifest}
