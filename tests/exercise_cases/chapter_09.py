"""Plausible wrong answers to the exercises of chapter 9, the mistakes on show among them."""

import numpy as np


def length(a, axes=(1, 2, 3)):
    return np.maximum(np.sqrt((a**2).sum(axis=axes, keepdims=True)), 1e-12)


def box(points):
    return np.clip(points, 0, 1)


def moved(direction, clip=box):
    """Return an answer to the first exercise that moves along `direction(gradients, epsilon)`."""
    return lambda images, g, epsilon: clip(images + direction(g, epsilon))


def prepared_step(size, clip=True, sign=1):
    """Return an answer to the second exercise with a step of `size(epsilon, std)`."""

    def answer(prepared, gradients, epsilon, mean, std):
        points = prepared + sign * size(epsilon, std) * np.sign(gradients)
        return np.clip(points, -mean / std, (1 - mean) / std) if clip else points

    return answer


def clipped_to_pixels(prepared, gradients, epsilon, mean, std):
    return np.clip(prepared + epsilon / std * np.sign(gradients), 0, 1)


def in_pixels(prepared, gradients, epsilon, mean, std):
    return np.clip(prepared * std + mean + epsilon * np.sign(gradients), 0, 1)


def walk(project, from_start=True, sign=1, only=None):
    """Return an answer to the third exercise; project(moved, before, images, start, epsilon)."""

    def answer(gradient, images, start, epsilon, step_size, steps):
        points = start if from_start else images
        for _ in range(only or steps):
            moved = points + sign * step_size * np.sign(gradient(points))
            points = project(moved, points, images, start, epsilon)
        return points

    return answer


def ball(points, centre, epsilon):
    return np.clip(points, centre - epsilon, centre + epsilon)


no_box = walk(lambda moved, _, images, __, epsilon: ball(moved, images, epsilon))


def right_project(moved, _, images, __, epsilon):
    return box(ball(moved, images, epsilon))


def pull(scale, clip=box):
    """Return an answer to the fourth exercise that scales delta by `scale(delta, epsilon)`."""

    def answer(images, points, epsilon):
        delta = points - images
        return clip(images + delta * scale(delta, epsilon))

    return answer


def kept(which):
    """Return an answer to the fifth exercise that keeps, of [R, N], attempt `which(right)` [N]."""
    return lambda points, right: points[which(right), np.arange(points.shape[1])]


def loop_with_the_bitwise_inverse(points, right):
    best = points[0]
    for new, reads in zip(points, right, strict=True):
        best = np.where((~reads)[:, None, None, None], new, best)
    return best


def best_of_the_batch(right):
    return np.full(right.shape[1], (right == 0).sum(axis=1).argmax())


def best_of_each_batch(fooled, batches):
    survives = np.ones(fooled.shape[1], bool)
    for b in np.unique(batches):
        best = fooled[:, batches == b].sum(axis=1).argmax()
        survives[batches == b] = ~fooled[best, batches == b]
    return survives


def shares(correct, attacks):
    index = np.arange(len(correct))
    return np.array([(correct & ~attack(index)).mean() for attack in attacks])


def of_standing(correct, attacks):
    """Return who stands after all attacks, without asking who was read correctly before."""
    return ~np.any([attack(np.arange(len(correct))) for attack in attacks], axis=0)


def layer(statistics):
    """Return an answer to the eighth exercise with `statistics(features, mean, variance)`."""

    def answer(features, mean, variance, scale, shift, small):
        mean, variance = statistics(features, mean, variance)
        return scale * (features - mean) / np.sqrt(variance + small) + shift

    return answer


def without_root(features, mean, variance, scale, shift, small):
    return scale * (features - mean) / (variance + small) + shift


def without_scale(features, mean, variance, scale, shift, small):
    return (features - mean) / np.sqrt(variance + small)


def attacked_by(pick):
    """Return an answer to the ninth exercise where `pick(networks, i)` is (attacked, reader)."""

    def answer(networks, attack, reads):
        pairs = [pick(networks, i) for i in range(len(networks))]
        return np.array([reads(reader, attack(attacked)).mean() for attacked, reader in pairs])

    return answer


def of_all_attacks(networks, attack, reads):
    points = [attack(network) for network in networks]
    return np.array([np.mean([reads(n, p) for p in points]) for n in networks])


