"""Robustlib broken on purpose: for each way to be wrong, a named property must notice.

A mutation replaces one piece of a module's source, which must occur exactly once, so that a change
of the source cannot leave a mutation without effect. Many are faults found in public code.
"""

import importlib
import re
import shutil
import sys
from inspect import signature
from pathlib import Path

import pytest

import robustlib
from tests import properties

PACKAGE = Path(robustlib.__file__).parent
LINF_PROJECT = """upper = jnp.minimum(images + self.epsilon, 1)
        return jnp.clip(points, lower, upper)"""

MUTATIONS = {
    "wrong sign": (
        "attacks",
        "return losses.sum(), (logits, losses)",
        "return -losses.sum(), (logits, losses)",
        "fgsm_is_its_formula",
    ),
    "gradient of the mean": (
        "attacks",
        "return losses.sum(), (logits, losses)",
        "return losses.mean(), (logits, losses)",
        "signs_survive_confidence_and_company",
    ),
    "targeted goes the other way": (
        "attacks",
        " if targeted else loss(logits, labels)\n    if losses.shape",
        " if False else loss(logits, labels)\n    if losses.shape",
        "a_targeted_attack_reaches_its_class",
    ),
    "no projection": (
        "attacks",
        "return threat.project(images, ahead), best",
        "return ahead, best",
        "pgd_stays_in_ball_and_box",
    ),
    "ball around the previous iterate": (
        "attacks",
        "return threat.project(images, ahead), best",
        "return threat.project(points, ahead), best",
        "pgd_stays_in_ball_and_box",
    ),
    "no pixel clip in the projection": (
        "threat",
        LINF_PROJECT,
        "return jnp.clip(points, images - self.epsilon, images + self.epsilon)",
        "projection_is_nearest",
    ),
    "no pixel clip in the step": (
        "threat",
        "return jnp.clip(points + step_size * jnp.sign(gradients), 0, 1)",
        "return points + step_size * jnp.sign(gradients)",
        "fgsm_is_its_formula",
    ),
    "one norm for the whole batch": (
        "threat",
        "jnp.sqrt(jnp.sum(rows**2, axis=1, keepdims=True))",
        "jnp.sqrt(jnp.sum(rows**2, keepdims=True))",
        "projection_is_nearest",
    ),
    "l-2 step scaled, then clipped": (
        "threat",
        "step = step_at(_largest_feasible(step_at, _norm, low, high, step_size))",
        "step = step_at(low)",
        "steepest_step_is_optimal",
    ),
    "l-2 step without epsilon": (
        "threat",
        "low = jnp.log(jnp.maximum(step_size /",
        "step_size = 1.0\n        low = jnp.log(jnp.maximum(step_size /",
        "steepest_step_is_optimal",
    ),
    "l-1 step begins with the smallest gradient": (
        "threat",
        "order = jnp.argsort(-jnp.abs(gradients), axis=1)",
        "order = jnp.argsort(jnp.abs(gradients), axis=1)",
        "steepest_step_is_optimal",
    ),
    "l-1 projection without the box": (
        "threat",
        "return jnp.clip(soft, -centres, 1 - centres)",
        "return soft",
        "projection_is_nearest",
    ),
    "random start dropped": (
        "attacks",
        "start = threat.sample(images, jax.vmap(jax.random.fold_in, (0, None))(keys, restart))",
        "start = images",
        "pgd_is_a_plain_loop",
    ),
    "every restart from one start": (
        "attacks",
        "jax.vmap(jax.random.fold_in, (0, None))(keys, restart)",
        "jax.vmap(jax.random.fold_in, (0, None))(keys, 0)",
        "pgd_is_a_plain_loop",
    ),
    "best restart chosen per batch": (
        "attacks",
        "wins = ~best.success & (new.success | (new.losses > best.losses))",
        "wins = jnp.full(len(images), new.losses.sum() > best.losses.sum())",
        "restarts_never_lose_an_example",
    ),
    "best restart chosen per batch, by successes": (
        "attacks",
        "wins = ~best.success & (new.success | (new.losses > best.losses))",
        "wins = jnp.full(len(images), new.success.sum() > best.success.sum())",
        "restarts_never_lose_an_example",
    ),
    "loss in place of success": (
        "attacks",
        "wins = ~best.success & (new.success | (new.losses > best.losses))",
        "wins = new.losses > best.losses",
        "restarts_never_lose_an_example",
    ),
    "loss in place of success within a restart": (
        "attacks",
        "jnp.where(new.success == best.success, new.losses > best.losses, new.success)",
        "new.losses > best.losses",
        "pgd_is_a_plain_loop",
    ),
    "last restart only": (
        "attacks",
        "wins = ~best.success & (new.success | (new.losses > best.losses))",
        "wins = jnp.ones(len(images), bool)",
        "restarts_never_lose_an_example",
    ),
    "first half of the restarts left out": (
        "attacks",
        "next_restart, (0, nothing))",
        "next_restart, (restarts // 2, nothing))",
        "pgd_is_a_plain_loop",
    ),
    "last point in place of the best": (
        "attacks",
        "return _better(best, visited(last, *seen))",
        "return visited(last, *seen)",
        "pgd_is_a_plain_loop",
    ),
    "derivative through the attack": (
        "training",
        "lax.stop_gradient(adversarial)",
        "adversarial",
        "minmax_holds_its_images_constant",
    ),
    "training attack without projection": (
        "attacks",
        "return threat.project(images, threat.steepest(points, gradients, step_size))\n\n",
        "return threat.steepest(points, gradients, step_size)\n\n",
        "minmax_holds_its_images_constant",
    ),
    "weights exchanged": (
        "training",
        "lambda c, a: (1 - self.weight) * c + self.weight * a",
        "lambda c, a: self.weight * c + (1 - self.weight) * a",
        "adversarial_step_is_the_textbooks",
    ),
    "training attack goes down": (
        "training",
        "adversarial_images = self.threat.steepest(images, image_gradients, epsilon)",
        "adversarial_images = self.threat.steepest(images, -image_gradients, epsilon)",
        "adversarial_step_is_the_textbooks",
    ),
    "gradient of the mean in the fused step": (
        "training",
        'images, n = batch["image"], batch["image"].shape[0]',
        'images, n = batch["image"], 1',
        "adversarial_step_survives_confidence_and_company",
    ),
    "ramp left out": (
        "training",
        "epsilon = self.epsilon * _ramp(progress, self.ramp)",
        "epsilon = self.epsilon",
        "epsilon_is_ramped",
    ),
    "attacks averaged": (
        "evaluation",
        "robust_correct=int(outcome.standing.sum())",
        "robust_correct=round(float(np.mean([r.correct for r in outcome.results])))",
        "the_report_counts_so_too",
    ),
    "last attack only": (
        "evaluation",
        "correct &= ~broken",
        "correct = ~broken",
        "an_example_counts_only_if_nothing_breaks_it",
    ),
    "images outside the ball counted": (
        "batches",
        "Verdict(inside & (classes != labels), ~inside",
        "Verdict(classes != labels, ~inside",
        "an_image_outside_the_ball_breaks_nothing",
    ),
    "starts by position in the batch": (
        "batches",
        "keys = checks.example_keys(key, len(labels))",
        "keys = checks.example_keys(key, len(labels))[np.arange(len(labels)) % 200]",
        "a_start_depends_on_the_index_alone",
    ),
    "Auto-PGD without momentum": (
        "auto_pgd",
        "_MOMENTUM = 0.75",
        "_MOMENTUM = 1.0",
        "apgd_is_a_plain_loop",
    ),
    "Auto-PGD with the wrong sign": (
        "auto_pgd",
        "step_size[:, None, None, None] * threat.direction(gradient)",
        "-step_size[:, None, None, None] * threat.direction(gradient)",
        "apgd_reaches_the_optimum_of_a_linear_model",
    ),
    "Auto-PGD goes down": (
        "auto_pgd",
        "step_size[:, None, None, None] * threat.direction(gradient)",
        "-step_size[:, None, None, None] * threat.direction(gradient)",
        "apgd_is_a_plain_loop",
    ),
    "Auto-PGD's step never halved": (
        "auto_pgd",
        "jnp.where(halved, state.step_size / 2, state.step_size)",
        "state.step_size",
        "apgd_is_a_plain_loop",
    ),
    "Auto-PGD goes on from where it is": (
        "auto_pgd",
        "choose(halved, (state.best, state.best_gradient), (state.points, gradient))",
        "(state.points, gradient)",
        "apgd_is_a_plain_loop",
    ),
    "Auto-PGD without its second condition": (
        "auto_pgd",
        "((state.rises < _RISES * length) | unmoved)",
        "(state.rises < _RISES * length)",
        "apgd_halves_a_step_that_found_nothing",
    ),
    "Auto-PGD without projection": (
        "auto_pgd",
        "points=threat.project(images, moved)",
        "points=moved",
        "apgd_is_a_plain_loop",
    ),
    "Auto-PGD begins with half the step": (
        "auto_pgd",
        "step_size=none + 2 * threat.epsilon",
        "step_size=none + threat.epsilon",
        "apgd_is_a_plain_loop",
    ),
    "Auto-PGD loses what an earlier run has fooled": (
        "auto_pgd",
        "wins = ~best.fooled & (new.fooled | (new.best_loss > best.best_loss))",
        "wins = jnp.ones_like(best.fooled)",
        "more_runs_never_lose_an_example",
    ),
    "Auto-PGD begins each run at the same point": (
        "auto_pgd",
        "fold_in_each(keys, run)",
        "fold_in_each(keys, 0)",
        "more_runs_never_lose_an_example",
    ),
    "Auto-PGD aims at one class only": (
        "auto_pgd",
        "labels)[:, : int(targets)]",
        "labels)[:, :1]",
        "more_targets_never_lose_an_example",
    ),
    "Auto-PGD aims at the true class too": (
        "auto_pgd",
        "return order[:, :-1]",
        "return jnp.concatenate([labels[:, None], order[:, :-2]], axis=1)",
        "apgd_targeted_finds_the_worst_of_ten_classes",
    ),
    "Auto-PGD flees its target": (
        "auto_pgd",
        "return loss(logits, labels, aims) if targeted",
        "return loss(logits, aims, labels) if targeted",
        "apgd_targeted_finds_the_worst_of_ten_classes",
    ),
    "Auto-PGD aims at nothing but the true class": (
        "auto_pgd",
        "return order[:, :-1]",
        "return jnp.concatenate([labels[:, None], order[:, :-2]], axis=1)",
        "apgd_targeted_breaks_a_network",
    ),
    "Auto-PGD flees the target of a network": (
        "auto_pgd",
        "return loss(logits, labels, aims) if targeted",
        "return loss(logits, aims, labels) if targeted",
        "apgd_targeted_breaks_a_network",
    ),
    "Square's bumps at any length": (
        "square_attack",
        "jnp.clip(image + delta * (epsilon / jnp.maximum(length, _TINY)), 0, 1)",
        "jnp.clip(image + delta, 0, 1)",
        "square_breaks_a_network",
    ),
    "Square's bumps add to nothing": (
        "square_attack",
        "budget = jnp.sqrt(unspent + length(jnp.where(to | emptied, delta, 0)) ** 2)",
        "budget = jnp.sqrt(unspent)",
        "square_nears_the_optimum_of_a_linear_model_in_l2",
    ),
    "Square without its last row": (
        "square_attack",
        "jnp.asarray(shape[:2]) - side + 1",
        "jnp.maximum(jnp.asarray(shape[:2]) - side, 1)",
        "square_reaches_the_optimum_of_a_linear_model",
    ),
    "Square never reaches the last row": (
        "square_attack",
        "jnp.asarray(shape[:2]) - side + 1",
        "jnp.maximum(jnp.asarray(shape[:2]) - side, 1)",
        "square_reaches_every_row_and_column",
    ),
    "Square keeps what lowers the margin": (
        "square_attack",
        "(fooled | (losses > state.best_loss))",
        "(fooled | (losses < state.best_loss))",
        "square_breaks_a_network",
    ),
    "Square without projection": (
        "square_attack",
        "moved = jnp.clip(image + epsilon * signs[None, None, :], 0, 1)",
        "moved = image + epsilon * signs[None, None, :]",
        "square_breaks_a_network",
    ),
    "Square keeps every change": (
        "square_attack",
        "better = open_ & (fooled | (losses > state.best_loss))",
        "better = open_",
        "square_reaches_the_optimum_of_a_linear_model",
    ),
    "Square forgets its best image": (
        "square_attack",
        "better = open_ & (fooled | (losses > state.best_loss))",
        "better = open_",
        "square_never_loses_ground",
    ),
    "Square stops after its stripes": (
        "square_attack",
        "jnp.where(step == 0, point, changed)",
        "point",
        "square_breaks_a_network",
    ),
    "an ensemble counts what it does not check": (
        "ensemble",
        "standing[found[verdict.broken]] = False",
        "standing[found] = False",
        "an_ensemble_counts_what_it_has_checked",
    ),
    "an ensemble attacks the fallen again": (
        "search",
        "self._key, self._todo = key, np.flatnonzero(standing)",
        "self._key, self._todo = key, np.arange(len(standing))",
        "the_ensemble_counts_the_worst_case",
    ),
}


