"""Running over a split in batches of one size, so that everything compiles once."""

from collections.abc import Callable

import jax
import numpy as np

from robustlib import checks
from robustlib.logits import forward

Attack = Callable[..., jax.Array]

BATCH_SIZE = 200


def all_logits(logits_fn, images) -> np.ndarray:
    """Return the logits [N, K] of images [N, H, W, C]."""
    return np.concatenate([np.asarray(forward(logits_fn, b))[:n] for b, n in _padded(images)])


def classes_of(logits: np.ndarray) -> np.ndarray:
    """Return the predicted classes int [N]; -1, no class, where a logit is NaN."""
    return np.where(np.isnan(logits).any(axis=1), -1, logits.argmax(axis=1))


def predictions(logits_fn, images) -> np.ndarray:
    """Return the predicted classes int [N]; -1, no class, where a logit is NaN."""
    return classes_of(all_logits(logits_fn, images))


def count_as_broken(logits_fn, images, labels, threat, adversarial) -> np.ndarray:
    """Return bool [N]: inside ball and box, finite, and misclassified on a pass of their own."""
    inside = threat.contains(images, adversarial)
    return inside & (predictions(logits_fn, np.asarray(adversarial)) != labels)


def broken_by(attack, logits_fn, images, labels, threat, key) -> tuple[np.ndarray, np.ndarray]:
    """Attack all images in batches of one size, the start of each example its own.

    Returns:
        broken: bool [N], where the attack's image is misclassified (on a forward pass of its own),
            inside ball and box.
        outside: bool [N], where the attack's image is outside ball or box. It is not counted.
    """
    keys = checks.example_keys(key, len(labels))
    broken, outside = [], []
    for batch, n in _padded(np.arange(len(labels))):
        adversarial = attack(logits_fn, images[batch], labels[batch], threat, keys[batch])
        inside = threat.contains(images[batch], adversarial)
        wrong = classes_of(np.asarray(forward(logits_fn, adversarial))) != labels[batch]
        broken.append((wrong & inside)[:n])
        outside.append(~inside[:n])
    return np.concatenate(broken), np.concatenate(outside)


def _padded(array):
    """Yield (batch, number of real rows); the last batch is filled up with copies of its first."""
    for start in range(0, len(array), BATCH_SIZE):
        batch = array[start : start + BATCH_SIZE]
        n = len(batch)
        if n < BATCH_SIZE and len(array) > BATCH_SIZE:
            index = np.concatenate([np.arange(n), np.zeros(BATCH_SIZE - n, int)])
            batch = batch[index]
        yield batch, n
