"""Auto-PGD: the paper's algorithm, optimal where the optimum is known, sound everywhere."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import robustlib
from robustlib import L2, Linf, apgd, apgd_targeted, auto_pgd
from tests import oracles, properties
from tests.properties import first, forward, wrong


@pytest.mark.parametrize("threat", [("l-inf", 0.1), ("l-2", 1.5)])
def test_it_is_the_papers_algorithm(cnn, threat):
    properties.apgd_is_a_plain_loop(robustlib, cnn, threat)


def test_it_reaches_the_optimum_of_a_linear_model():
    properties.apgd_reaches_the_optimum_of_a_linear_model(robustlib)


def test_it_halves_a_step_that_found_nothing():
    properties.apgd_halves_a_step_that_found_nothing(robustlib)


def test_more_runs_never_lose_an_example(cnn):
    properties.more_runs_never_lose_an_example(robustlib, cnn)


def test_the_checkpoints_are_the_papers():
    lengths = auto_pgd.checkpoints(100)
    assert np.flatnonzero(lengths > 0).tolist() == [22, 41, 57, 70, 80, 87, 93, 99]
    assert lengths[lengths > 0].tolist() == [22, 19, 16, 13, 10, 7, 6, 6]
    for steps in (1, 2, 7, 10, 1000):
        lengths = auto_pgd.checkpoints(steps)
        assert (lengths[steps + 1 :] == -1).all() and len(lengths) > steps + 1
        assert 0 < lengths[: steps + 1].sum() <= steps
    assert (auto_pgd._MOMENTUM, auto_pgd._RISES) == (0.75, 0.75)


def test_of_ten_linear_classes_it_finds_the_worst():
    """With a target's lead as loss: the maximum, over targets, of what ball and box allow."""
    rng, n = np.random.default_rng(0), 12
    images = np.float32(rng.random((n, 5, 4, 1)))
    weights, labels = np.float32(rng.normal(size=(10, 20))), np.zeros(n, np.int32)
    f = robustlib.logits_fn(_linear, weights)
    rows = np.float64(images).reshape(n, -1)
    for threat in (Linf(0.1), L2(0.4)):
        best = []
        for k in range(1, 10):
            slope = np.broadcast_to(np.float64(weights[k] - weights[0]), rows.shape)
            gain = oracles.steepest_value(rows, slope, float(threat.epsilon), threat.name)
            best.append((rows * slope).sum(axis=1) - 100 + gain)
        found = apgd_targeted(f, images, labels, threat, jax.random.key(0), loss=_lead)
        reached = np.asarray(robustlib.margin(forward(f, found), labels))
        assert np.abs(reached - np.max(best, axis=0)).max() < 1e-2


def _linear(weights, images):
    """Ten linear classes, the first of them so far ahead that nobody is fooled."""
    return images.reshape(len(images), -1) @ weights.T + 100 * jax.nn.one_hot(0, 10)[None]


def _lead(logits, labels, targets):
    at = jnp.arange(len(labels))
    return logits[at, targets] - logits[at, labels]


@pytest.mark.parametrize("attack", [apgd, apgd_targeted])
def test_an_example_is_on_its_own(cnn, attack):
    """Alone, in company, in another order: the same verdict, but for rounding."""
    f, (images, labels) = robustlib.logits_fn(cnn.state), first(cnn, 200)
    keys = jax.vmap(lambda i: jax.random.fold_in(jax.random.key(0), i))(np.arange(200))
    threat = Linf(0.05)

    def verdicts(rows):
        found = attack(f, images[rows], labels[rows], threat, keys[rows], steps=10)
        return wrong(f, found, labels[rows])

    together = verdicts(np.arange(200))
    assert 0.1 < together.mean() < 0.9
    assert (verdicts(np.arange(200)[::-1])[::-1] != together).mean() <= 0.01
    assert (verdicts(np.arange(0, 200, 4)) != together[::4]).mean() <= 0.02
    assert (verdicts(np.arange(1)) == together[:1]).all()