def with_mutation(folder, module, old, new):
    """Return a copy of robustlib, imported beside the real one, with one piece replaced."""
    source = (PACKAGE / f"{module}.py").read_text(encoding="utf-8")
    assert source.count(old) == 1, f"{source.count(old)} times in {module}.py: {old}"
    shutil.copytree(PACKAGE, folder / "robustlib", ignore=shutil.ignore_patterns("*.npz", "__*__"))
    shutil.copy(PACKAGE / "__init__.py", folder / "robustlib")
    (folder / "robustlib" / f"{module}.py").write_text(source.replace(old, new), encoding="utf-8")
    real = {name: sys.modules.pop(name) for name in list(sys.modules) if _is_ours(name)}
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    try:
        copy = importlib.import_module("robustlib")
    finally:
        sys.path.remove(str(folder))
        for name in [name for name in sys.modules if _is_ours(name)]:
            del sys.modules[name]
        sys.modules.update(real)
    assert Path(copy.__file__).parent == folder / "robustlib"
    return copy


def _is_ours(name):
    return name == "robustlib" or name.startswith("robustlib.")


def put_through(name, lib, model, request):
    check = getattr(properties, name)
    check(lib, request.getfixturevalue(model)) if model else check(lib)


def cases(names):
    """Return (name, model) for each property and each model that it can be put to."""
    found = []
    for name, noticed_by in names:
        parameters = signature(getattr(properties, noticed_by)).parameters
        models = ["cnn", "linear"] if "trained" in parameters else ["cnn"] * ("cnn" in parameters)
        found += [(name, model) for model in models or [None]]
    return found


