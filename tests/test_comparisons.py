"""Comparisons: the exact interval, quiet on an honest model, and loud on a masked one."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import binom

import robustlib
from robustlib import Linf
from robustlib.comparisons import flags, paired_interval
from robustlib.ensemble import Problem
from tests.properties import first


@pytest.mark.parametrize(("a", "b", "n"), [(10, 2, 400), (1, 0, 50), (7, 7, 100), (0, 5, 400)])
def test_the_interval_solves_its_equations(a, b, n):
    """At its ends, an outcome as far out or farther has the probability 2.5 %."""
    m = a + b
    low, high = ((end * n / m + 1) / 2 for end in paired_interval(a, b, n))
    if a:
        assert binom.sf(a - 1, m, low) == pytest.approx(0.025, rel=1e-6)
    else:
        assert low == 0
    if b:
        assert binom.cdf(a, m, high) == pytest.approx(0.025, rel=1e-6)
    else:
        assert high == 1


def test_no_difference_is_no_difference():
    assert paired_interval(0, 0, 100) == (0, 0)


def raised(f, cnn, epsilon, surrogate=None, n=200):
    images, labels = first(cnn, n)
    logits = np.asarray(f(images))
    problem = Problem(f, images, labels, Linf(epsilon), logits)
    return flags(problem, logits.argmax(axis=1) == labels, jax.random.key(0), surrogate)


@pytest.mark.parametrize("epsilon", [0.05, 0.15])
def test_an_honest_model_raises_nothing(cnn, epsilon):
    f = robustlib.logits_fn(cnn.state)
    assert raised(f, cnn, epsilon, surrogate=f) == []


def test_a_masked_model_raises_gradient_free_and_transfer(cnn):
    """Pixels rounded to steps: the gradient is zero, and the answers change all the same."""
    f = robustlib.logits_fn(cnn.state)
    found = raised(robustlib.logits_fn(_rounded, f), cnn, 0.15, surrogate=f)
    assert any(flag.startswith("Square Attack, which asks for no gradient,") for flag in found)
    assert any(flag.startswith("An attack on another model") for flag in found)


def _rounded(f, images):
    return f(jnp.round(images * 10) / 10)


def test_a_defence_that_needs_small_steps_is_seen(cnn):
    """Beyond a small perturbation, the model answers as if nothing had happened."""
    images, labels = first(cnn, 60)
    f = robustlib.logits_fn(_far_is_safe, (robustlib.logits_fn(cnn.state), images))
    split = SimpleNamespace(images=images, labels=labels)
    assert robustlib.accuracy(f, split) > 0.9
    assert any("a larger epsilon helps the defender" in flag for flag in raised(f, cnn, 0.1, n=60))


def _far_is_safe(how, points):
    """The network within 0.11 of an image it knows; farther off, its answer to that image."""
    f, images = how
    rows, known = points.reshape(len(points), -1), images.reshape(len(images), -1)
    near = ((rows[:, None] - known[None]) ** 2).sum(axis=2).argmin(axis=1)
    far = jnp.abs(rows - known[near]).max(axis=1) > 0.11
    return jnp.where(far[:, None], jax.lax.stop_gradient(f(images[near])), f(points))
