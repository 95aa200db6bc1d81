"""Every claim of a chapter can fail: with something of robustlib sabotaged, its cell must.

A chapter is executed cell by cell, on after a failure, with all models untrained and, besides, one
of: attacks that return their input, an epsilon of zero, another loss. Without sabotage the same
cells pass when `make test` runs the chapters.
"""

import dataclasses
import json
import warnings
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib.pyplot
import numpy as np
import pytest

import robustlib

matplotlib.use("Agg")

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))
IDLE, ZERO = "attacks return their input, another loss", "epsilon is zero"
SABOTAGE = {
    "01_standard_training": {
        "claim-sure-of-letters": IDLE,
        "claim-cross-entropy": IDLE,
        "claim-step": IDLE,
        "claim-accuracy": IDLE,
        "claim-sure-and-wrong": IDLE,
        "claim-honest": IDLE,
        "claim-noise": IDLE,
        "claim-worst-of-many": IDLE,
    },
    "02_fgsm": {
        "claim-surprise": IDLE,
        "claim-corner": ZERO,
        "claim-by-hand": IDLE,
        "claim-sweep": IDLE,
        "claim-straight-line": IDLE,
        "claim-dimension": ZERO,
        "claim-float32": IDLE,
        "claim-threshold": IDLE,
        "claim-targeted": IDLE,
        "claim-two-steps": IDLE,
    },
    "03_min_max": {
        "claim-two-lines": ZERO,
        "claim-second-mover": ZERO,
        "claim-fgsm-exact": ZERO,
        "claim-fgsm-exact-in-the-box": ZERO,
        "claim-robust-weights": ZERO,
        "claim-not-a-penalty": ZERO,
        "claim-ten-classes": ZERO,
        "claim-both-problems": ZERO,
        "claim-danskin": ZERO,
        "claim-kink": ZERO,
        "claim-constant": ZERO,
    },
    "04_adversarial_training": {
        "claim-it-buys": ZERO,
        "claim-textbook-gradients": ZERO,
        "claim-fused": ZERO,
        "claim-a-little-is-enough": ZERO,
        "claim-smaller-steps": ZERO,
        "claim-less-informed": ZERO,
    },
    "05_pgd": {
        "claim-one-step": IDLE,
        "claim-start": IDLE,
        "claim-by-hand": IDLE,
        "claim-step-size": IDLE,
        "claim-ramp": IDLE,
        "claim-restarts": IDLE,
        "claim-comparison": IDLE,
        "claim-epsilons": IDLE,
        "claim-dip": IDLE,
        "claim-gradients": IDLE,
        "claim-filters": IDLE,
    },
}
# Where a chapter sets its own epsilon, and does not take that of its data.
OWN_EPSILON = {
    "03_min_max": "epsilon, key = 0.1, ",
    "04_adversarial_training": "\nepsilon = 0.1",
    "05_pgd": "\nepsilon, key = 0.3, ",
}
MODEL = robustlib.SmallCNN()


def code_cells(path):
    cells = json.loads(path.read_text())["cells"]
    return {c["id"]: "".join(c["source"]) for c in cells if c["cell_type"] == "code"}


def sabotage(kind, path, monkeypatch):
    """Make training idle, and attacks idle or epsilon zero; return the chapter's cells."""

    def fit(state, split, objective, key, *, epochs, batch_size=128, progress=True):
        losses = np.full(epochs * (len(split) // batch_size), 2.3, np.float32)
        passes = len(losses) * batch_size * int(objective.passes)
        return robustlib.FitResult(state, losses, 1.0, passes)

    def fit_or_load(recipe, *, progress=True):
        train = robustlib.load_dataset().train
        state = robustlib.create_state(MODEL, jax.random.key(recipe.seed), train.images)
        how = {"epochs": recipe.epochs, "batch_size": recipe.batch_size}
        return fit(state, train, recipe.objective, None, **how)

    monkeypatch.setenv("ROBUSTLIB_DATASET", "mnist_small")
    monkeypatch.setattr(robustlib, "fit", fit)
    monkeypatch.setattr(robustlib, "fit_or_load", fit_or_load)
    for name in ("standard_train_step", "adversarial_train_step", "pgd_train_step"):
        monkeypatch.setattr(robustlib, name, lambda state, *args, **how: state)
    cells = code_cells(path)
    if kind == IDLE:

        def idle(logits_fn, images, labels, threat, key=None, **how):
            return jnp.asarray(images)

        for name in ("fgsm", "pgd", "noise"):
            monkeypatch.setattr(robustlib, name, idle)
        monkeypatch.setattr(robustlib.evaluation, "STANDARD_ATTACKS", {"FGSM": idle, "PGD": idle})
        monkeypatch.setattr(robustlib, "fgsm_attack", lambda state, batch, epsilon: batch["image"])
        monkeypatch.setattr(robustlib, "cross_entropy", lambda z, y: 2 * robustlib.margin(z, y))
    if kind == ZERO:
        data, Linf = robustlib.load_dataset(), robustlib.Linf
        without = dataclasses.replace(data, epsilon=0.0)
        monkeypatch.setattr(robustlib, "load_dataset", lambda name=None: without)
        monkeypatch.setattr(robustlib, "Linf", lambda epsilon: Linf(0.0 * epsilon))
        if own := OWN_EPSILON.get(path.stem):
            (name,) = [name for name, source in cells.items() if own in source]
            cells[name] = cells[name].replace(own, own.replace("0.1", "0.0").replace("0.3", "0.0"))
    return cells


def execute(cells, claims):
    """Run cells in one namespace, on after failures: {cell id: the exception, or None}.

    Exercises are left out, and so are claims other than these.
    """
    namespace, outcomes = {}, {}
    for name, source in cells.items():
        if name.startswith("exercise") or (name.startswith("claim-") and name not in claims):
            continue
        try:
            exec(compile(source, name, "exec"), namespace)
            outcomes[name] = None
        except Exception as error:
            outcomes[name] = error
        matplotlib.pyplot.close("all")
    return outcomes


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_each_claim_fails_under_its_sabotage(path, monkeypatch):
    expected = SABOTAGE[path.stem]
    assert set(expected) == {name for name in code_cells(path) if name.startswith("claim-")}
    for kind in sorted(set(expected.values())):
        claims = [name for name in expected if expected[name] == kind]
        # As in a notebook: a warning is no error, and arrays of other ranks may meet.
        with (
            monkeypatch.context() as patched,
            warnings.catch_warnings(),
            jax.numpy_rank_promotion("allow"),
        ):
            warnings.simplefilter("ignore")
            outcomes = execute(sabotage(kind, path, patched), claims)
        for name in claims:
            assert type(outcomes[name]) is AssertionError, (name, outcomes[name])
