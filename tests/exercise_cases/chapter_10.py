"""Plausible wrong answers to the exercises of chapter 10."""

import numpy as np


def softmax(logits):
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def gradient(logits, labels):
    return softmax(logits) - np.eye(logits.shape[1])[labels]


def overflowing(logits, labels):
    powers = np.exp(logits)
    return powers / powers.sum(axis=1, keepdims=True) - np.eye(logits.shape[1])[labels]


def one_corner(gradient):
    n, height, width, channels = gradient.shape
    back = np.zeros((n, 2 * height, 2 * width, channels))
    back[:, ::2, ::2] = gradient
    return back


def spread(gradient):
    return gradient.repeat(2, axis=1).repeat(2, axis=2)


def exact(weights):
    return 127 * weights / max(np.abs(weights).max(), 1e-30)


WRONG = {
    "check_logit_gradient": {
        "probabilities": lambda logits, labels: softmax(logits),
        "sign turned": lambda logits, labels: -gradient(logits, labels),
        "mean over images": lambda logits, labels: gradient(logits, labels) / len(labels),
        "the label alone": lambda logits, labels: (
            gradient(logits, labels) * np.eye(logits.shape[1])[labels]
        ),
        "ones at the labels": lambda logits, labels: np.eye(logits.shape[1])[labels],
        "it overflows": overflowing,
    },
    "check_mean_pool_back": {
        "weight of one": spread,
        "weight of a half": lambda gradient: spread(gradient) / 2,
        "one corner": one_corner,
        "tiled": lambda gradient: np.tile(gradient, (1, 2, 2, 1)) / 4,
        "sign turned": lambda gradient: -spread(gradient) / 4,
    },
    "check_in_bytes": {
        "cut off": lambda weights: exact(weights).astype(np.int8),
        "rounded down": lambda weights: np.floor(exact(weights)).astype(np.int8),
        "not rounded": exact,
        "not divided": lambda weights: np.round(127 * weights).astype(np.int8),
        "weights again": lambda weights: np.round(exact(weights)) * np.abs(weights).max() / 127,
        "no bytes": lambda weights: np.round(exact(weights)),
        "nothing to divide by": lambda weights: np.round(
            127 * weights / np.abs(weights).max()
        ).astype(np.int8),
    },
}
