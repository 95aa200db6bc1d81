"""Attacks beside closed forms and plain loops; what must not matter; what must not compile."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import robustlib
from robustlib import L2, Linf, attacks, fgsm, margin, noise, pgd
from tests import oracles, properties
from tests.properties import first, wrong

THREATS = pytest.mark.parametrize("threat", [Linf(0.1), L2(1.5)], ids=lambda t: t.name)


def points_of(a):
    return np.asarray(a)


# ---- properties, on the trained network ---------------------------------------------------------


def test_fgsm_is_its_formula(cnn):
    properties.fgsm_is_its_formula(robustlib, cnn)


def test_pgd_stays_in_ball_and_box(cnn):
    properties.pgd_stays_in_ball_and_box(robustlib, cnn)


def test_pgd_is_a_plain_loop_whose_loss_is_at_odds_with_success(cnn):
    properties.pgd_is_a_plain_loop(robustlib, cnn)


def test_pgd_is_a_plain_loop_on_cross_entropy(cnn):
    properties.pgd_is_a_plain_loop(robustlib, cnn, robustlib.cross_entropy, ("l-inf", 0.08))


def test_pgd_in_l2_is_a_plain_loop(cnn):
    properties.pgd_is_a_plain_loop(robustlib, cnn, robustlib.cross_entropy, ("l-2", 1.0))


def test_restarts_never_lose_an_example(cnn):
    properties.restarts_never_lose_an_example(robustlib, cnn)


def test_a_targeted_attack_reaches_its_class(cnn):
    properties.a_targeted_attack_reaches_its_class(robustlib, cnn)


def test_signs_survive_confidence_and_company(cnn):
    properties.signs_survive_confidence_and_company(robustlib, cnn)


# ---- a linear model of two classes, where the strongest attack is known -------------------------


def linear(weights, images):
    """Logits (0, w . x): the loss for label 0 rises, for label 1 falls, along w."""
    score = images.reshape(len(images), -1) @ weights
    return jnp.stack([jnp.zeros_like(score), score], axis=1)


@pytest.mark.parametrize("pixels", ["in the middle", "at the edge"])
@THREATS
def test_the_closed_form_of_a_linear_model(threat, pixels):
    """The largest margin is `-+ w . x + max <w, delta>`, the last as the slow oracle finds it."""
    rng = np.random.default_rng(0)
    weights = rng.normal(size=36).astype(np.float32)
    images = rng.uniform(0.4, 0.6, (20, 6, 6, 1)).astype(np.float32)
    if pixels == "at the edge":
        images = np.clip(rng.uniform(-1, 2, images.shape), 0, 1).astype(np.float32)
    labels = (np.arange(20) % 2).astype(np.int32)
    f = robustlib.logits_fn(linear, weights)
    rows, uphill = images.reshape(20, 36).astype(np.float64), np.where(labels, -1, 1)[:, None]
    gain = oracles.steepest_value(rows, uphill * weights, float(threat.epsilon), threat.name)
    strongest = (uphill * (rows @ weights)[:, None])[:, 0] + gain
    found = fgsm(f, images, labels, threat)
    np.testing.assert_allclose(margin(f(found), labels), strongest, rtol=1e-3, atol=1e-4)
    # A step of PGD is the best from where it stands, so in l-2 it slides along the ball to the end.
    found = pgd(f, images, labels, threat, jax.random.key(0), steps=40)
    reached = (np.asarray(margin(f(found), labels)) - (strongest - gain)) / gain
    assert reached.min() > (0.9999 if threat.name == "l-inf" else 0.95), reached
    assert reached.max() < 1.0001
    towards = fgsm(f, images, labels, threat, targeted=True)
    assert (np.asarray(margin(f(towards), labels)) < margin(f(images), labels)).all()


# ---- what must not matter -----------------------------------------------------------------------


def test_jit_or_not(cnn):
    f, (images, labels) = robustlib.logits_fn(cnn.state), first(cnn, 200)
    keys = jax.random.split(jax.random.key(2), 200)
    attacked = partial(pgd, f, images, labels, Linf(0.1), keys, steps=3)
    jitted = points_of(fgsm(f, images, labels, Linf(0.1))), points_of(attacked())
    with jax.disable_jit():
        plain = points_of(fgsm(f, images, labels, Linf(0.1))), points_of(attacked())
    for ours, others in zip(jitted, plain, strict=True):
        assert (np.abs(ours - others) > 1e-6).mean() < 1e-4
        assert (wrong(f, ours, labels) != wrong(f, others, labels)).mean() <= 0.001
    attack = jax.jit(lambda keys: pgd(f, images, labels, Linf(0.1), keys, steps=5))
    within, direct = attack(keys), pgd(f, images, labels, Linf(0.1), keys, steps=5)
    assert (wrong(f, within, labels) != wrong(f, direct, labels)).mean() <= 0.001


def test_company_does_not_matter(cnn):
    """Batches of 1 and of 200, and other neighbours: the same starts, the same verdicts."""
    images, labels = first(cnn, 200)
    f = robustlib.logits_fn(cnn.state)
    keys = jax.random.split(jax.random.key(2), 200)
    attack = partial(pgd, steps=5, restarts=2)
    whole = points_of(attack(f, images, labels, Linf(0.1), keys))
    verdicts = wrong(f, whole, labels)
    assert 0.2 < verdicts.mean() < 0.8
    turned = points_of(attack(f, images[::-1], labels[::-1], Linf(0.1), keys[::-1]))[::-1]
    alone = np.concatenate(
        [
            attack(f, images[i : i + 1], labels[i : i + 1], Linf(0.1), keys[i : i + 1])
            for i in range(200)
        ]
    )
    for points in (turned, alone):
        assert (wrong(f, points, labels) != verdicts).mean() <= 0.001
    still = partial(pgd, steps=1, step_size=1e-9, loss=_no_slope)
    starts = points_of(still(f, images, labels, Linf(0.1), keys))
    for i in (0, 17, 199):
        start = still(f, images[i : i + 1], labels[i : i + 1], Linf(0.1), keys[i : i + 1])
        np.testing.assert_array_equal(start[0], starts[i])


def _no_slope(logits, labels):
    return 0 * logits[:, 0]


def test_one_key_is_split_for_every_example(cnn):
    images, labels = first(cnn, 200)
    f, key = robustlib.logits_fn(cnn.state), jax.random.key(3)
    keys = jnp.stack([jax.random.fold_in(key, i) for i in range(200)])
    for attack in (noise, partial(pgd, steps=2)):
        one, many, other = (
            points_of(attack(f, images, labels, Linf(0.1), k))
            for k in (key, keys, jax.random.key(4))
        )
        np.testing.assert_array_equal(one, many)
        assert (one != other).any(axis=(1, 2, 3)).all()


def test_a_model_without_slope_is_attacked_from_random_points(cnn):
    """Gradients of zero: what is left of PGD is its random start, inside, and no NaN."""
    images, labels = first(cnn, 20)
    f = robustlib.logits_fn(
        lambda images: jnp.eye(10)[jnp.zeros(len(images), int)] + 0 * images[:, 0, 0]
    )
    labels = np.zeros_like(labels)
    for threat in (Linf(0.1), L2(1.5)):
        np.testing.assert_array_equal(fgsm(f, images, labels, threat), images)
    found = points_of(pgd(f, images, labels, Linf(0.1), jax.random.key(0), steps=2))
    assert Linf(0.1).contains(images, found).all()
    assert (found != images).any(axis=(1, 2, 3)).all()


@THREATS
def test_noise_takes_the_whole_budget(cnn, threat):
    images, labels = first(cnn, 20)
    images = np.clip(images, 0.2, 0.8)
    f = robustlib.logits_fn(cnn.state)
    found = noise(f, images, labels, threat, jax.random.key(0))
    assert threat.contains(images, found).all()
    delta = (points_of(found) - images).reshape(20, -1).astype(np.float64)
    order = np.inf if threat.name == "l-inf" else 2
    np.testing.assert_allclose(np.linalg.norm(delta, order, axis=1), threat.epsilon, rtol=1e-4)
    if threat.name == "l-inf":
        np.testing.assert_allclose(np.abs(delta), 0.1, rtol=1e-4)
        assert 0.45 < (delta > 0).mean() < 0.55  # 15,680 coins: 12 standard deviations
    # The model is not asked: noise does far less than the attack of the same size.
    attacked = fgsm(f, images, labels, threat)
    assert wrong(f, found, labels).sum() <= wrong(f, attacked, labels).sum()


def test_pgd_beats_fgsm_and_fgsm_beats_noise(cnn):
    images, labels = first(cnn, 200)
    f, key = robustlib.logits_fn(cnn.state), jax.random.key(0)
    broken = [
        wrong(f, attack(f, images, labels, Linf(0.1), key), labels).sum()
        for attack in (noise, fgsm, partial(pgd, steps=5, restarts=2))
    ]
    assert broken[0] < broken[1] < broken[2]


def test_the_default_step_size_crosses_the_ball_two_and_a_half_times(cnn):
    images, labels = first(cnn, 200)
    f, key = robustlib.logits_fn(cnn.state), jax.random.key(0)
    named, default = (
        points_of(pgd(f, images, labels, Linf(0.1), key, steps=5, restarts=2, **size))
        for size in ({"step_size": 2.5 * 0.1 / 5}, {})
    )
    np.testing.assert_array_equal(named, default)


# ---- compilation --------------------------------------------------------------------------------


@THREATS
def test_nothing_is_compiled_twice(cnn, compilations, threat):
    state, (images, labels) = cnn.state, first(cnn, 200)
    later = state.replace(params=jax.tree.map(lambda w: w * 0.9, state.params))
    others = (np.ascontiguousarray(images[::-1]), labels[::-1])
    epsilon, key = float(threat.epsilon), jax.random.key(0)

    def attack(state, batch, epsilon, *, steps=5, restarts=2, **how):
        f, ball = robustlib.logits_fn(state), type(threat)(epsilon)
        fgsm(f, *batch, ball)
        if threat.name == "l-inf":
            robustlib.fgsm_attack(state, {"image": batch[0], "label": batch[1]}, epsilon)
        pgd(f, *batch, ball, key, steps=steps, restarts=restarts, **how)

    attack(state, (images, labels), epsilon)
    sizes, before = (attacks._pgd._cache_size(), attacks._fgsm._cache_size()), compilations()
    attack(state, others, epsilon)
    attack(later, (images, labels), epsilon)
    attack(state, (images, labels), 2 * epsilon)
    attack(state, (images, labels), epsilon, steps=6)
    attack(state, (images, labels), epsilon, restarts=3)
    attack(state, (images, labels), epsilon, step_size=0.01)
    assert compilations() == before
    on_device = jnp.asarray(images), jnp.asarray(labels)
    attack(state, on_device, jnp.float32(epsilon))
    assert compilations() - before <= 2  # of an epsilon on the device: 2.5 * epsilon, / steps
    assert (attacks._pgd._cache_size(), attacks._fgsm._cache_size()) == sizes


def test_a_sweep_under_jit_compiles_once(cnn):
    images, labels = first(cnn, 200)
    sweep = jax.jit(lambda f, epsilon: fgsm(f, images, labels, Linf(epsilon)))
    f = robustlib.logits_fn(cnn.state)
    found = [points_of(sweep(f, epsilon)) for epsilon in (0.1, 0.2)]
    assert sweep._cache_size() == 1
    for points, epsilon in zip(found, (0.1, 0.2), strict=True):
        expected = points_of(fgsm(f, images, labels, Linf(epsilon)))
        assert (np.abs(points - expected) > 1e-6).mean() < 1e-4


@pytest.mark.parametrize("attack", [fgsm, pgd, robustlib.apgd, robustlib.square])
@THREATS
def test_images_in_float32_stay_so_beside_logits_in_float64(attack, threat):
    with jax.enable_x64(True):
        images = jnp.full((3, 6, 6, 1), 0.5, jnp.float32)

        def f(images):
            return images.reshape(3, -1)[:, :2].astype(jnp.float64) * 1e-12

        found = attack(
            f, images, np.array([0, 0, 1]), threat, *[jax.random.key(0)] * (attack is not fgsm)
        )
        assert found.dtype == jnp.float32 and (found != images).any()