WRONG = {
    "check_step_of_epsilon": {
        "epsilon left out": moved(lambda g, epsilon: g / length(g)),
        "sign": moved(lambda g, epsilon: epsilon * np.sign(g)),
        "gradient not divided": moved(lambda g, epsilon: epsilon * g),
        "norm over the batch": moved(lambda g, epsilon: epsilon * g / length(g, (0, 1, 2, 3))),
        "downhill": moved(lambda g, epsilon: -epsilon * g / length(g)),
        "not clipped": moved(lambda g, epsilon: epsilon * g / length(g), clip=lambda x: x),
        "NaN where the gradient is zero": moved(
            lambda g, epsilon: epsilon * g / np.sqrt((g**2).sum(axis=(1, 2, 3), keepdims=True))
        ),
    },
    "check_step_in_pixels": {
        "epsilon in prepared units": prepared_step(lambda epsilon, std: epsilon, clip=False),
        "times std": prepared_step(lambda epsilon, std: epsilon * std),
        "not clipped": prepared_step(lambda epsilon, std: epsilon / std, clip=False),
        "clipped to the box of pixels": clipped_to_pixels,
        "returns pixels": in_pixels,
        "downhill": prepared_step(lambda epsilon, std: epsilon / std, sign=-1),
    },
    "check_walk": {
        "no box": no_box,
        "box once, at the end": lambda *arguments: box(no_box(*arguments)),
        "ball around the point before": walk(
            lambda moved, before, _, __, epsilon: box(ball(moved, before, epsilon))
        ),
        "ball around the start": walk(
            lambda moved, _, __, start, epsilon: box(ball(moved, start, epsilon))
        ),
        "start thrown away": walk(right_project, from_start=False),
        "downhill": walk(right_project, sign=-1),
        "one step": walk(right_project, only=1),
    },
    "check_pull_back": {
        "norm over the batch": pull(lambda d, e: np.minimum(1, e / length(d, (0, 1, 2, 3)))),
        "to the sphere": pull(lambda d, e: e / length(d)),
        "cut off pixel by pixel": lambda images, points, epsilon: box(
            ball(points, images, epsilon)
        ),
        "box only": pull(lambda d, e: 1),
        "not clipped": pull(lambda d, e: np.minimum(1, e / length(d)), clip=lambda x: x),
        "half-way": pull(lambda d, e: 0.5 * np.minimum(1, e / length(d))),
    },
    "check_kept_attempt": {
        "bitwise inverse of a byte": loop_with_the_bitwise_inverse,
        "turned round": kept(lambda right: right.argmax(axis=0)),
        "first of all": kept(lambda right: np.zeros(right.shape[1], int)),
        "best of the batch": kept(best_of_the_batch),
        "only the first two looked at": kept(lambda right: (right[:2] == 0).argmax(axis=0)),
    },
    "check_survivors": {
        "best attempt of each batch": best_of_each_batch,
        "one attempt for all": lambda fooled, _: ~fooled[fooled.sum(axis=1).argmax()],
        "last attempt": lambda fooled, _: ~fooled[-1],
        "all must fool": lambda fooled, _: ~fooled.all(axis=0),
        "the fallen": lambda fooled, _: fooled.any(axis=0),
    },
    "check_worst_case": {
        "average": lambda correct, attacks: shares(correct, attacks).mean(),
        "the strongest attack": lambda correct, attacks: shares(correct, attacks).min(),
        "the last attack": lambda correct, attacks: shares(correct, attacks)[-1],
        "misread images are robust": lambda *arguments: of_standing(*arguments).mean(),
        "share of the correct": lambda c, attacks: (c & of_standing(c, attacks)).sum() / c.sum(),
        "not divided": lambda c, attacks: (c & of_standing(c, attacks)).sum(),
    },
    "check_evaluation_mode": {
        "statistics of the batch": layer(lambda f, m, v: (f.mean(axis=0), f.var(axis=0))),
        "mean of the batch": layer(lambda f, m, v: (f.mean(axis=0), v)),
        "variance of the batch": layer(lambda f, m, v: (m, f.var(axis=0))),
        "each image's own": layer(
            lambda f, m, v: (f.mean(axis=1, keepdims=True), f.var(axis=1, keepdims=True))
        ),
        "no root": without_root,
        "no scale": without_scale,
    },
    "check_own_attack": {
        "made for the first network": attacked_by(lambda n, i: (n[0], n[i])),
        "made for the last network": attacked_by(lambda n, i: (n[-1], n[i])),
        "read by the first network": attacked_by(lambda n, i: (n[i], n[0])),
        "average over the attacks": of_all_attacks,
    },
    "check_gain": {
        "no baseline": lambda db, da, ub, ua: (db & da).mean(),
        "after only": lambda db, da, ub, ua: da.mean() - ua.mean(),
        "turned round": lambda db, da, ub, ua: (ub & ua).mean() - (db & da).mean(),
        "difference of the falls": lambda db, da, ub, ua: (ub & ~ua).mean() - (db & ~da).mean(),
        "ratio": lambda db, da, ub, ua: (db & da).mean() / (ub & ua).mean(),
        "one side only": lambda db, da, ub, ua: (db & da & ~(ub & ua)).mean(),
    },
}
