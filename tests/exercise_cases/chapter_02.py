"""Plausible wrong answers to the exercises of chapter 2: each must be told what is wrong."""

import jax
import jax.numpy as jnp
import numpy as np

from robustlib import Linf, cross_entropy, fgsm


def _gradient(logits_fn, images, labels):
    return jax.grad(lambda points: cross_entropy(logits_fn(points), labels).sum())(images)


def _length(g, axis=(1, 2, 3)):
    return jnp.sqrt((g**2).sum(axis=axis, keepdims=True))


def _stepped(direction, clip=True):
    """Return an attack that moves by epsilon times direction(gradient)."""

    def attack(logits_fn, images, labels, epsilon):
        points = images + epsilon * direction(_gradient(logits_fn, images, labels))
        return jnp.clip(points, 0, 1) if clip else points

    return attack


def _wrong(logits_fn, images, labels, epsilons):
    points = [fgsm(logits_fn, images, labels, Linf(e)) for e in epsilons]
    return np.stack([logits_fn(p).argmax(axis=1) != labels for p in points])


def _zero_where_none(logits_fn, images, labels, epsilons):
    return epsilons[_wrong(logits_fn, images, labels, epsilons).argmax(axis=0)]


def _as_if_monotone(logits_fn, images, labels, epsilons):
    standing = ~_wrong(logits_fn, images, labels, epsilons)
    return np.append(epsilons, np.inf)[standing.sum(axis=0)]


def _without_zero(logits_fn, images, labels, epsilons):
    wrong = _wrong(logits_fn, images, labels, epsilons[1:])
    return np.where(wrong.any(axis=0), epsilons[1:][wrong.argmax(axis=0)], np.inf)


def _one_for_all(logits_fn, images, labels, epsilons):
    wrong = _wrong(logits_fn, images, labels, epsilons)
    return epsilons[wrong.any(axis=1).argmax()]


WRONG = {
    "check_targeted_fgsm": {
        "it climbs the loss of the target": _stepped(jnp.sign),
        "it does not clip": _stepped(lambda g: -jnp.sign(g), clip=False),
        "it takes no sign": _stepped(lambda g: -g),
    },
    "check_fast_gradient_l2": {
        "it descends": _stepped(lambda g: -g / _length(g)),
        "it does not clip": _stepped(lambda g: g / _length(g), clip=False),
        "one length for the batch": _stepped(lambda g: g / _length(g, None)),
        "it does not normalise": _stepped(lambda g: g),
        "it takes the sign": _stepped(jnp.sign),
    },
    "check_smallest_epsilon": {
        "0 where there is none": _zero_where_none,
        "as if monotone": _as_if_monotone,
        "it leaves out epsilon 0": _without_zero,
        "one for all images": _one_for_all,
    },
}
