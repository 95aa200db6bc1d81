"""Every assertion of a chapter can fail: under one sabotage or another it must.

A chapter is executed cell by cell, on after errors. An assertion that fails is noted, and its cell
goes on, so that one run shows all that fail. What an assertion joins by `and` counts one by one.
Without sabotage the same cells pass when `make test` runs the chapters.
"""

import ast
import dataclasses
import functools
import json
import re
import warnings
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib.pyplot
import numpy as np
import pytest

import robustlib
from robustlib.ensemble import ENSEMBLES

matplotlib.use("Agg")

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))
EACH = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
model = functools.cache(robustlib.SmallCNN)


# ---- sabotage: of robustlib, and of the cells where they do without it ---------------------------


@functools.cache
def at_random(channels, hidden, seed):
    """Return a network before any training."""
    network, images = model(channels=channels, hidden=hidden), robustlib.load_dataset().train.images
    return robustlib.create_state(network, jax.random.key(seed), images)


def untrained(patch):
    """Training leaves a model as it is."""

    def fit(state, split, objective, key, *, epochs, batch_size=128, progress=True):
        losses = np.full(epochs * (len(split) // batch_size), 2.3, np.float32)
        passes = len(losses) * batch_size * int(objective.passes)
        return robustlib.FitResult(state, losses, 0 * losses, 1.0, passes)

    def fit_or_load(recipe, *, progress=True):
        train = robustlib.load_dataset().train
        state = at_random(recipe.channels, recipe.hidden, recipe.seed)
        how = {"epochs": recipe.epochs, "batch_size": recipe.batch_size}
        return fit(state, train, recipe.objective, None, **how)

    patch.setattr(robustlib, "fit", fit)
    patch.setattr(robustlib, "fit_or_load", fit_or_load)
    for name in ("standard_train_step", "adversarial_train_step", "pgd_train_step"):
        patch.setattr(robustlib, name, lambda state, *args, **how: state)


def unmoved(logits_fn, images, labels, threat, key=None, **how):
    """Attack without a step."""
    return jnp.asarray(images)


ATTACKS = ("fgsm", "pgd", "noise", "apgd", "apgd_targeted", "square")


def without_attacks(patch):
    """Attacks return their input, ensembles are empty, and nothing is compared."""
    for name in ATTACKS:
        patch.setattr(robustlib, name, unmoved)
    for name in ENSEMBLES:
        patch.setitem(ENSEMBLES, name, ())
    patch.setattr(robustlib.evaluation.comparisons, "flags", lambda *args, **how: [])


def idle(patch, cells):
    """All models are untrained, attacks return their input, and the loss is another."""
    untrained(patch)
    Mixed = robustlib.Mixed

    without_attacks(patch)
    patch.setattr(robustlib, "fgsm_attack", lambda state, batch, epsilon: batch["image"])
    patch.setattr(robustlib, "Mixed", lambda epsilon, **how: Mixed(0.0, **how))
    patch.setattr(robustlib.evaluation, "STANDARD_ATTACKS", {"FGSM": unmoved, "PGD": unmoved})
    patch.setattr(robustlib, "cross_entropy", lambda z, y: 2 * robustlib.margin(z, y))


def zero(patch, cells):
    """All models are untrained, and epsilon is zero, also where a chapter sets its own."""
    untrained(patch)
    without_attacks(patch)  # what they would return, after many steps
    data = robustlib.load_dataset()
    without = dataclasses.replace(data, epsilon=0.0)
    patch.setattr(robustlib, "load_dataset", lambda name=None: without)
    for name in ("Linf", "L2", "L1"):
        ball = getattr(robustlib, name)
        patch.setattr(robustlib, name, lambda epsilon, ball=ball: ball(0.0 * epsilon))
    for name, source in cells.items():
        cells[name] = re.sub(r"(?m)^(epsilon\b.* = )0\.\d+", r"\g<1>0.0", source)


# Some assertions test what their chapter has computed by itself, and no sabotage of robustlib makes
# that wrong. So one piece of a cell's source is replaced as well: (cell, old, new).
OWN_WHEN_IDLE = {
    "01_standard_training": [
        # The network expects no errors, and the loss of the errors is that of all other images.
        ("claim-honest", "(1 - confidence).sum()", "0 * confidence.sum()"),
        ("claim-sure-and-wrong", "losses[~correct].sum()", "losses[correct].sum()"),
    ],
    "02_fgsm": [
        # The slope is twice what was measured, and the images a quarter as bright.
        ("claim-one-pixel", "/ (2 * h)", "/ h"),
        ("claim-apart", "sample.images.reshape(n, -1)", "sample.images.reshape(n, -1) / 4"),
    ],
    "03_min_max": [
        # No point is right once it is moved.
        ("claim-two-lines", "right_moved.values()", "np.zeros(2)"),
        # The closed form leaves the box, and takes the smallest lead for the largest.
        ("worst-leads", "jnp.maximum(pixels - epsilon, 0)", "pixels - epsilon"),
        ("worst-leads", "return leads.at", "return (-leads).at"),
        # The pixels are those of the label's lead over itself.
        ("claim-ten-classes", "leads.argmax(axis=1)", "sample.labels"),
        # The finite difference is divided by another distance than the one gone.
        ("claim-danskin", "/ 0.02", "/ 0.04"),
        # The attack's step no longer ends where small changes of the gradient do not move it.
        ("claim-constant", "epsilon * jnp.sign(gradients)", "epsilon * gradients"),
        ("claim-constant", " / jnp.sqrt((gradients**2).sum((1, 2, 3), keepdims=True))", ""),
    ],
    "04_adversarial_training": [
        # The fused step makes a third pass for an attack of its own, of epsilon zero.
        (
            "fused",
            "jnp.clip(images + epsilon * jnp.sign(image_gradient), 0, 1)",
            "attack(state, batch, 0.0)",
        ),
        # All that survive the full step count as images that a smaller one breaks.
        ("claim-smaller-steps", "rows[-1] & ~rows.all(axis=0)", "rows[-1]"),
    ],
    "05_pgd": [
        # The labels are what the network reads, so that an idle attack fools none.
        ("claim-by-hand", "few.labels", 'models["FGSM-mixed 0.1"](few.images).argmax(1)'),
        # The step size of the rule leaves a tenth more than the others.
        (
            "step-size",
            "step_size=0.1 * ratio)",
            "step_size=0.1 * ratio) + 0.1 * (ratio == 2.5 / k)",
        ),
        # FGSM attacks, and PGD alone is idle.
        ("attacks", "robustlib.fgsm", "robustlib.attacks.fgsm"),
        # Losses are added up, and images that are misread count as read.
        ("claim-ramp", "losses[-30:].mean()", "losses[-30:].sum()"),
        ("claim-ramp", "[robustlib.accuracy(", "[1 - robustlib.accuracy("),
    ],
    "09_bug_museum": [
        # What is read in training mode is what is not read, the layer takes what is stored, and
        # the attempts are added up.
        ("claim-exhibit-8", "kept(network, points)", "~kept(network, points)"),
        ("exhibit-8", "images.mean(axis=0), images.var(axis=0)", "stored_mean, stored_variance"),
        (
            "claim-checks-of-counts",
            "(~fooled[:n].any(axis=0)).mean()",
            "n * fooled[:n].any(axis=0).mean()",
        ),
        # Of every exhibit the flag about the baseline is kept, and no other.
        ("claim-flags", '"baseline" not in flag', '"baseline" in flag'),
    ],
    "06_evaluation": [
        # Three starts save an image that fewer of them broke.
        ("dials", "restarts=r)", "restarts=r) ^ (r == 3)"),
        # The bounds forget to grow, and PGD attacks.
        ("bounds", "abs(kernel)", "0 * kernel"),
        ("claim-bounds", "robustlib.pgd", "robustlib.attacks.pgd"),
        # The logits are bent, not stretched.
        ("claim-dlr", "loss(100 * z + 7, y)", "loss(100 * z**3 + 7, y)"),
    ],
    "08_threat_models": [
        # The closed forms are asked for another radius, and the step in l-1 is 700 long.
        ("claim-volumes", "log_volume(norm, 1, 2)", "log_volume(norm, 2, 2)"),
        ("claim-sparse", "g[:20], 20.0)).reshape", "g[:20], 700.0)).reshape"),
        # An attack without aim does the opposite, and every image can be steered anywhere.
        ("claim-targets", "points)) != labels", "points)) == labels"),
        ("claim-targets", "(hits | ~others)", "(hits | True)"),
        # Every digit is read under every perturbation.
        ("claim-universal", "read(m, points)) == test.labels", "read(m, points)) >= 0"),
        # Square's perturbations are no perturbations, and a target counts nine times.
        ("claim-promised", 'by_square["PGD"]', "np.arange(5), images[:5]"),
        ("claim-targets", "away.sum() / others.sum()", "away.sum() / 200"),
    ],
    "07_gradient_masking": [
        # Auto-PGD leaves nothing, and Square Attack everything.
        (
            "claim-flags",
            "(attack.correct / report.examples for attack in report.attacks)",
            "(0, 0, 1)",
        ),
        # FGSM follows the gradient of the network behind the rounding.
        ("claim-looks-robust", "robustlib.fgsm(rounding", "robustlib.attacks.fgsm(standard"),
        # The stand-in has other values, its attacks leave the box, and break what survives.
        ("stand-in", "lax.stop_gradient(rounded(images, levels) - images)", "0.1"),
        ("claim-broken", "threat.contains(images, points)", "threat.contains(images, points + 1)"),
        ("claim-broken", "surviving(rounding, p)", "1 - surviving(rounding, p)"),
        # What the ratio of logits breaks counts as surviving.
        ("claim-saturation", "epsilon), under", "epsilon), 1 - under"),
        # No gradient is zero, and Square alone breaks every image.
        ("claim-surfaces", "abs(slope[chosen]).sum()", "abs(slope[chosen]).sum() + 1"),
        ("claim-paired", "(by_square & ~auto).sum()", "len(many)"),
    ],
    "10_browser": [
        # The networks count twice, the way back is a pixel off, and the file holds doubles.
        ("claim-size", 'layer["kernel"].size +', '2 * layer["kernel"].size +'),
        ("convolve-back", "padded[:, 1:-1, 1:-1]", "padded[:, 2:, 2:]"),
        ("file", 'dtype="<f4"', 'dtype="<f8"'),
        # A damaged record is read.
        ("record", 'raise ValueError(f"{name}: the data are damaged.")', "pass"),
    ],
}
OWN_AT_ZERO = {
    "01_standard_training": [
        # It makes no errors, and expects some.
        ("claim-honest", "len(wrong)", "0"),
    ],
    "05_pgd": [
        # The labels are what the network does not read, and every unit counts as shut.
        (
            "claim-by-hand",
            "few.labels",
            '(models["FGSM-mixed 0.1"](few.images).argmax(1) + 1) % 10',
        ),
        ("claim-ramp", "(z > 0)", "(z > 1e9)"),
    ],
    "08_threat_models": [
        # The step in l-1 has no length, and no target is ever reached.
        ("claim-sparse", "g[:20], 20.0)).reshape", "g[:20], 0.0)).reshape"),
        ("claim-targets", "hits & others", "hits & False"),
    ],
    "07_gradient_masking": [
        # Every gradient is zero.
        ("claim-surfaces", "abs(slope[chosen]).sum()", "0 * abs(slope[chosen]).sum()"),
        # Three images count as hidden, so that there is something to climb.
        ("no-slope", "hidden = np.flatnonzero(by_square & ~auto)", "hidden = np.arange(3)"),
        ("climb-table", "np.flatnonzero(auto & by_square)", "hidden"),
        # And Square breaks all images that starts do not.
        ("claim-restarts", "len(hidden) - both", "len(many)"),
        # The network that is written out has other logits.
        ("claim-road", "logits_at(lent, x[:100])", "2 * logits_at(lent, x[:100])"),
    ],
}
SABOTAGES = ((idle, OWN_WHEN_IDLE), (zero, OWN_AT_ZERO))


# ---- running a chapter --------------------------------------------------------------------------


def code_cells(path):
    """Return {id: source} of a chapter, without its exercises."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    code = {c["id"]: "".join(c["source"]) for c in cells if c["cell_type"] == "code"}
    return {name: source for name, source in code.items() if not name.startswith("exercise")}


class Noting(ast.NodeTransformer):
    """Turns each `assert` of a cell into one that adds its name to `failed` and goes on."""

    def __init__(self, cell):
        self.cell, self.names = cell, []

    def visit_Assert(self, node):
        return [self.noted(part) for part in parts(node.test)]

    def noted(self, test):
        name = f"{self.cell}, assertion {len(self.names) + 1}: {ast.unparse(test)}"
        self.names.append(name)
        (noting,) = ast.parse(f"try: 0\nexcept AssertionError: failed.add({name!r})").body
        noting.body = [ast.Assert(test)]
        return noting


def parts(test):
    """Return what a condition with `and`, or a chain such as `a < b < c`, asserts one by one."""
    if isinstance(test, ast.BoolOp) and isinstance(test.op, ast.And):
        return [part for value in test.values for part in parts(value)]
    if isinstance(test, ast.Compare):
        sides = [test.left, *test.comparators]
        pairs = zip(sides[:-1], test.ops, sides[1:], strict=True)
        return [
            ast.Compare(left, [op], [right])
            for left, op, right in pairs
            if not (isinstance(left, ast.Constant) and isinstance(right, ast.Constant))
        ]
    return [test]


def noting(cells):
    """Return {id: syntax tree} of cells whose assertions go on, and the assertions' names."""
    trees, names = {}, []
    for cell, source in cells.items():
        transformer = Noting(cell)
        trees[cell] = ast.fix_missing_locations(transformer.visit(ast.parse(source)))
        names += transformer.names
    return trees, names


def failed_under(sabotage, own, path, standing):
    """Return the names of assertions that fail in a sabotaged run of a chapter.

    The run ends with the last cell that holds one of those still standing.
    """
    cells, failed = code_cells(path), set()
    # As in a notebook: a warning is no error, and arrays of other ranks may meet.
    with (
        pytest.MonkeyPatch.context() as patch,
        warnings.catch_warnings(),
        jax.numpy_rank_promotion("allow"),
    ):
        warnings.simplefilter("ignore")
        sabotage(patch, cells)
        for cell, old, new in own.get(path.stem, ()):
            assert cells[cell].count(old) == 1, f"{cell} holds {old!r} not once."
            cells[cell] = cells[cell].replace(old, new)
        namespace, trees = {"failed": failed}, noting(cells)[0]
        last = max(list(trees).index(name.split(",")[0]) for name in standing)
        for cell, tree in list(trees.items())[: last + 1]:
            try:
                exec(compile(tree, cell, "exec"), namespace)
            except Exception as error:  # it lacks what an earlier cell should have made, say
                print(f"{sabotage.__name__}, {cell}: {error!r}")
            matplotlib.pyplot.close("all")
    return failed


@EACH
def test_every_assertion_fails_under_some_sabotage(path, monkeypatch):
    monkeypatch.setenv("ROBUSTLIB_DATASET", "mnist_small")
    standing = set(noting(code_cells(path))[1])
    for sabotage, own in SABOTAGES:
        standing -= failed_under(sabotage, own, path, standing) if standing else set()
    jax.clear_caches()  # nine chapters' compiled code would be gigabytes
    assert not standing, sorted(standing)


@EACH
def test_claims_and_nothing_else_assert(path):
    asserting = {name.split(",")[0] for name in noting(code_cells(path))[1]}
    assert asserting == {name for name in code_cells(path) if name.startswith("claim-")}
