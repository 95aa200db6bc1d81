"""Running over a split in batches of one size, so that everything compiles once."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np

from robustlib import checks
from robustlib.logits import forward

Attack = Callable[..., jax.Array]

BATCH_SIZE = 200


def all_logits(logits_fn, images) -> np.ndarray:
    """Return the logits [N, K] of images [N, H, W, C]."""
    size = next(size for size in (1, 16, 64, BATCH_SIZE) if size >= min(len(images), BATCH_SIZE))
    batches = _padded(images, size)
    return np.concatenate([np.asarray(forward(logits_fn, batch))[:n] for batch, n in batches])


def classes_of(logits: np.ndarray) -> np.ndarray:
    """Return the predicted classes int [N]; -1, no class, where a logit is NaN."""
    return np.where(np.isnan(logits).any(axis=1), -1, logits.argmax(axis=1))


def predictions(logits_fn, images) -> np.ndarray:
    """Return the predicted classes int [N]; -1, no class, where a logit is NaN."""
    return classes_of(all_logits(logits_fn, images))


class Verdict(NamedTuple):
    """What N adversarial images are worth, each bool [N]."""

    broken: np.ndarray  # inside ball and box, and misclassified on a forward pass of its own
    outside: np.ndarray  # outside ball or box: not counted
    unanswered: np.ndarray  # broken, and a logit is NaN


def judge(logits_fn, images, labels, threat, adversarial) -> Verdict:
    """Look at adversarial images once more, whatever the attack that made them believes."""
    adversarial = np.asarray(adversarial)
    inside, classes = threat.contains(images, adversarial), predictions(logits_fn, adversarial)
    return Verdict(inside & (classes != labels), ~inside, inside & (classes == -1))


def broken_by(attack, logits_fn, images, labels, threat, key) -> Verdict:
    """Attack all images in batches of one size, the start of each example its own."""
    keys = checks.example_keys(key, len(labels))
    verdicts = []
    for batch, n in _padded(np.arange(len(labels)), min(len(labels), BATCH_SIZE)):
        where = (logits_fn, images[batch], labels[batch], threat)
        verdict = judge(*where, attack(*where, keys[batch]))
        verdicts.append([part[:n] for part in verdict])
    return Verdict(*(np.concatenate(parts) for parts in zip(*verdicts, strict=True)))


def _padded(array, size):
    """Yield (batch, number of real rows); the last batch is filled up with copies of its first."""
    for start in range(0, len(array), size):
        n = min(size, len(array) - start)
        real = np.arange(size) < n
        yield array[np.where(real, start + np.arange(size), start)], n
