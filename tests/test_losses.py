"""Losses per example, beside their formulas in float64."""

import jax
import numpy as np
import pytest

from robustlib import cross_entropy, dlr, margin, targeted_dlr
from robustlib.auto_pgd import likeliest_wrong

RNG = np.random.default_rng(0)
LOGITS = RNG.normal(scale=4, size=(50, 7)).astype(np.float32)
LABELS = RNG.integers(0, 7, 50).astype(np.int32)


def test_cross_entropy_is_its_formula():
    logits = LOGITS.astype(np.float64)
    expected = np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(50), LABELS]
    np.testing.assert_allclose(cross_entropy(LOGITS, LABELS), expected, rtol=1e-4, atol=1e-5)


def test_cross_entropy_of_a_hundred_is_finite():
    assert cross_entropy(np.float32([[0, 100]]), np.array([0])) == 100


def test_margin_is_its_formula():
    expected = [max(np.delete(z, y)) - z[y] for z, y in zip(LOGITS, LABELS, strict=True)]
    np.testing.assert_array_equal(margin(LOGITS, LABELS), np.float32(expected))


def test_margin_is_positive_where_the_prediction_is_wrong():
    wrong = LOGITS.argmax(axis=1) != LABELS
    np.testing.assert_array_equal(np.asarray(margin(LOGITS, LABELS)) > 0, wrong)
    assert 0 < wrong.sum() < 50


def test_labels_of_eight_bits_do_not_wrap_around():
    """Of 300 classes the last are those beyond 255."""
    logits, labels = RNG.normal(size=(4, 300)).astype(np.float32), np.array([0, 1, 43, 255])
    logits[:, 256:] += 5
    narrow = labels.astype(np.uint8)
    np.testing.assert_array_equal(margin(logits, narrow), margin(logits, labels))
    order = likeliest_wrong(logits, narrow)
    np.testing.assert_array_equal(order, likeliest_wrong(logits, labels))


def test_margin_does_not_saturate():
    """The gradient of cross-entropy is zero in float32 where the network is sure; this is not."""
    sure, label = np.float32([[200, 0, 0]]), np.array([0])
    assert (jax.grad(lambda z: cross_entropy(z, label).sum())(sure) == 0).all()
    assert jax.grad(lambda z: margin(z, label).sum())(sure)[0, 0] == -1


def test_dlr_is_its_formula():
    z = -np.sort(-LOGITS.astype(np.float64), axis=1)
    lead = [max(np.delete(z, y)) - z[y] for z, y in zip(LOGITS, LABELS, strict=True)]
    expected = lead / (z[:, 0] - z[:, 2])
    np.testing.assert_allclose(dlr(LOGITS, LABELS), expected, rtol=1e-4, atol=1e-5)


def test_targeted_dlr_is_its_formula():
    z, at, targets = -np.sort(-LOGITS.astype(np.float64), axis=1), np.arange(50), (LABELS + 1) % 7
    lead = LOGITS[at, targets] - LOGITS[at, LABELS]
    expected = lead / (z[:, 0] - (z[:, 2] + z[:, 3]) / 2)
    found = targeted_dlr(LOGITS, LABELS, targets)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("scale", [1e-12, 1e-6, 1e6])
def test_dlr_does_not_change_with_scale_or_shift(scale):
    targets = (LABELS + 1) % 7
    for loss, more in ((dlr, ()), (targeted_dlr, (targets,))):
        found = loss(scale * LOGITS, LABELS, *more)
        np.testing.assert_allclose(found, loss(LOGITS, LABELS, *more), rtol=1e-4, atol=1e-4)
        shifted = loss(LOGITS + np.float32(8), LABELS, *more)
        np.testing.assert_allclose(shifted, loss(LOGITS, LABELS, *more), rtol=1e-3, atol=1e-3)


def test_dlr_of_equal_logits_is_finite():
    for loss, more in ((dlr, ()), (targeted_dlr, (np.array([1]),))):
        assert np.isfinite(loss(np.ones((1, 5), np.float32), np.array([0]), *more)).all()


@pytest.mark.parametrize("loss", [cross_entropy, margin, dlr])
def test_an_example_does_not_depend_on_its_company(loss):
    alone = np.concatenate([loss(LOGITS[i : i + 1], LABELS[i : i + 1]) for i in range(50)])
    np.testing.assert_array_equal(loss(LOGITS, LABELS), alone)
