"""Square Attack (Andriushchenko et al., 2020): random search that never asks for a gradient.

It sees through what misleads gradients. Everything that is remembered is remembered per example.
"""

from functools import cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from robustlib import checks
from robustlib.attacks import checked
from robustlib.logits import predicted
from robustlib.losses import margin
from robustlib.threat import L2, Linf, Threat

_FIRST_SHARE = 0.8  # of the image that the first squares cover, as in AutoAttack
# Queries, of 10,000, after which the share is halved, as in the code of the paper's authors.
_HALVED_AFTER = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)


class Search(NamedTuple):
    """Where Square Attack stands with each of N examples: its best image is `best`."""

    best: jax.Array  # [N, H, W, C]
    best_loss: jax.Array  # [N]: the margin at `best`
    step: jax.Array  # int [N]: queries made
    fooled: jax.Array  # bool [N]


def square(
    logits_fn: Any,
    images: jax.Array,
    labels: jax.Array,
    threat: Threat,
    key: jax.Array,
    *,
    queries: int = 5000,
) -> jax.Array:
    """Return the strongest images that random squares find (Andriushchenko et al., 2020).

    It begins with stripes (l-inf, algorithm 2) or a grid of bumps (l-2, algorithm 3). Then each
    query changes one random square of the best image so far, and keeps the change if the margin
    rises. The squares shrink as the queries go by. No gradient is used, and nothing says how near
    to the best image it ends: on a linear model it finds that in l-inf, and comes close in l-2.

    Args:
        logits_fn: images [N, H, W, C] to logits [N, K]; see `robustlib.logits_fn`.
        images: float [N, H, W, C] in [0, 1].
        labels: int [N] in [0, K), the true classes.
        threat: `Linf` or `L2`.
        key: one `jax.random.key`, or N of them, one for each example.
        queries: images shown to the model for each example, from 1.

    Returns:
        float [N, H, W, C] in the threat model's ball and in [0, 1].

    Raises:
        TypeError, ValueError: an argument is of the wrong type, shape or range.
    """
    checks.check_counts(queries=queries)
    logits_fn, images, labels, threat = checked(logits_fn, images, labels, threat)
    checks.check_has_direction(threat)
    keys = checks.example_keys(key, images.shape[0])
    sides = square_sides(int(queries), images.shape, threat)
    state = start(images, threat, keys)
    return advance(logits_fn, images, labels, threat, keys, state, sides, int(queries)).best


def square_sides(queries: int, image_shape: tuple[int, ...], threat: Threat) -> np.ndarray:
    """Return the side of the square of each query, in pixels, and zeros to a size that is shared.

    The size is a multiple of 1,024, so that most numbers of queries share what is compiled.
    """
    height, width = image_shape[1:3]
    halvings = np.searchsorted(_HALVED_AFTER, np.arange(queries) * 10_000 / queries)
    sides = np.round(np.sqrt(_FIRST_SHARE / 2.0**halvings * height * width)).astype(np.int32)
    if isinstance(threat, L2):  # a bump needs a middle
        sides = np.maximum(sides, 3) // 2 * 2 + 1
    sides = np.clip(sides, 1, min(height, width))
    return np.pad(sides, (0, 1024 - queries % 1024))


@jax.jit
def start(images: jax.Array, threat: Threat, keys: jax.Array) -> Search:
    """Return the state before the first query, which asks about stripes or a grid of bumps."""
    n, first = len(images), _stripes if isinstance(threat, Linf) else _grid
    fold_in = jax.vmap(jax.random.fold_in, (0, None))
    return Search(
        best=jax.vmap(first, (0, 0, None))(fold_in(keys, 0), images, threat.epsilon),
        best_loss=jnp.full(n, -jnp.inf, images.dtype),
        step=jnp.zeros(n, int),
        fooled=jnp.zeros(n, bool),
    )


@jax.jit
def advance(logits_fn, images, labels, threat, keys, state: Search, sides, queries) -> Search:
    """Return the state after at most `queries` more, fewer once every example is finished.

    Args:
        logits_fn: images [N, H, W, C] to logits [N, K].
        images: float [N, H, W, C], the centres of the balls.
        labels: int [N], the true classes.
        threat: `Linf` or `L2`.
        keys: [N], the same at every call: query q draws from `fold_in(key, q)`.
        state: from `start` or from here, for these examples.
        sides: from `square_sides`.
        queries: at most so many for each example; may be traced.
    """
    sides = jnp.asarray(sides)
    change = _new_square if isinstance(threat, Linf) else _moved_bump

    def proposal(key, image, point, step):
        key = jax.random.fold_in(key, step)
        changed = change(key, image, point, sides[step], threat.epsilon)
        return jnp.where(step == 0, point, changed)

    def one_query(carry):
        done, state = carry
        points = jax.vmap(proposal)(keys, images, state.best, state.step)
        logits = logits_fn(points)
        losses, fooled = margin(logits, labels), predicted(logits) != labels
        losses = losses.astype(images.dtype)
        open_ = ~is_finished(state, sides)
        better = open_ & (fooled | (losses > state.best_loss))
        new = Search(
            best=jnp.where(better[:, None, None, None], points, state.best),
            best_loss=jnp.where(better, losses, state.best_loss),
            step=state.step + open_,
            fooled=state.fooled | (open_ & fooled),
        )
        return done + 1, new

    def unfinished(carry):
        done, state = carry
        return (done < queries) & ~is_finished(state, sides).all()

    return lax.while_loop(unfinished, one_query, (0, state))[1]


