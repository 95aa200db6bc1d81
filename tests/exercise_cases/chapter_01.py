"""Plausible wrong answers to the exercises of chapter 1: each must be told what is wrong."""

import jax
import jax.numpy as jnp
import numpy as np

from robustlib import cross_entropy


def _bins(confidences, correct):
    """Return the share, the accuracy and the mean confidence of each bin that is not empty."""
    index = np.minimum((confidences * 10).astype(int), 9)
    inside = [index == b for b in np.unique(index)]
    return np.array([[i.mean(), correct[i].mean(), confidences[i].mean()] for i in inside]).T


def _unweighted(confidences, correct):
    _, accuracies, means = _bins(confidences, correct)
    return np.abs(accuracies - means).mean()


def _largest(confidences, correct):
    _, accuracies, means = _bins(confidences, correct)
    return np.abs(accuracies - means).max()


def _signed(confidences, correct):
    shares, accuracies, means = _bins(confidences, correct)
    return (shares * (accuracies - means)).sum()


def _without_one(confidences, correct):
    error = 0.0
    for b in range(10):
        inside = (confidences >= b / 10) & (confidences < (b + 1) / 10)
        if inside.any():
            gap = correct[inside].mean() - confidences[inside].mean()
            error += inside.mean() * abs(gap)
    return error


def _textbook(logits, labels):
    return -jnp.log(jax.nn.softmax(logits)[jnp.arange(len(labels)), labels])


def _capped(logits, labels):
    return -jnp.log(jax.nn.softmax(logits)[jnp.arange(len(labels)), labels] + 1e-9)


def _largest_of_batch(logits, labels):
    shifted = logits - logits.max()
    log_sum = jnp.log(jnp.exp(shifted).sum(axis=1))
    return log_sum - shifted[jnp.arange(len(labels)), labels]


def _not_added_back(logits, labels):
    log_sum = jnp.log(jnp.exp(logits - logits.max(axis=1, keepdims=True)).sum(axis=1))
    return log_sum - logits[jnp.arange(len(labels)), labels]


def _loss_at(logits, labels, t):
    return float(cross_entropy(logits / t, labels).mean())


def _best(logits, labels):
    candidates = np.geomspace(0.1, 10, 300)
    return candidates[np.argmin([_loss_at(logits, labels, t) for t in candidates])]


WRONG = {
    "check_expected_calibration_error": {
        "every bin counts alike": _unweighted,
        "the largest distance": _largest,
        "the signs cancel": _signed,
        "a confidence of 1 falls in no bin": _without_one,
        "no bins": lambda confidences, correct: np.abs(confidences - correct).mean(),
    },
    "check_stable_cross_entropy": {
        "the textbook formula overflows": _textbook,
        "a small number caps the loss": _capped,
        "one shift for the whole batch": _largest_of_batch,
        "the shift is taken out of the sum only": _not_added_back,
        "bits": lambda logits, labels: cross_entropy(logits, labels) / jnp.log(2),
        "the mean of the batch": lambda logits, labels: cross_entropy(logits, labels).mean(),
    },
    "check_temperature": {
        "multiplied, not divided": lambda logits, labels: 1 / _best(logits, labels),
        "the smallest loss": lambda logits, labels: _loss_at(logits, labels, _best(logits, labels)),
        "no temperature": lambda logits, labels: 1.0,
        "modest candidates only": lambda logits, labels: max(1.2, 1.5 * _best(logits, labels)),
    },
}
