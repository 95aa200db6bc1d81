"""Run every chapter as Colab does, and print the seconds that each one took.

The kernel is that of `.venv-colab`, with Colab's versions and without robustlib. Each chapter
starts alone in an empty folder, on `mnist_small`, and its set-up cell installs robustlib from a
bare clone of this repository, in which the last commit carries the tag of the release.
"""

import json
import os
import shutil
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".venv-colab/bin/python"
WORK = ROOT / ".cache/colab"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
TAG = f"v{PROJECT['version']}"


def run(*command):
    """Run a command and return what it prints."""
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def installed():
    """Return the packages of Colab's environment, with their versions."""
    return set(run(PYTHON, "-m", "pip", "freeze", "--all").splitlines())


def execute(notebook, repository):
    """Execute one chapter in a fresh state and return its error, or None."""
    run(PYTHON, "-m", "pip", "uninstall", "-qq", "--yes", "robustlib")
    before = installed()
    folder = WORK / notebook.stem
    folder.mkdir()
    environment = {name: value for name, value in os.environ.items() if name[:4] != "JAX_"}
    environment |= {
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",  # else the kernel warns of frozen modules
        "ROBUSTLIB_CACHE": str(folder / "cache"),
        "ROBUSTLIB_DATASET": "mnist_small",
        "ROBUSTLIB_REPOSITORY": repository.as_uri(),
    }
    client = NotebookClient(
        nbformat.read(notebook, as_version=4),
        timeout=300,
        kernel_name="colab",
        resources={"metadata": {"path": str(folder)}},
    )
    try:
        client.execute(env=environment)
    except CellExecutionError as error:
        return str(error)
    changed = {line.split(" @ ")[0].split("==")[0] for line in before ^ installed()}
    return None if changed == {"robustlib"} else f"the set-up cell changed {sorted(changed)}"


def main():
    """Make the tagged clone and the kernel, then run the chapters one by one."""
    if run("git", "-C", ROOT, "status", "--porcelain", "robustlib", "notebooks"):
        print("[test-colab] The last commit is tested, without the changes since then.")
    shutil.rmtree(WORK, ignore_errors=True)
    repository = WORK / "robustlib.git"
    run("git", "clone", "--quiet", "--bare", "--reject-shallow", ROOT, repository)
    run("git", "-C", repository, "tag", "--force", TAG, "HEAD")
    run("git", "clone", "--quiet", repository, WORK / "checkout")
    kernel = WORK / "jupyter/kernels/colab"
    kernel.mkdir(parents=True)
    command = [str(PYTHON), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    spec = {"argv": command, "display_name": "Colab", "language": "python"}
    (kernel / "kernel.json").write_text(json.dumps(spec), encoding="utf-8")
    os.environ["JUPYTER_PATH"] = str(WORK / "jupyter")

    failures = 0
    notebooks = sorted((WORK / "checkout/notebooks").glob("*.ipynb"))
    for notebook in notebooks:
        start = time.monotonic()
        error = execute(notebook, repository)
        failures += error is not None
        verdict = "passed" if error is None else f"FAILED: {error}"
        print(f"{notebook.name:<45} {time.monotonic() - start:7.1f}  {verdict}", flush=True)
    print(f"{len(notebooks) - failures} passed, {failures} failed")
    sys.exit(failures > 0 or not notebooks)


if __name__ == "__main__":
    main()