def is_finished(state: Search, sides) -> jax.Array:
    """Return bool [N]: who is fooled, or has made all queries."""
    return state.fooled | (jnp.asarray(sides)[state.step] == 0)


# ---- one example: key, image [H, W, C], its best point, the square's side, epsilon ---------------


def _stripes(key, image, epsilon):
    """Return the image with every column, in each channel, lighter or darker by epsilon."""
    signs = jax.random.rademacher(key, (1, *image.shape[1:]), image.dtype)
    return jnp.clip(image + epsilon * signs, 0, 1)


def _new_square(key, image, point, side, epsilon):
    """Return the point with one square of the image, in each channel, moved by epsilon."""
    place_key, sign_key = jax.random.split(key)
    signs = jax.random.rademacher(sign_key, image.shape[2:], image.dtype)
    moved = jnp.clip(image + epsilon * signs[None, None, :], 0, 1)
    return jnp.where(_window(place_key, image.shape, side)[0], moved, point)


def _grid(key, image, epsilon):
    """Return the image with a grid of bumps, five along its shorter side; signs and turns vary."""
    height, width, channels = image.shape
    side = max(min(height, width) // 5, 1)
    rows, columns = height // side, width // side
    sign_key, turn_key = jax.random.split(key)
    signs = jax.random.rademacher(sign_key, (rows, columns, channels), image.dtype)
    turned = jax.random.bernoulli(turn_key, shape=(rows, columns, 1))
    bump = np.tile(_bump(side), (rows, columns))[:, :, None]
    turned_bump = np.tile(_bump(side).T, (rows, columns))[:, :, None]

    def in_pixels(tiles):
        return jnp.repeat(jnp.repeat(tiles, side, axis=0), side, axis=1)

    top, left = (height - rows * side) // 2, (width - columns * side) // 2
    padding = ((top, height - rows * side - top), (left, width - columns * side - left), (0, 0))
    grid = in_pixels(signs) * jnp.where(in_pixels(turned), turned_bump, bump)
    return _at_epsilon(image, jnp.pad(grid, padding), epsilon)


def _moved_bump(key, image, point, side, epsilon):
    """Return the point with a bump added in one square, paid for by another that is emptied."""
    channels, delta = image.shape[2], point - image
    to_key, from_key, sign_key, turn_key = jax.random.split(key, 4)
    to, corner = _window(to_key, image.shape, side)
    emptied, _ = _window(from_key, image.shape, side)
    bumps = jnp.asarray(_bumps(image.shape))[side, jax.random.bernoulli(turn_key).astype(int)]
    bump = jnp.roll(bumps, corner, axis=(0, 1))[:, :, None]

    def length(delta):  # of each channel
        return jnp.sqrt((delta**2).sum(axis=(0, 1), keepdims=True))

    def scaled(delta, to):
        return delta * (to / jnp.maximum(length(delta), _TINY))

    signs = jax.random.rademacher(sign_key, (1, 1, channels), image.dtype)
    unspent = jnp.maximum(epsilon**2 - (delta**2).sum(), 0) / channels
    budget = jnp.sqrt(unspent + length(jnp.where(to | emptied, delta, 0)) ** 2)
    new = scaled(signs * bump + scaled(jnp.where(to, delta, 0), 1.0), budget)
    return _at_epsilon(image, jnp.where(to, new, jnp.where(emptied, 0, delta)), epsilon)


def _at_epsilon(image, delta, epsilon):
    """Return the image plus delta at length epsilon, clipped to the box, which only shortens it."""
    length = jnp.sqrt((delta**2).sum())
    return jnp.clip(image + delta * (epsilon / jnp.maximum(length, _TINY)), 0, 1)


def _window(key, shape, side):
    """Return bool [H, W, 1], true in a random square, and its corner; all places are as likely."""
    corner = jax.random.randint(key, (2,), 0, jnp.asarray(shape[:2]) - side + 1)
    down, right = (jnp.arange(size) - corner[i] for i, size in enumerate(shape[:2]))
    inside = ((down >= 0) & (down < side))[:, None] & ((right >= 0) & (right < side))[None, :]
    return inside[:, :, None], corner


_TINY = 1e-12


@cache
def _bumps(shape: tuple[int, ...]) -> np.ndarray:
    """Return each side's bump, and the same turned, in the corner of images [sides, 2, H, W]."""
    largest = min(shape[:2])
    bumps = np.zeros((largest + 1, 2, *shape[:2]), np.float32)
    for side in range(1, largest + 1):
        bumps[side, :, :side, :side] = _bump(side), _bump(side).T
    return bumps


def _bump(side: int) -> np.ndarray:
    """Return a hill above a valley, [side, side], of length 1 (section 3.3 of the paper)."""
    upper = side // 2
    bump = np.concatenate([_hill(upper, side), -_hill(side - upper, side)])
    return (bump / np.linalg.norm(bump)).astype(np.float32)


def _hill(height: int, width: int) -> np.ndarray:
    """Return steps around the middle: 1 + 1/4 + 1/9 + ... from a pixel's distance on outwards."""
    middle = height // 2, width // 2
    distance = np.maximum(
        np.abs(np.arange(height) - middle[0])[:, None], np.abs(np.arange(width) - middle[1])
    )
    rings = np.cumsum(1 / np.arange(1, max(middle) + 2)[::-1] ** 2.0)[::-1]
    return rings[distance] if height else np.zeros((0, width))
