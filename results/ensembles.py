"""The standard ensemble on every model of the book, and `quick` on one of them.

`make results` computes it and keeps it in ensembles.json; `content_hash` tells whether what is kept
was made by the code and the recipes as they are now.
"""

import dataclasses
import hashlib
import sys
from pathlib import Path

import jax

import robustlib
from results.about import about
from results.headline import MODULES, PACKAGES
from robustlib import (
    L2,
    Linf,
    evaluate_robustness,
    fit_or_load,
    load_dataset,
    logits_fn,
    recipe,
)
from robustlib.recipes import code_hash

DATASET = "mnist"
THREATS = {"l-inf": Linf(0.3), "l-2": L2(2.0)}
EXAMPLES = {"l-inf": 10_000, "l-2": 1000}
# Under each threat model the undefended network comes first: it is the baseline of the others.
RUNS = (
    ("l-inf", "standard", "standard"),
    ("l-inf", "standard", "quick"),
    ("l-inf", "FGSM-mixed 0.1", "standard"),
    ("l-inf", "FGSM-mixed 0.3", "standard"),
    ("l-inf", "PGD", "standard"),
    ("l-inf", "PGD", "quick"),
    ("l-inf", "PGD long", "standard"),
    ("l-inf", "PGD l-2", "standard"),
    ("l-2", "standard", "standard"),
    ("l-2", "PGD", "standard"),
    ("l-2", "PGD l-2", "standard"),
)
SAMPLE = 200


def content_hash() -> str:
    """Return a hash of the recipes, and of the code, that these results depend on."""
    recipes = [recipe(name, DATASET) for _, name, _ in RUNS]
    digest = hashlib.sha256(f"{recipes} {code_hash()}".encode())
    library = Path(robustlib.__file__)
    for path in (*(library.with_name(f"{name}.py") for name in MODULES), Path(__file__)):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def compute(examples=EXAMPLES, runs=RUNS) -> dict:
    """Return what the ensembles left, and what has to stand beside it.

    Args:
        examples: how many test images for each norm, evenly spread; 10,000 are all.
        runs: (threat model, recipe, ensemble).
    """
    made_by = about("make results", PACKAGES) | {"hash": content_hash()}
    test = load_dataset(DATASET).test
    rows, baselines = [], {}
    for norm, name, attacks in runs:
        trained = fit_or_load(recipe(name, DATASET), progress=False)
        report = evaluate_robustness(
            logits_fn(trained.state),
            test.spread(examples[norm]),
            THREATS[norm],
            jax.random.key(0),
            attacks=attacks,
            baseline=baselines.get((norm, attacks)),
        )
        baselines.setdefault((norm, attacks), report)
        print(f"[results] {name!r}: {report}", file=sys.stderr, flush=True)
        rows.append({"model": name, "norm": norm} | dataclasses.asdict(report))
    return made_by | {"sample_correct": sample_correct(), "rows": rows}


def sample_correct() -> int:
    """Return how many of 200 images of mnist_small `quick` leaves to its model "PGD"."""
    trained = fit_or_load(recipe("PGD", "mnist_small"), progress=False)
    test = load_dataset("mnist_small").test.spread(SAMPLE)
    report = evaluate_robustness(
        logits_fn(trained.state), test, Linf(0.3), jax.random.key(0), attacks="quick"
    )
    return report.robust_correct
