"""Ball and box together, beside slow oracles in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import robustlib
from robustlib import L1, L2, Linf
from tests import oracles, properties
from tests.properties import project, steepest

SHAPES = [(1, 1, 1), (5, 4, 3), (28, 28, 1)]
sample = jax.jit(lambda threat, images, keys: threat.sample(images, keys))
EACH = pytest.mark.parametrize("threat", [Linf(0.3), L2(2.0), L1(3.0)], ids=lambda t: t.name)


def some_images(n=64, shape=(6, 6, 1)):
    """Images with many pixels at 0 and at 1, as MNIST's are."""
    rng = np.random.default_rng(2)
    return np.clip(rng.uniform(-1, 2, (n, *shape)), 0, 1).astype(np.float32)


def keys(n, seed=0):
    return jax.random.split(jax.random.key(seed), n)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_projection_is_the_nearest_point(shape):
    properties.projection_is_nearest(robustlib, shape)


@pytest.mark.parametrize("scale", [1.0, 1e-12, 1e-30])
def test_the_steepest_step_is_optimal(scale):
    properties.steepest_step_is_optimal(robustlib, scale=scale)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_steepest_step_is_optimal_in_every_shape(shape):
    properties.steepest_step_is_optimal(robustlib, shape)


def test_scaling_before_clipping_is_not_enough():
    """It reached 97 % of what an l-2 step can gain: the budget that the box cuts off is lost."""
    points = some_images(200, (10, 10, 1))
    gradients = np.random.default_rng(3).normal(size=points.shape).astype(np.float32)
    rows, g = (a.reshape(200, -1).astype(np.float64) for a in (points, gradients))
    best = oracles.steepest_value(rows, g, 1.5, "l-2")
    scaled = np.clip(rows + 1.5 * g / np.linalg.norm(g, axis=1, keepdims=True), 0, 1) - rows
    step = np.asarray(steepest(L2(1.5), points, gradients, 1.5)).reshape(200, -1) - rows
    assert (g * scaled).sum() < 0.99 * best.sum()  # else this could not fail
    assert (g * step).sum() > 0.9999 * best.sum()


@pytest.mark.parametrize("scale", [1.0, 1e-12, 1e-30])
@EACH
def test_a_small_gradient_still_gives_the_full_step(threat, scale):
    points = np.full((3, 6, 6, 1), 0.5, np.float32)
    gradients = np.random.default_rng(4).normal(size=points.shape) * scale
    moved = np.asarray(steepest(threat, points, gradients.astype(np.float32), 0.2), np.float64)
    order = {"l-inf": np.inf, "l-2": 2, "l-1": 1}[threat.name]
    lengths = np.linalg.norm((moved - points).reshape(3, -1), order, axis=1)
    np.testing.assert_allclose(lengths, 0.2, rtol=1e-5)


@EACH
def test_a_zero_gradient_moves_nothing(threat):
    points, zero = some_images(), np.zeros((64, 6, 6, 1), np.float32)
    np.testing.assert_array_equal(steepest(threat, points, zero, 0.3), points)


@EACH
def test_a_pixel_without_gradient_stays(threat):
    points = some_images()
    gradients = np.ones_like(points)
    gradients[:, :3] = 0
    moved = np.asarray(steepest(threat, points, gradients, 0.3))
    np.testing.assert_array_equal(moved[:, :3], points[:, :3])
    assert (moved[:, 3:] != points[:, 3:]).any()


def test_a_step_in_l1_moves_the_pixels_with_the_largest_gradients():
    points = np.full((1, 2, 2, 1), 0.5, np.float32)
    gradients = np.float32([1, -4, 3, 2]).reshape(1, 2, 2, 1)
    moved = np.asarray(steepest(L1(1.0), points, gradients, 1.2)).ravel()
    np.testing.assert_allclose(moved, [0.5, 0.0, 1.0, 0.7], atol=1e-6)


@pytest.mark.parametrize("kind", [Linf, L2, L1])
def test_epsilon_zero_gives_back_the_image(kind):
    images, others = some_images(), some_images()[::-1]
    np.testing.assert_array_equal(project(kind(0.0), images, others), images)
    np.testing.assert_array_equal(sample(kind(0.0), images, keys(64)), images)
    np.testing.assert_array_equal(steepest(kind(0.0), images, others - 0.5, 0.0), images)


@pytest.mark.parametrize("kind", [Linf, L2, L1])
def test_the_largest_epsilon_reaches_every_corner(kind):
    images = some_images()
    threat = kind(kind(0.0).largest_epsilon(images.shape))
    corners = (np.random.default_rng(5).random(images.shape) < 0.5).astype(np.float32)
    np.testing.assert_allclose(project(threat, images, corners), corners, atol=1e-6)
    assert threat.contains(images, corners).all()


