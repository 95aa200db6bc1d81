"""The headline: the small CNN trained with PGD, three seeds, attacked on all test images.

`make results` computes it and keeps it in headline.json; `page.py` shows it. `content_hash` tells
whether what is kept was made by the code and the recipes as they are now.
"""

import dataclasses
import hashlib
import sys
import time
from functools import partial
from pathlib import Path

import jax

import robustlib
from results.about import about
from robustlib import Linf, evaluate_robustness, fit_or_load, load_dataset, logits_fn, pgd, recipe
from robustlib.recipes import code_hash

SEEDS = (0, 1, 2)
# mnist_small trains on a part of mnist's training images, so all 10,000 test images serve it too.
TESTS = {"mnist_small": ("mnist_small", "mnist"), "mnist": ("mnist",)}
# The step size of Madry et al. (2018), so that the numbers can be laid beside published ones, and
# robustlib's own, 2.5 * epsilon / steps, which breaks more images. Robust is what withstands both.
ATTACKS = {
    "PGD-40, steps of 0.01": partial(pgd, steps=40, step_size=0.01, restarts=10),
    "PGD-40, steps of 0.01875": partial(pgd, steps=40, step_size=0.01875, restarts=10),
}
PASSES_AN_IMAGE = len(ATTACKS) * 40 * 10
SAMPLE = 200
PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy")
# That `evaluate_robustness` imports, beside those that training does.
MODULES = (
    *("data", "batches", "evaluation", "report", "sanity"),
    *("auto_pgd", "square_attack", "search", "ensemble", "comparisons"),
)


def trained(dataset: str, seed: int, quick: bool = False):
    """Return the recipe of the headline, and its result; `quick` trains for one epoch."""
    return _fit(recipe("PGD long", dataset, seed), quick)


def attacked(result, test, baseline=None):
    """Return the report on a trained model under the attacks of the headline."""
    threat = Linf(load_dataset("mnist").epsilon)
    return evaluate_robustness(
        logits_fn(result.state),
        test,
        threat,
        jax.random.key(0),
        attacks=ATTACKS,
        baseline=baseline,
    )


def sample_correct(result) -> int:
    """Return how many of 200 spread images of mnist_small's test the attacks leave correct."""
    return attacked(result, load_dataset("mnist_small").test.spread(SAMPLE)).robust_correct


def compute(quick: bool = False) -> dict:
    """Return the headline and what has to stand beside it.

    Args:
        quick: train for one epoch, attack 100 images: to see that everything runs.
    """
    made_by = about("make results", PACKAGES) | {"hash": content_hash()}
    rows, progress, models = [], _Progress(), {}
    for dataset in TESTS:  # all training first: its seconds count, so leave the machine alone
        for seed in SEEDS:
            jax.clear_caches()  # each compiles as the first does
            models[dataset, seed] = chosen, _ = trained(dataset, seed, quick)
            progress.say(f"trained {chosen.name!r} on {dataset}, seed {seed}", chosen)
    for dataset, names in TESTS.items():
        tests = {name: load_dataset(name).test for name in names}
        if quick:
            tests = {name: test.spread(100) for name, test in tests.items()}
        _, undefended = _fit(recipe("standard", dataset), quick)
        baselines = {name: attacked(undefended, test) for name, test in tests.items()}
        progress.say(
            f"trained and attacked 'standard' on {dataset}",
            recipe("standard", dataset),
            *tests.values(),
        )
        for seed in SEEDS:
            chosen, result = models[dataset, seed]
            if (dataset, seed) == ("mnist_small", 0):
                sample = sample_correct(result)
            for name, test in tests.items():
                report = attacked(result, test, baselines[name])
                progress.say(f"attacked {len(test):,} images of {name}", test)
                rows.append(_row(chosen, name, result, report, baselines[name]))
    return made_by | {
        "attacks": list(ATTACKS),
        "threat": report.threat,
        "attack_seed": report.seed,
        "sample_correct": sample,
        "rows": rows,
    }


def content_hash() -> str:
    """Return a hash of the recipes, and of the code, that the headline depends on."""
    recipes = [recipe("PGD long", dataset, seed) for dataset in TESTS for seed in SEEDS]
    digest = hashlib.sha256(f"{recipes} {code_hash()}".encode())
    library = Path(robustlib.__file__)
    for name in MODULES:
        digest.update(library.with_name(f"{name}.py").read_bytes())
    digest.update(Path(__file__).read_bytes())
    return digest.hexdigest()


def _fit(chosen, quick):
    chosen = dataclasses.replace(chosen, epochs=1) if quick else chosen
    return chosen, fit_or_load(chosen, progress=False)


def _row(chosen, tested_on, result, report, baseline):
    return {
        "recipe": repr(chosen),
        "trained_on": chosen.dataset,
        "seed": chosen.seed,
        "seconds": result.seconds,
        "gradient_passes": result.gradient_passes,
        "tested_on": tested_on,
        "images": report.examples,
        "clean_correct": report.clean_correct,
        "attacked_correct": [attack.correct for attack in report.attacks],
        "robust_correct": report.robust_correct,
        "undefended_correct": baseline.robust_correct,
        "flags": report.flags,
    }


class _Progress:
    """Says what is done and how many minutes are left, judged by the gradient passes to come."""

    def __init__(self):
        self._start, self._done = time.perf_counter(), 0
        self._total = 0
        for dataset, names in TESTS.items():
            tests = sum(_passes(load_dataset(name).test) for name in names)
            self._total += len(SEEDS) * (_passes(recipe("PGD long", dataset)) + tests)
            self._total += _passes(recipe("standard", dataset)) + tests

    def say(self, what, *work):
        self._done += sum(map(_passes, work))
        seconds = time.perf_counter() - self._start
        left = seconds * (self._total / self._done - 1) / 60
        print(
            f"[results] {seconds / 60:.0f} min: {what}; about {left:.0f} min left.",
            file=sys.stderr,
            flush=True,
        )


def _passes(work):
    """Return the gradient passes of a recipe's training, or of the attack on a split."""
    if hasattr(work, "epochs"):
        return work.epochs * len(load_dataset(work.dataset).train) * work.objective.passes
    return PASSES_AN_IMAGE * len(work)
