"""Plausible wrong answers to the exercises of chapter 7."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

import robustlib


def rounded(images, levels):
    return jnp.round((levels - 1) * images) / (levels - 1)


def rounded_down(images, levels):
    down = jnp.floor((levels - 1) * images) / (levels - 1)
    return images + lax.stop_gradient(down - images)


def grey_when_two(images, levels):
    values = rounded(images, levels) if levels > 2 else jnp.full_like(images, 0.5)
    return images + lax.stop_gradient(values - images)


def one_level_more(images, levels):
    return images + lax.stop_gradient(rounded(images, levels + 1) - images)


def scaled_gradient(images, levels):
    scaled = (levels - 1) * images
    return scaled + lax.stop_gradient(rounded(images, levels) - scaled)


def twice(images, levels):
    return 2 * images + lax.stop_gradient(rounded(images, levels) - 2 * images)


def soft_values(images, levels):
    """A smooth staircase, in the forward pass as well."""
    scaled = (levels - 1) * images
    return (scaled - jnp.sin(2 * jnp.pi * scaled) / (2 * jnp.pi)) / (levels - 1)


def search(*, ball=True, box=True, keep="each", draw=True, own=True):
    """Return an answer to the second exercise with one thing done otherwise."""

    def answer(logits_fn, images, labels, points, epsilon, key):
        key = key if draw else jax.random.key(0)
        place_key, sign_key = jax.random.split(key)
        n, height, width, _ = points.shape
        rows = jnp.arange(height)[None, :, None] // 2 == jax.random.randint(
            place_key, (n if own else 1, 1, 1), 0, 3
        )
        signs = jax.random.rademacher(sign_key, (n if own else 1, 1, width), points.dtype)
        change = epsilon * (rows * signs)[..., None]
        centre = images if ball else points
        tried = jnp.where(rows[..., None], centre + change, points)
        tried = jnp.clip(tried, 0, 1) if box else tried
        before, after = (robustlib.margin(logits_fn(p), labels) for p in (points, tried))
        better = {
            "each": after > before,
            "all": after.mean() > before.mean(),
            "always": after > -jnp.inf,
            "lower": after < before,
        }[keep]
        better = jnp.broadcast_to(better, before.shape)
        return jnp.where(better[:, None, None, None], tried, points)

    return answer


def intervals(broken):
    return np.array([robustlib.wilson_interval(int(k), broken.shape[1]) for k in broken.sum(1)])


def paired(first, second):
    only_first, only_second = (first & ~second).sum(axis=1), (second & ~first).sum(axis=1)
    pairs = zip(only_first, only_first + only_second, strict=True)
    return np.array(
        [m > 0 and robustlib.wilson_interval(int(k), int(m))[0] > 0.5 for k, m in pairs]
    )


WRONG = {
    "check_straight_through": {
        "rounded down": rounded_down,
        "one level more": one_level_more,
        "no gradient": rounded,
        "scaled gradient": scaled_gradient,
        "soft values": soft_values,
        "nothing for two levels": grey_when_two,
    },
    "check_random_step": {
        "out of the ball": search(ball=False),
        "out of the box": search(box=False),
        "one decision for all": search(keep="all"),
        "always kept": search(keep="always"),
        "downhill": search(keep="lower"),
        "one draw for all calls": search(draw=False),
        "one draw for all images": search(own=False),
    },
    "check_masked_models": {
        "any excess": lambda a, b: (b & ~a).sum(axis=1) > (a & ~b).sum(axis=1),
        "intervals apart": lambda a, b: intervals(b)[:, 0] > intervals(a)[:, 1],
        "swapped": lambda a, b: paired(a, b),
        "turned": lambda a, b: ~paired(b, a),
        "ahead by twelve": lambda a, b: b.sum(axis=1) - a.sum(axis=1) >= 12,
        "one is enough": lambda a, b: (b & ~a).any(axis=1),
    },
}
