"""Running over a split in batches of few sizes, so that what is compiled serves again."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np

from robustlib import checks
from robustlib.logits import forward

Attack = Callable[..., jax.Array]

# The smallest of these that holds all examples is used, or else the largest.
_SIZES = (16, 64, 128, 200)


def all_logits(logits_fn, images) -> np.ndarray:
    """Return the logits [N, K] of images [N, H, W, C]."""
    batches = ((images[rows], n) for rows, n in _padded(len(images)))
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
    """Attack all images in batches, the start of each example its own."""
    keys = checks.example_keys(key, len(labels))
    verdicts = []
    for rows, n in _padded(len(labels)):
        where = (logits_fn, images[rows], labels[rows], threat)
        verdict = judge(*where, attack(*where, keys[rows]))
        verdicts.append([part[:n] for part in verdict])
    return Verdict(*(np.concatenate(parts) for parts in zip(*verdicts, strict=True)))


def _padded(n: int):
    """Yield (rows, how many of them are new); the last batch is filled up with its first row."""
    size = next((size for size in _SIZES if size >= n), _SIZES[-1])
    for start in range(0, n, size):
        rows = start + np.arange(size)
        yield np.where(rows < n, rows, start), min(size, n - start)
