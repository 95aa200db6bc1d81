"""Square Attack: it reaches every pixel, and breaks a network without asking for gradients."""

import jax
import numpy as np
import pytest

import robustlib
from robustlib import L2, Linf, square, square_attack
from tests import properties
from tests.properties import first, wrong


def test_it_reaches_the_optimum_of_a_linear_model():
    properties.square_reaches_the_optimum_of_a_linear_model(robustlib)


def test_it_nears_the_optimum_in_l2():
    properties.square_nears_the_optimum_of_a_linear_model_in_l2(robustlib)


def test_it_breaks_a_network(cnn):
    properties.square_breaks_a_network(robustlib, cnn)


def test_it_reaches_every_row_and_column(cnn):
    properties.square_reaches_every_row_and_column(robustlib, cnn)


def test_the_squares_shrink_as_the_paper_says():
    sides = square_attack.square_sides(10_000, (1, 28, 28, 1), Linf(0.3))
    # The share 0.8 of 784 pixels, halved after 10, 50, 200, ... queries; the root of it.
    expected = {0: 25, 11: 18, 51: 13, 201: 9, 501: 6, 1001: 4, 2001: 3, 4001: 2, 6001: 2, 8001: 1}
    assert {query: int(sides[query]) for query in expected} == expected
    shorter = square_attack.square_sides(1000, (1, 28, 28, 1), Linf(0.3))
    assert shorter[[0, 2, 6, 21]].tolist() == [25, 18, 13, 9]
    assert (shorter > 0).sum() == 1000 and len(shorter) % 1024 == 0
    bumps = square_attack.square_sides(10_000, (1, 28, 28, 1), L2(2.0))
    bumps = bumps[:10_000]
    assert (bumps % 2 == 1).all() and bumps.min() == 3


@pytest.mark.parametrize("side", [1, 3, 5])
def test_a_window_may_lie_anywhere(side):
    keys = jax.random.split(jax.random.key(0), 2000)
    windows = jax.vmap(lambda key: square_attack._window(key, (5, 7, 2), side)[0])(keys)
    windows = np.asarray(windows)[..., 0]
    assert (windows.sum(axis=(1, 2)) == side**2).all()
    corners = {tuple(np.argwhere(window)[0]) for window in windows}
    assert corners == {(r, c) for r in range(6 - side) for c in range(8 - side)}


def test_a_bump_has_length_one_and_no_sum_to_speak_of():
    for side in (1, 2, 3, 5, 8):
        bump = square_attack._bump(side)
        assert bump.shape == (side, side) and np.linalg.norm(bump) == pytest.approx(1)
    bump = square_attack._bump(8)
    assert bump[:4].min() > 0 > bump[4:].max()


def test_the_first_bumps_have_any_sign_and_turn():
    """Of side 2 a bump is a light row above a dark one; the other way round; or two columns."""
    images = np.full((1, 10, 14, 1), 0.5, np.float32)
    state = square_attack.start(images, L2(0.1), jax.random.split(jax.random.key(0), 1))
    signs = np.sign((np.asarray(state.best) - images)[0, :, :, 0])
    tiles = signs.reshape(5, 2, 7, 2).transpose(0, 2, 1, 3).reshape(35, 4)
    upright, turned = (1, 1, -1, -1), (1, -1, 1, -1)
    each = [upright, turned, tuple(-np.array(upright)), tuple(-np.array(turned))]
    assert {tuple(tile) for tile in tiles.astype(int).tolist()} == set(each)


@pytest.mark.parametrize("threat", [Linf(0.08), L2(1.5)])
def test_an_example_is_on_its_own(cnn, threat):
    """Alone, in company, in another order: the same start, and for 999 of 1,000 the same end."""
    f, (images, labels), n = robustlib.logits_fn(cnn.state), first(cnn, 1000), 1000
    keys = jax.vmap(lambda i: jax.random.fold_in(jax.random.key(0), i))(np.arange(n))

    def verdicts(rows):
        found = square(f, images[rows], labels[rows], threat, keys[rows], queries=60)
        return wrong(f, found, labels[rows])

    def starts(rows):
        return np.asarray(square_attack.start(images[rows], threat, keys[rows]).best)

    everyone, some = np.arange(n), np.arange(0, n, 7)
    np.testing.assert_array_equal(starts(everyone)[some], starts(some))
    together = verdicts(everyone)
    assert 0.05 < together.mean() < 0.95
    assert (verdicts(everyone[::-1])[::-1] != together).mean() <= 0.001
    assert (verdicts(np.arange(1)) == together[:1]).all()


def test_more_queries_of_the_same_search_never_lower_the_margin(cnn):
    properties.square_never_loses_ground(robustlib, cnn)


def test_it_asks_for_no_gradient(cnn):
    """The same search on a model whose gradient is cut off."""
    f, (images, labels) = robustlib.logits_fn(cnn.state), first(cnn, 50)
    where = (images, labels, Linf(0.1), jax.random.key(0))
    cut = robustlib.logits_fn(_cut, f)
    np.testing.assert_array_equal(square(cut, *where, queries=50), square(f, *where, queries=50))


def _cut(f, images):
    return f(jax.lax.stop_gradient(images))


def test_epsilon_zero_gives_back_the_image(cnn):
    f, (images, labels) = robustlib.logits_fn(cnn.state), first(cnn, 4)
    for threat in (Linf(0.0), L2(0.0)):
        found = square(f, images, labels, threat, jax.random.key(0), queries=5)
        np.testing.assert_array_equal(found, images)
