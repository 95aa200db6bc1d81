"""The workflows for GitHub: pinned actions, few rights, and commands that exist."""

import json
import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
TARGETS = re.findall(r"(?m)^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"))

# What a job may do beyond reading the repository.
RIGHTS = {
    ("pages", "build"): {"contents": "read", "pages": "read"},
    ("pages", "deploy"): {"pages": "write", "id-token": "write"},
    ("weekly", "tell"): {"issues": "write"},
}


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda p: p.stem)
def test_a_workflow_is_pinned_frugal_and_up_to_date(path):
    text = path.read_text(encoding="utf-8")
    workflow = yaml.safe_load(text)
    jobs = list(workflow["jobs"].values())
    steps = [step for job in jobs for step in job.get("steps", [])]
    for action in [part["uses"] for part in jobs + steps if "uses" in part]:
        assert re.search(r"^(\./|docker://)|@[0-9a-f]{40}$", action), action
    assert workflow["permissions"] in ({}, {"contents": "read"})
    for name, job in workflow["jobs"].items():
        assert job.get("permissions", {}) == RIGHTS.get((path.stem, name), {}), name
    for step in steps:
        if step.get("uses", "").startswith("actions/checkout@"):
            assert step["with"]["persist-credentials"] is False
    assert "pull_request_target" not in text
    if "pull_request" in workflow[True]:  # YAML reads the key `on` as true
        assert "secrets" not in text and "self-hosted" not in text
    commands = "\n".join(step.get("run", "") for step in steps)
    assert set(re.findall(r"\bmake ([a-z-]+)", commands)) <= set(TARGETS)
    for name in re.findall(r"[\w./-]+\.(?:sh|py|txt)\b", commands):
        assert (ROOT / name).is_file(), name


def test_a_dev_container_makes_the_environment():
    text = (ROOT / ".devcontainer/devcontainer.json").read_text(encoding="utf-8")
    container = json.loads(text)
    commands = " ".join(container["postCreateCommand"].values())
    assert set(re.findall(r"\bmake ([a-z-]+)", commands)) == {"env"} <= set(TARGETS)
    python = container["customizations"]["vscode"]["settings"]["python.defaultInterpreterPath"]
    assert python.endswith("/.venv/bin/python")