@pytest.mark.parametrize(("name", "model"), cases((n, m[-1]) for n, m in MUTATIONS.items()))
def test_a_property_notices(name, model, tmp_path, request):
    module, old, new, noticed_by = MUTATIONS[name]
    broken = with_mutation(tmp_path, module, old, new)
    with pytest.raises(AssertionError):
        put_through(noticed_by, broken, model, request)


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """A copy made in the same way, with nothing replaced by another thing."""
    same = "return losses.sum(), (logits, losses)"
    return with_mutation(tmp_path_factory.mktemp("sound"), "attacks", same, same)


PROPERTIES = sorted({noticed_by for *_, noticed_by in MUTATIONS.values()})


# On the linear model where there is a choice: a copy has classes of its own, and the same networks.
SOUND = dict(cases(zip(PROPERTIES, PROPERTIES, strict=True)))


@pytest.mark.parametrize("name", SOUND)
def test_a_copy_without_mutation_has_the_property(name, sound, request):
    put_through(name, sound, SOUND[name], request)


def test_the_properties_are_those_of_the_ordinary_tests():
    called = set()
    for path in Path(__file__).parent.glob("test_*.py"):
        called |= set(re.findall(r"properties\.(\w+)\(robustlib", path.read_text(encoding="utf-8")))
    assert set(PROPERTIES) <= called