@EACH
def test_samples_lie_inside_and_fill_the_ball(threat):
    images = np.full((2000, 6, 6, 1), 0.5, np.float32)
    points = np.asarray(sample(threat, images, keys(2000)))
    assert threat.contains(images, points).all()
    delta = (points - images).reshape(2000, 36).astype(np.float64)
    if threat.name == "l-inf":
        share = (delta / 0.3 + 1) / 2  # uniform over [0, 1] in each pixel
    elif threat.name == "l-1":
        share = (np.abs(np.asarray(sample(L1(0.4), images, keys(2000))) - 0.5) / 0.4).sum((1, 2, 3))
        share = share**36
    else:
        # The clip to the box has no part in this: 2 / 6 is a typical entry, so look at small radii.
        small = sample(L2(0.4), images, keys(2000))
        radius = np.linalg.norm((np.asarray(small) - images).reshape(2000, 36), axis=1)
        share = (radius / 0.4) ** 36  # uniform, since volume grows with the 36th power
    # Kolmogorov and Smirnov: a false alarm in 1 of 1,000,000 seeds at 2.7 / sqrt(n).
    ordered = np.sort(share.ravel())
    distance = np.abs(ordered - np.arange(1, ordered.size + 1) / ordered.size).max()
    assert distance < 2.7 / np.sqrt(ordered.size)


@EACH
def test_samples_meet_the_box_and_follow_their_keys(threat):
    images = some_images()
    points = np.asarray(sample(threat, images, keys(64)))
    assert threat.contains(images, points).all()
    np.testing.assert_array_equal(points[3:5], sample(threat, images[3:5], keys(64)[3:5]))
    assert (
        (points != np.asarray(sample(threat, images, keys(64, seed=1)))).any(axis=(1, 2, 3)).all()
    )


def test_contains_allows_rounding_and_nothing_more():
    image = np.full((1, 2, 2, 1), 0.5, np.float32)

    def moved(by):
        points = image.astype(np.float64)
        points[0, 0, 0, 0] += by
        return points

    for threat, allowed, refused in (
        (Linf(0.1), 0.1 + 9e-7, 0.1 + 1.1e-6),
        (L2(0.1), 0.1 + 1.9e-6, 0.1 + 2.1e-6),  # 0.1 * 1e-5 + 1e-6
        (L1(0.1), 0.1 + 1.9e-6, 0.1 + 2.1e-6),
    ):
        assert threat.contains(image, moved(allowed)).all()
        assert not threat.contains(image, moved(refused)).any()
    assert not Linf(1.0).contains(image, moved(0.5 + 1e-12)).any()  # the box has no tolerance
    assert not Linf(1.0).contains(image, moved(-0.5 - 1e-12)).any()


@EACH
def test_contains_answers_for_each_example(threat):
    images = np.full((3, 2, 2, 1), 0.5, np.float32)
    points = images + np.float32([0.0, 2.0, 0.1])[:, None, None, None]
    np.testing.assert_array_equal(threat.contains(images, points), [True, False, True])


@EACH
def test_company_changes_nothing(threat):
    images, others = some_images(), some_images()[::-1] - 0.5
    for operation in (project, lambda t, x, g: steepest(t, x, g, 0.7)):
        whole = operation(threat, images, others)
        alone = [operation(threat, images[i : i + 1], others[i : i + 1])[0] for i in range(64)]
        np.testing.assert_allclose(alone, whole, atol=1e-6)


def test_jitted_code_never_takes_one_threat_model_for_another():
    """cusp-ai-oss/kUPS#114: as registered dataclasses they compare equal in JAX 0.10."""
    assert len({jax.tree.structure(kind(0.3)) for kind in (Linf, L2, L1)}) == 3
    for kind in (Linf, L2, L1):
        leaves, structure = jax.tree.flatten(kind(0.3))
        assert jax.tree.unflatten(structure, leaves) == kind(0.3)


def test_epsilon_is_a_leaf():
    assert jax.tree.leaves(Linf(0.3)) == [0.3] and jax.tree.leaves(L2(2.0)) == [2.0]
    assert jax.jit(lambda threat: threat.epsilon * 2)(Linf(jnp.float32(0.25))) == 0.5


@pytest.mark.parametrize("scale", [1.0, 1e-12, 1e-30, 1e30])
def test_the_direction_has_length_one_whatever_the_gradients_length(scale):
    gradients = np.random.default_rng(0).normal(size=(5, 4, 3, 2)).astype(np.float32)
    gradients[0] = 0
    for threat in (Linf(0.1), L2(0.1)):
        found = np.asarray(threat.direction(gradients * np.float32(scale)))
        largest = np.abs(found).max(axis=(1, 2, 3))
        lengths = {"l-inf": largest, "l-2": np.sqrt((found**2).sum(axis=(1, 2, 3)))}[threat.name]
        np.testing.assert_allclose(lengths, [0, 1, 1, 1, 1], atol=1e-5)
        assert (np.sign(found) == np.sign(gradients)).all()
