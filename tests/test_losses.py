"""Losses per example, beside their formulas in float64."""

import jax
import numpy as np
import pytest

from robustlib import cross_entropy, margin

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


def test_margin_does_not_saturate():
    """The gradient of cross-entropy is zero in float32 where the network is sure; this is not."""
    sure, label = np.float32([[200, 0, 0]]), np.array([0])
    assert (jax.grad(lambda z: cross_entropy(z, label).sum())(sure) == 0).all()
    assert jax.grad(lambda z: margin(z, label).sum())(sure)[0, 0] == -1


@pytest.mark.parametrize("loss", [cross_entropy, margin])
def test_an_example_does_not_depend_on_its_company(loss):
    alone = np.concatenate([loss(LOGITS[i : i + 1], LABELS[i : i + 1]) for i in range(50)])
    np.testing.assert_array_equal(loss(LOGITS, LABELS), alone)
