"""Auto-PGD: the paper's algorithm, optimal where the optimum is known, sound everywhere."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import robustlib
from robustlib import L2, Linf, apgd, apgd_targeted, auto_pgd, fgsm, pgd
from tests import properties
from tests.properties import first, forward, wrong


def test_it_is_the_papers_algorithm(cnn):
    properties.apgd_is_a_plain_loop(robustlib, cnn)


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


def test_with_a_target_it_breaks_a_network(cnn):
    properties.apgd_targeted_breaks_a_network(robustlib, cnn)


def test_of_ten_linear_classes_it_finds_the_worst():
    properties.apgd_targeted_finds_the_worst_of_ten_classes(robustlib)


def test_more_targets_never_lose_an_example(cnn):
    properties.more_targets_never_lose_an_example(robustlib, cnn)


@pytest.mark.parametrize(
    ("attack", "threat"),
    [
        (apgd, Linf(0.05)),
        (apgd, L2(0.7)),
        (partial(apgd_targeted, targets=2), Linf(0.05)),
        (partial(apgd_targeted, targets=2), L2(0.7)),
    ],
)
def test_an_example_is_on_its_own(cnn, attack, threat):
    """Alone, in company, in another order: the same start, and for 999 of 1,000 the same end."""
    f, (images, labels), n = robustlib.logits_fn(cnn.state), first(cnn, 1000), 1000
    keys = jax.vmap(lambda i: jax.random.fold_in(jax.random.key(0), i))(np.arange(n))

    def verdicts(rows):
        found = attack(f, images[rows], labels[rows], threat, keys[rows], steps=10)
        return wrong(f, found, labels[rows])

    def starts(rows):
        return np.asarray(auto_pgd.start(images[rows], threat, keys[rows]).points)

    everyone, some = np.arange(n), np.arange(0, n, 7)
    np.testing.assert_array_equal(starts(everyone)[some], starts(some))
    together = verdicts(everyone)
    assert 0.1 < together.mean() < 0.9
    assert (verdicts(everyone[::-1])[::-1] != together).mean() <= 0.001
    parts = np.concatenate([verdicts(rows) for rows in np.split(everyone, 10)])
    assert (parts != together).mean() <= 0.001
    assert (verdicts(np.arange(1)) == together[:1]).all()


@pytest.mark.parametrize("threat", [Linf(0.05), L2(0.7)])
@pytest.mark.parametrize(
    "attack", [partial(apgd, loss=robustlib.dlr), partial(apgd_targeted, targets=2)]
)
def test_scale_does_not_matter_to_dlr(cnn, attack, threat):
    f, (images, labels) = robustlib.logits_fn(cnn.state), first(cnn, 100)
    where = (images, labels, threat, jax.random.key(0))
    fooled = []
    for scale in (1.0, 1e-12, 1e-6, 1e6):
        scaled = robustlib.logits_fn(_scaled, (f, scale))
        fooled.append(wrong(f, attack(scaled, *where, steps=10), labels).mean())
    assert 0.1 < fooled[0] < 0.95 and np.ptp(fooled) <= 0.02


def _scaled(how, images):
    f, scale = how
    return scale * f(images)


@pytest.mark.parametrize("attack", [apgd, robustlib.pgd])
@pytest.mark.parametrize("threat", [Linf(0.05), L2(0.7)])
def test_a_network_with_gradients_of_1e_12_falls_as_it_does_otherwise(cnn, attack, threat):
    f, (images, labels) = robustlib.logits_fn(cnn.state), first(cnn, 200)
    faint = robustlib.logits_fn(_scaled, (f, 1e-12))
    where = (images, labels, threat, jax.random.key(0))
    found = [
        wrong(f, attack(model, *where, steps=10, loss=robustlib.margin), labels)
        for model in (f, faint)
    ]
    assert 0.1 < found[0].mean() < 0.95 and (found[0] != found[1]).mean() <= 0.01


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


@pytest.mark.parametrize(("attack", "classes"), [(apgd, 3), (apgd_targeted, 4)])
@pytest.mark.parametrize("threat", [Linf(0.1), L2(1.0)])
def test_dead_gradients_give_no_nan(attack, classes, threat):
    images = np.full((1, 4, 4, 1), 0.5, np.float32)
    f = robustlib.logits_fn(_dead, jnp.eye(classes)[:1])
    found = attack(f, images, np.zeros(1, np.int32), threat, jax.random.key(0), steps=5)
    assert np.isfinite(found).all() and threat.contains(images, found).all()


def _dead(logits, images):
    return jnp.broadcast_to(logits, (len(images), logits.shape[1]))


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


def test_the_start_is_the_first_checkpoint(cnn):
    """Section 3.2 of the paper, p_0 = 0: the second condition can halve the step at p_1."""
    f, (images, labels), threat = robustlib.logits_fn(cnn.state), first(cnn, 20), Linf(0.01)
    keys = jax.random.split(jax.random.key(0), 20)
    begun = auto_pgd.start(images, threat, keys)
    lengths, how = auto_pgd.checkpoints(50), {"loss": robustlib.cross_entropy, "targeted": False}
    where = (f, jnp.asarray(images), jnp.asarray(labels), jnp.asarray(labels), threat)
    at_start = robustlib.cross_entropy(forward(f, begun.points), labels)
    for passes in (1, 5):
        state = auto_pgd.advance(*where, begun, lengths, passes, **how)
        held = ~np.asarray(state.fooled)
        assert held.sum() > 10
        np.testing.assert_allclose(state.checked_loss[held], at_start[held], atol=1e-4)


@pytest.mark.parametrize("attack", [fgsm, pgd, apgd])
def test_a_loss_over_the_whole_batch_is_refused(attack):
    def averaged(logits, labels):
        return robustlib.cross_entropy(logits, labels).mean()

    images = np.full((2, 4, 4, 1), 0.5, np.float32)
    where = (images, np.zeros(2, np.int32), Linf(0.1), jax.random.key(0))
    with pytest.raises(ValueError, match=r"loss must return one number an image, \(2,\), but ret"):
        attack(
            robustlib.logits_fn(_dead, jnp.eye(4)[:1]),
            *where[: 3 + (attack is not fgsm)],
            loss=averaged,
        )


def test_losses_that_need_more_classes_say_so():
    images = np.full((1, 4, 4, 1), 0.5, np.float32)
    where = (images, np.zeros(1, np.int32), Linf(0.1), jax.random.key(0))
    with pytest.raises(ValueError, match="dlr needs at least 3 classes, but the model has 2: use"):
        apgd(robustlib.logits_fn(_faint), *where, loss=robustlib.dlr)
    with pytest.raises(ValueError, match="targeted_dlr needs at least 4 classes, .* has 3: use"):
        apgd_targeted(robustlib.logits_fn(_dead, jnp.eye(3)[:1]), *where)
