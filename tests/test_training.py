"""The contract functions beside the textbook's listing; what one step minimises."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import robustlib
from robustlib import L2, Linf, MinMax, Mixed, Standard, fgsm_attack, training
from tests import properties, textbook
from tests.properties import first
from tests.textbook import gradient_of, relative_difference

STEPS = {
    "standard": robustlib.standard_train_step,
    "adversarial": robustlib.adversarial_train_step,
    "pgd": lambda state, batch: robustlib.pgd_train_step(
        state, batch, jax.random.key(0), Linf(0.1), steps=2
    ),
}


def a_batch(cnn, n=128):
    images, labels = first(cnn, n)
    return {"image": images, "label": labels}


# ---- the contract -------------------------------------------------------------------------------


def test_fgsm_attack_is_the_textbooks(cnn):
    batch = a_batch(cnn)
    for epsilon in (0.1, 0.3):
        expected = jax.jit(textbook.fgsm_attack)(cnn.state, batch, epsilon)
        found = np.asarray(fgsm_attack(cnn.state, batch, epsilon))
        print(f"epsilon {epsilon}: {(found != expected).sum()} of {found.size} pixels differ")
        assert (np.abs(found - expected) > 1e-6).mean() <= 1e-4
        assert found.min() >= 0 and found.max() <= 1
    np.testing.assert_array_equal(fgsm_attack(cnn.state, batch), fgsm_attack(cnn.state, batch, 0.1))


def test_fgsm_attack_and_the_step_accept_jit(cnn):
    batch = a_batch(cnn)
    state = robustlib.create_state(robustlib.MLP(hidden=(8,)), jax.random.key(0), batch["image"])
    found = jax.jit(fgsm_attack)(state, batch, 0.1)
    assert (np.abs(np.asarray(found) - fgsm_attack(state, batch, 0.1)) > 1e-6).mean() <= 1e-4
    once = jax.jit(robustlib.adversarial_train_step)(state, batch)
    again = robustlib.adversarial_train_step(state, batch, 0.1)
    assert relative_difference(once.params, again.params) < 1e-3


def test_the_fused_step_is_the_textbooks(cnn, capsys):
    with capsys.disabled():  # so that the differences are seen
        print()
        properties.adversarial_step_is_the_textbooks(robustlib, cnn)


def test_the_fused_step_survives_confidence_and_company(cnn):
    properties.adversarial_step_survives_confidence_and_company(robustlib, cnn)


def test_the_weight_is_the_share_of_the_adversarial_loss(cnn):
    batch = a_batch(cnn)
    clean, half, adversarial = (
        gradient_of(robustlib.adversarial_train_step, cnn.state, batch, 0.1, weight=weight)
        for weight in (0.0, 0.5, 1.0)
    )
    default = gradient_of(robustlib.adversarial_train_step, cnn.state, batch)
    standard = gradient_of(robustlib.standard_train_step, cnn.state, batch)
    assert relative_difference(clean, standard) < 1e-5
    assert relative_difference(default, half) == 0
    mean = jax.tree.map(lambda a, b: (a + b) / 2, clean, adversarial)
    assert relative_difference(half, mean) < 1e-5
    assert relative_difference(adversarial, clean) > 0.1


def test_the_standard_step_is_the_textbooks(cnn):
    batch = a_batch(cnn)

    def loss_fn(params):
        logits = cnn.state.apply_fn({"params": params}, batch["image"])
        return optax.softmax_cross_entropy_with_integer_labels(logits, batch["label"]).mean()

    expected = jax.jit(jax.grad(loss_fn))(cnn.state.params)
    assert relative_difference(gradient_of(STEPS["standard"], cnn.state, batch), expected) < 1e-5


# ---- objectives ---------------------------------------------------------------------------------


def test_minmax_holds_its_images_constant(cnn):
    properties.minmax_holds_its_images_constant(robustlib, cnn)


def test_epsilon_is_ramped(cnn):
    properties.epsilon_is_ramped(robustlib, cnn)


def test_minmax_trains_on_the_images_of_its_attack(cnn):
    """The loss is that of l-inf PGD's last point, written as a loop; clean images have no part."""
    batch, key, epsilon, steps = a_batch(cnn, 200), jax.random.key(5), 0.2, 3
    images, labels = batch["image"], batch["label"]
    keys = jnp.stack([jax.random.fold_in(key, i) for i in range(200)])
    points = np.asarray(Linf(epsilon).sample(images, keys))
    f = robustlib.logits_fn(cnn.state)
    for _ in range(steps):
        gradient = properties.loss_gradient(f, points, labels, properties.cross_entropy)
        points = points + np.float32(2.5 * epsilon / steps) * np.sign(gradient)
        points = np.clip(points, np.maximum(images - epsilon, 0), np.minimum(images + epsilon, 1))
    expected = properties.cross_entropy(properties.forward(f, points), labels).mean()
    (loss, _), _ = jax.jit(MinMax(Linf(epsilon), steps).__call__)(cnn.state, batch, key, 1.0)
    np.testing.assert_allclose(loss, expected, rtol=1e-3)
    clean = properties.cross_entropy(properties.forward(f, images), labels).mean()
    assert loss > 2 * clean


@pytest.mark.parametrize(
    ("objective", "passes"),
    [(Standard(), 1), (Mixed(0.1), 2), (MinMax(Linf(0.3), 5), 6), (MinMax(L2(2.0), 3), 4)],
)
def test_gradient_passes(objective, passes):
    assert objective.passes == passes


# ---- a step -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", STEPS)
def test_a_step_compiles_once(name, cnn, compilations):
    model = robustlib.MLP(hidden=(8,))
    state = robustlib.create_state(model, jax.random.key(0), cnn.split.images)
    state = state.replace(step=0)  # as TrainState.create leaves it
    batch, other = a_batch(cnn, 32), a_batch(cnn, 64)
    other = {key: array[32:] for key, array in other.items()}
    state = STEPS[name](STEPS[name](state, batch), batch)
    sizes, before = training._step._cache_size(), compilations()
    state = STEPS[name](STEPS[name](state, other), batch)
    if name == "adversarial":
        robustlib.adversarial_train_step(state, batch, 0.2, weight=0.3)
    if name == "pgd":
        robustlib.pgd_train_step(state, batch, jax.random.key(1), Linf(0.2), steps=3)
    assert (training._step._cache_size(), compilations()) == (sizes, before)
    assert int(state.step) == 4
