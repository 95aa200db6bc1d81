"""What has to stand beside a stored number: command, commit, machine and versions."""

import hashlib
import json
import os
import platform
import subprocess
from datetime import date
from importlib.metadata import version
from pathlib import Path

import jax

ROOT = Path(__file__).parents[1]


def about(command: str, packages: tuple[str, ...]) -> dict:
    """Return how, where and with which versions this process computes.

    Args:
        command: what a reader types to compute it again.
        packages: the names of installed packages.
    """
    device = jax.devices()[0]
    return {
        "command": command,
        "commit": _commit(),
        "date": date.today().isoformat(),
        "platform": device.platform,
        "machine": f"{_device(device)}, {_cores()} processor cores, {platform.system()}",
        "versions": {"python": platform.python_version()}
        | {name: version(name) for name in packages},
    }


def write(path: Path, stored: dict) -> None:
    """Write a file of results, with a checksum over its name and all that it holds."""
    text = json.dumps({"sha256": _checksum(path.name, stored)} | stored, indent=1)
    path.write_text(f"{text}\n", encoding="utf-8", newline="\n")


def read(path: Path) -> dict:
    """Return what a file of results holds.

    Raises:
        ValueError: it was changed since it was written, or is another file under its name.
    """
    stored = json.loads(path.read_text(encoding="utf-8"))
    if stored.pop("sha256", None) != _checksum(path.name, stored):
        raise ValueError(
            f"{path.name} does not hold what was computed: its checksum does not match. Take it "
            "from the repository again, or compute it anew."
        )
    return stored


def out_of_date(stored: dict, content_hash: str) -> str:
    """Return a sentence that says so where results were made by other code, else nothing."""
    if stored["hash"] == content_hash:
        return ""
    return (
        f"**Out of date:** the code or a recipe has changed since. `{stored['command']}` computes "
        "this again.\n\n"
    )


def _checksum(name: str, stored: dict) -> str:
    return hashlib.sha256(json.dumps([name, stored], sort_keys=True).encode()).hexdigest()


def _commit() -> str:
    def git(*arguments):
        try:
            run = subprocess.run(["git", "-C", ROOT, *arguments], capture_output=True, text=True)
        except FileNotFoundError:  # this machine has no git
            return ""
        return run.stdout.strip()

    changed = git("status", "--porcelain", "--", "robustlib", "results/*.py", "benchmarks/*.py")
    return (git("rev-parse", "--short=12", "HEAD") or "no git") + (
        " with changes" if changed else ""
    )


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def _device(device) -> str:
    if device.platform != "cpu":
        return device.device_kind
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.exists() else []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor()
