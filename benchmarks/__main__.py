"""All measurements: prints them, keeps them in results.json and puts the tables in the README."""

import argparse
import contextlib
import os
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import jax
import numpy as np
from flax.traverse_util import flatten_dict

from benchmarks import jax_side, report
from benchmarks.timing import Worker, interleave
from results.about import about
from robustlib import (
    Linf,
    SmallCNN,
    create_state,
    ensemble,
    fit_or_load,
    load_dataset,
    logits_fn,
    recipe,
)
from robustlib.batches import judge
from robustlib.ensemble import ENSEMBLES, Problem

# glibc's malloc hands large blocks back at once, and the next step pays for fresh pages.
TUNED_MALLOC = {"MALLOC_MMAP_THRESHOLD_": "4294967296", "MALLOC_TRIM_THRESHOLD_": "4294967296"}
GRADIENTS_A_SAMPLE = 20


@dataclass(frozen=True)
class Sizes:
    """How much is measured."""

    rounds: int = 15
    steps: tuple = ((128, 20), (512, 8))  # batch size, training steps a sample
    pgd: tuple = (128, 1000)  # batch sizes, of Auto-PGD too


PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy", "torch", "torchattacks", "foolbox")
PACKAGES += ("adversarial-robustness-toolbox",)


def main() -> None:
    """Measure everything once."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="only see that it runs: train nothing, keep nothing"
    )
    quick = parser.parse_args().quick
    sizes = Sizes(rounds=1, steps=((4, 2), (8, 2)), pgd=(4, 8)) if quick else Sizes()
    # Training starts cold: nothing kept, nothing compiled before.
    jax.config.update("jax_enable_compilation_cache", False)
    results = about("make bench", PACKAGES) | {"hash": report.content_hash()}
    results |= {"rounds": sizes.rounds, "images": max(sizes.pgd)}
    data = load_dataset("mnist")
    test = data.test.spread(max(sizes.pgd))
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        os.environ["ROBUSTLIB_CACHE"] = folder
        untrained = create_state(SmallCNN(), jax.random.key(0), test.images)
        state, results["training"] = (untrained, {}) if quick else train()
        inputs = Path(folder, "inputs.npz")
        workers = start_workers(stack, inputs, state, test, data.epsilon)
        results["steps"] = steps(data, workers, sizes)
        for attack, libraries in report.TIMED.items():
            results[attack] = speeds(attack, libraries, state, test, data.epsilon, workers, sizes)
        results["standing"] = standing(state, test, data.epsilon, workers["PyTorch"])
        say("convolutions")
        sample = test.spread(sizes.pgd[0])
        timings = jax_side.convolutions(state.params, sample, GRADIENTS_A_SAMPLE)
        medians = interleave(timings, sizes.rounds)
        results["convolution"] = {k: v / GRADIENTS_A_SAMPLE for k, v in medians.items()}
    if not quick:
        report.keep(results)
    print(report.tables(results))


def say(what: str) -> None:
    """Print what begins, and when."""
    print(f"[bench] {time.strftime('%H:%M:%S')} {what}", file=sys.stderr, flush=True)


def train() -> tuple:
    """Train the recipe on both sizes of MNIST; return the last state, and the seconds."""
    seconds = {}
    for name in ("mnist_small", "mnist"):
        say(f"training 'PGD long' on {name}")
        result = fit_or_load(recipe("PGD long", name), progress=False)
        seconds[name] = result.seconds
    return result.state, seconds


def start_workers(stack, inputs: Path, state, test, epsilon: float) -> dict[str, Worker]:
    """Start PyTorch, with malloc as it is and tuned, on the weights of `state`."""
    params = flatten_dict(jax.device_get(state.params), sep="/")
    np.savez(inputs, images=test.images, labels=test.labels, epsilon=epsilon, **params)
    device = "cpu" if jax.default_backend() == "cpu" else "cuda"
    settings = {"PyTorch": {}}
    if sys.platform == "linux" and device == "cpu":
        settings["PyTorch, malloc tuned"] = TUNED_MALLOC
    workers = {
        name: stack.enter_context(Worker("benchmarks.torch_side", str(inputs), device, **setting))
        for name, setting in settings.items()
    }
    ours = np.asarray(logits_fn(state)(test.images))
    for worker in workers.values():
        difference = np.abs(ours - np.array(worker.ask("logits"))).max()
        assert difference < 1e-4, f"the networks' logits differ by {difference}"
    return workers


def steps(data, workers, sizes: Sizes) -> dict:
    """Return the seconds a training step takes, for each batch size and contestant."""
    results = {}
    for batch_size, count in sizes.steps:
        say(f"training steps, batch {batch_size}")
        timings = jax_side.train_steps(data.train, data.epsilon, batch_size, count)
        for name, worker in workers.items():
            for kind in report.KINDS:
                request = {"step": kind, "batch_size": batch_size, "steps": count}
                timings[f"{name}: {kind}"] = worker.asking("train", **request)
        medians = interleave(timings, sizes.rounds)
        results[str(batch_size)] = {name: value / count for name, value in medians.items()}
    return results


def speeds(attack, libraries, state, test, epsilon: float, workers, sizes: Sizes) -> dict:
    """Return the image-gradients a second of an attack, for each batch size and contestant."""
    results = {}
    for batch_size in sizes.pgd:
        say(f"{attack}, batch {batch_size}")
        run = jax_side.attacking(attack, state, test, epsilon, batch_size)
        timings = {"robustlib": lambda run=run: jax_side.seconds(run)}
        for name, worker in workers.items():
            for library in libraries:
                request = {"attack": attack, "library": library, "batch_size": batch_size}
                timings[f"{name}: {library}"] = worker.asking("attack_seconds", **request)
        medians = interleave(timings, sizes.rounds)
        gradients = report.STEPS[attack] * batch_size
        results[str(batch_size)] = {k: gradients / v for k, v in medians.items()}
    return results


def standing(state, test, epsilon: float, worker: Worker) -> dict:
    """Return, for each attack and library, which images it leaves correct, in ball and box."""
    model, threat, results = logits_fn(state), Linf(epsilon), {}
    for attack, libraries in report.COUNTED.items():
        say(f"what {attack} leaves standing")
        points = jax_side.attacking(attack, state, test, epsilon, len(test))()
        verdict = judge(model, test.images, test.labels, threat, points)
        results[attack] = {"robustlib": ~verdict.broken}
        for library in libraries:
            asked = worker.ask("standing", attack=attack, library=library)
            results[attack][library] = np.array(asked)
    say("what the standard ensemble leaves standing")
    problem = Problem(model, test.images, test.labels, threat, np.asarray(model(test.images)))
    clean = problem.logits.argmax(1) == test.labels
    key = jax.random.key(0)
    outcome = ensemble.attack(ENSEMBLES["standard"], problem, clean, key, progress=False)
    theirs = [results[attack][report.ENSEMBLE_LIBRARY] for attack in report.ENSEMBLE]
    results["standard ensemble"] = {
        "robustlib": outcome.standing,
        report.ENSEMBLE_LIBRARY: np.all(theirs, axis=0),
    }
    return {
        attack: {library: "".join(map(str, map(int, kept))) for library, kept in rows.items()}
        for attack, rows in results.items()
    }


if __name__ == "__main__":
    main()
