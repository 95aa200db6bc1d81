"""Plausible wrong answers to the exercises of chapter 8."""

import numpy as np


def sizes(delta):
    return np.abs(delta).sum(axis=1, keepdims=True)


def threshold(delta, epsilon):
    ordered = -np.sort(-np.abs(delta), axis=1)
    excess = (np.cumsum(ordered, axis=1) - epsilon) / np.arange(1, delta.shape[1] + 1)
    last = (ordered > excess).sum(axis=1) - 1
    return np.maximum(excess[np.arange(len(delta)), last], 0)[:, None]


def soft(delta, amount):
    return np.sign(delta) * np.maximum(np.abs(delta) - amount, 0)


def scaled(delta, epsilon):
    return delta * np.minimum(1, epsilon / sizes(delta))


def to_the_surface(delta, epsilon):
    return delta * epsilon / sizes(delta)


def cut_off(delta, epsilon):
    return np.clip(delta, -epsilon, epsilon)


def euclidean(delta, epsilon):
    return delta * np.minimum(1, epsilon / np.sqrt((delta**2).sum(axis=1, keepdims=True)))


def without_signs(delta, epsilon):
    return np.maximum(np.abs(delta) - threshold(delta, epsilon), 0)


def one_threshold(delta, epsilon):
    return soft(delta, threshold(delta.reshape(1, -1), epsilon))


def past_zero(delta, epsilon):
    """Take the excess from all entries alike, also from those that have less."""
    each = np.maximum(sizes(delta) - epsilon, 0) / delta.shape[1]
    return np.sign(delta) * (np.abs(delta) - each)


def too_short(delta, epsilon):
    """Shorten by the average excess, and stop at zero: the ball is not reached."""
    return soft(delta, np.maximum(sizes(delta) - epsilon, 0) / delta.shape[1])


def counted(predictions, labels, k=5):
    reached = predictions == np.arange(k)[:, None]
    return np.stack([reached[:, labels == c].sum(axis=1) for c in range(k)]).astype(float)


def class_sizes(labels, k=5):
    return np.bincount(labels, minlength=k)[:, None]


def shares(predictions, labels):
    return counted(predictions, labels) / class_sizes(labels)


def emptied(matrix):
    return matrix * (1 - np.eye(len(matrix)))


def any_wrong_answer(predictions, labels):
    wrong = predictions != labels
    return emptied(np.stack([wrong[:, labels == c].mean(axis=1) for c in range(5)]))


def universal(*, sign=1, ball=True, at=None, direction=None, start=True):
    """Return an answer to the third exercise with one thing done otherwise."""

    def answer(gradient, images, delta, epsilon, step_size):
        points = np.clip(images + delta, 0, 1) if at is None else at(images, delta)
        g = gradient(points)
        step = np.sign(g.sum(axis=0)) if direction is None else direction(g)
        moved = start * delta + sign * step_size * step
        return np.clip(moved, -epsilon, epsilon) if ball else moved

    return answer


def brighter_only(gradient, images, delta, epsilon, step_size):
    g = gradient(np.clip(images + delta, 0, 1)).sum(axis=0)
    return np.clip(delta + step_size * np.sign(g), 0, epsilon)


def own_perturbations(gradient, images, delta, epsilon, step_size):
    g = gradient(np.clip(images + delta, 0, 1))
    return np.clip(delta + step_size * np.sign(g), -epsilon, epsilon)


def units(radius=None, low=None, high=None):
    """Return an answer to the fourth exercise with one row of its own."""

    def answer(epsilon, mean, std):
        rows = epsilon / std, -mean / std, (1 - mean) / std
        others = radius, low, high
        pairs = zip(rows, others, strict=True)
        return np.stack([r if o is None else o(epsilon, mean, std) for r, o in pairs])

    return answer


WRONG = {
    "check_l1_projection": {
        "scaled": scaled,
        "scaled to the surface": to_the_surface,
        "cut off as in l-inf": cut_off,
        "the l-2 ball": euclidean,
        "signs lost": without_signs,
        "one threshold for the batch": one_threshold,
        "past zero": past_zero,
        "does not arrive": too_short,
    },
    "check_success_matrix": {
        "transposed": lambda p, y: emptied(shares(p, y)).T,
        "diagonal kept": shares,
        "counts": lambda p, y: emptied(counted(p, y)),
        "share of all images": lambda p, y: emptied(counted(p, y) / len(y)),
        "any wrong answer": any_wrong_answer,
    },
    "check_universal_step": {
        "downhill": universal(sign=-1),
        "leaves the ball": universal(ball=False),
        "brighter only": brighter_only,
        "at the clean images": universal(at=lambda images, delta: images),
        "outside the box": universal(at=lambda images, delta: images + delta),
        "votes": universal(direction=lambda g: np.sign(np.sign(g).sum(axis=0))),
        "no sign": universal(direction=lambda g: g.sum(axis=0)),
        "from zero": universal(start=False),
        "one for each image": own_perturbations,
    },
    "check_normalised_units": {
        "multiplied": units(radius=lambda e, mean, std: e * std),
        "not converted": units(radius=lambda e, mean, std: e + 0 * std),
        "moved by the mean": units(radius=lambda e, mean, std: (e - mean) / std),
        "one radius": units(radius=lambda e, mean, std: (e / std).mean() + 0 * std),
        "box of pixels": units(
            low=lambda e, mean, std: 0 * std, high=lambda e, mean, std: 1 + 0 * std
        ),
        "mean forgotten": units(
            low=lambda e, mean, std: 0 * std, high=lambda e, mean, std: 1 / std
        ),
    },
}