def test_scale_does_not_matter_to_dlr(cnn):
    f, (images, labels) = robustlib.logits_fn(cnn.state), first(cnn, 100)
    where = (images, labels, Linf(0.05), jax.random.key(0))
    fooled = []
    for scale in (1.0, 1e-6, 1e6):
        scaled = robustlib.logits_fn(_scaled, (f, scale))
        fooled.append(wrong(f, apgd(scaled, *where, steps=10, loss=robustlib.dlr), labels).mean())
    assert 0.1 < fooled[0] < 0.95 and np.ptp(fooled) <= 0.02


def _scaled(how, images):
    f, scale = how
    return scale * f(images)


def test_gradients_of_1e_12_still_give_the_full_step():
    images = np.full((3, 4, 4, 1), 0.5, np.float32)
    f = robustlib.logits_fn(_faint)
    for threat in (Linf(0.1), L2(0.4)):
        found = apgd(f, images, np.zeros(3, np.int32), threat, jax.random.key(0), loss=_faintly)
        np.testing.assert_allclose(found, 0.6, atol=1e-3)


def _faint(images):
    sums = images.sum(axis=(1, 2, 3))
    return jnp.stack([100 + 0 * sums, sums], axis=1)


def _faintly(logits, labels):
    return 1e-12 * logits[:, 1]


@pytest.mark.parametrize("threat", [Linf(0.1), L2(1.0)])
def test_dead_gradients_give_no_nan(threat):
    images = np.full((1, 4, 4, 1), 0.5, np.float32)
    f = robustlib.logits_fn(_dead)
    found = apgd(f, images, np.zeros(1, np.int32), threat, jax.random.key(0), steps=5)
    assert np.isfinite(found).all() and threat.contains(images, found).all()


def _dead(images):
    return jnp.zeros((len(images), 3)) + jnp.asarray([[1.0, 0.0, 0.0]])


def test_a_model_that_returns_nan_has_no_answer_there():
    images = np.full((4, 4, 4, 1), 0.5, np.float32)
    f = robustlib.logits_fn(_nan_above)
    found = np.asarray(apgd(f, images, np.zeros(4, np.int32), Linf(0.2), jax.random.key(0)))
    assert np.isnan(np.asarray(forward(f, found))).any(axis=1).all()
    assert Linf(0.2).contains(images, found).all()


def _nan_above(images):
    mean = images.mean(axis=(1, 2, 3))
    return jnp.stack([jnp.where(mean > 0.55, jnp.nan, 1.0 - mean), jnp.zeros_like(mean)], axis=1)


def test_it_compiles_once(cnn, compilations):
    f, (images, labels) = robustlib.logits_fn(cnn.state), first(cnn, 64)
    later = cnn.state.replace(params=jax.tree.map(lambda w: w * 0.9, cnn.state.params))
    apgd(f, images, labels, Linf(0.1), jax.random.key(0), steps=5, restarts=2)
    before = compilations()
    other = robustlib.logits_fn(later)
    apgd(other, images[::-1], labels[::-1], Linf(0.2), jax.random.key(1), steps=5, restarts=3)
    assert compilations() == before


def test_losses_that_need_more_classes_say_so():
    images = np.full((1, 4, 4, 1), 0.5, np.float32)
    where = (images, np.zeros(1, np.int32), Linf(0.1), jax.random.key(0))
    with pytest.raises(ValueError, match="dlr needs at least 3 classes, but the model has 2: use"):
        apgd(robustlib.logits_fn(_faint), *where, loss=robustlib.dlr)
    with pytest.raises(ValueError, match="targeted_dlr needs at least 4 classes, .* has 3: use"):
        apgd_targeted(robustlib.logits_fn(_dead), *where)


@pytest.mark.parametrize("bad", [{"steps": 0}, {"restarts": 0}, {"steps": 2.5}])
def test_bad_numbers_are_refused(cnn, bad):
    f, (images, labels) = robustlib.logits_fn(cnn.state), first(cnn, 2)
    with pytest.raises((ValueError, TypeError), match=next(iter(bad))):
        apgd(f, images, labels, Linf(0.1), jax.random.key(0), **bad)
