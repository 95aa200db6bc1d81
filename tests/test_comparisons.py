"""Comparisons: the interval, quiet on an honest model, and loud on a masked one."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import binomtest, multinomial

import robustlib
from robustlib import Linf, comparisons
from robustlib.batches import Verdict
from robustlib.comparisons import flags, paired_interval
from robustlib.ensemble import Problem
from tests.properties import first


@pytest.mark.parametrize(
    ("p_a", "p_b", "n"), [(0.1, 0.02, 30), (0.01, 0.0, 40), (0.3, 0.3, 30), (0.02, 0.05, 40)]
)
def test_the_interval_covers_the_difference_in_95_of_100_samples(p_a, p_b, n):
    """Summed over all outcomes, each with its probability: not one sample, and no luck."""
    covered = 0.0
    for a in range(n + 1):
        for b in range(n + 1 - a):
            low, high = paired_interval(a, b, n)
            if low <= p_a - p_b <= high:
                covered += multinomial.pmf([a, b, n - a - b], n, [p_a, p_b, 1 - p_a - p_b])
    assert covered >= 0.95


def test_the_interval_is_no_wider_than_it_has_to_be():
    """About one and a half times a normal approximation's; and it turns with the pair."""
    a, b, n = 60, 20, 1000
    low, high = paired_interval(a, b, n)
    normal = 2 * 1.96 * np.sqrt(a + b - (a - b) ** 2 / n) / n
    assert low < (a - b) / n < high and high - low < 1.7 * normal
    assert paired_interval(b, a, n) == pytest.approx((-high, -low))


@pytest.mark.parametrize(("a", "b", "n"), [(0, 0, 1), (0, 7, 10), (3, 0, 400), (5, 5, 10)])
def test_the_interval_is_made_of_two_exact_ones(a, b, n):
    """As SciPy's binomial test gives them."""
    (low_a, high_a), (low_b, high_b) = (
        binomtest(only, n).proportion_ci(0.975, method="exact") for only in (a, b)
    )
    assert paired_interval(a, b, n) == pytest.approx((low_a - high_b, high_a - low_b), abs=1e-9)


@pytest.mark.parametrize(("a", "b", "n"), [(-1, 0, 5), (3, 3, 5), (0, 0, 0)])
def test_counts_that_are_none_are_refused(a, b, n):
    with pytest.raises(ValueError, match="must be counts of n pairs"):
        paired_interval(a, b, n)


def raised(f, cnn, epsilon, surrogate=None, n=200, left_out=0):
    images, labels = first(cnn, n)
    logits = np.asarray(f(images))
    problem = Problem(f, images, labels, Linf(epsilon), logits)
    clean = (logits.argmax(axis=1) == labels) & (np.arange(n) >= left_out)
    return list(flags(problem, clean, jax.random.key(0), surrogate))


@pytest.mark.parametrize("epsilon", [0.05, 0.15])
def test_an_honest_model_raises_nothing(cnn, epsilon):
    f = robustlib.logits_fn(cnn.state)
    assert raised(f, cnn, epsilon, surrogate=f) == []


def test_a_masked_model_raises_gradient_free_and_transfer(cnn):
    """Pixels rounded to steps: the gradient is zero, and the answers change all the same."""
    f = robustlib.logits_fn(cnn.state)
    found = raised(robustlib.logits_fn(_rounded, f), cnn, 0.15, surrogate=f)
    assert any("Square Attack, which asks for no gradient, still breaks" in flag for flag in found)
    assert any("an attack on another model still breaks" in flag for flag in found)


def test_half_a_mask_is_seen(cnn):
    """Each attack breaks images that the other leaves, and their totals are much the same."""
    (images, _), f = first(cnn, 120), robustlib.logits_fn(cnn.state)
    masked = robustlib.logits_fn(_rounded_where, (f, images, jnp.arange(120) % 3 == 0))
    found = raised(masked, cnn, 0.1, n=120)
    assert any("Square Attack, which asks for no gradient, still breaks" in flag for flag in found)


def _rounded(f, images):
    return f(jnp.round(images * 10) / 10)


def _rounded_where(how, points):
    """The network; for images near some that it knows, behind a rounding."""
    f, images, masked = how
    return jnp.where(masked[_nearest(points, images)][:, None], _rounded(f, points), f(points))


def _nearest(points, images):
    rows, known = points.reshape(len(points), -1), images.reshape(len(images), -1)
    return ((known**2).sum(axis=1)[None] - 2 * rows @ known.T).argmin(axis=1)  # multiplied out


def test_a_defence_that_needs_small_steps_is_seen(cnn):
    """Beyond a small perturbation, the model answers as if nothing had happened."""
    images, labels = first(cnn, 60)
    f = robustlib.logits_fn(_far_is_safe, (robustlib.logits_fn(cnn.state), images))
    split = SimpleNamespace(images=images, labels=labels)
    assert robustlib.accuracy(f, split) > 0.9
    assert any("a larger epsilon helps the defender" in flag for flag in raised(f, cnn, 0.1, n=60))


@pytest.mark.parametrize(
    ("setting", "less", "said"),
    [("steps", 10, "more steps do not help it"), ("restarts", 1, "more restarts do not help it")],
)
def test_more_of_an_attack_that_finds_less_is_seen(cnn, monkeypatch, setting, less, said):
    """No sound attack does that, so the verdicts are made up."""

    def made_up(attack, logits_fn, images, *where):
        found = np.full(len(images), attack.keywords.get(setting) == less)
        return Verdict(found, ~found, 0 * found)

    monkeypatch.setattr(comparisons, "broken_by", made_up)
    (flag,) = raised(robustlib.logits_fn(cnn.state), cnn, 0.1)
    assert said in flag and f"{less} st" in flag


def test_every_attack_of_a_comparison_has_a_key_of_its_own(cnn, monkeypatch):
    seen = []

    def noted(attack, logits_fn, images, labels, threat, key):
        seen.append(np.asarray(jax.random.key_data(key)))
        return Verdict(*np.zeros((3, len(images)), bool))

    monkeypatch.setattr(comparisons, "broken_by", noted)
    f = robustlib.logits_fn(cnn.state)
    assert raised(f, cnn, 0.1, surrogate=f) == []
    assert len(seen) == len({keys.tobytes() for keys in seen}) == 12
    everyone, seen = seen, []
    raised(f, cnn, 0.1, surrogate=f, left_out=50)
    for all_keys, keys in zip(everyone, seen, strict=True):  # by index, whoever else is attacked
        assert 0 < len(keys) < len(all_keys)
        np.testing.assert_array_equal(keys, all_keys[-len(keys) :])


@pytest.mark.parametrize(("lead", "flagged"), [(13, False), (14, True)])
def test_a_difference_counts_when_its_interval_lies_above_half_a_point(lead, flagged):
    ahead, nobody = np.arange(400) < lead, np.zeros(400, bool)
    found = list(comparisons._sentence("A", ahead, "B", nobody, "it is odd. See 06_evaluation"))
    assert len(found) == flagged
    assert not list(comparisons._sentence("A", nobody, "B", ahead, "it is odd"))


def _far_is_safe(how, points):
    """The network within 0.11 of an image it knows; farther off, its answer to that image."""
    f, images = how
    near = _nearest(points, images)
    far = jnp.abs(points - images[near]).max(axis=(1, 2, 3)) > 0.11
    return jnp.where(far[:, None], jax.lax.stop_gradient(f(images[near])), f(points))
