"""Plausible wrong answers to the exercises of chapter 5."""

import numpy as np


def box_only(images, points, epsilon):
    return np.clip(points, 0, 1)


def ball_only(images, points, epsilon):
    return np.clip(points, images - epsilon, images + epsilon)


def scaled(images, points, epsilon):
    """Shorten the whole perturbation: allowed, but not nearest."""
    delta = np.clip(points, 0, 1) - images
    size = np.abs(delta).max(axis=(1, 2, 3), keepdims=True)
    return images + delta * np.minimum(1, epsilon / size)


def length(a, axes=(1, 2, 3)):
    return np.maximum(np.sqrt((a**2).sum(axis=axes, keepdims=True)), 1e-12)


def own_direction(g):
    return g / length(g)


def ball(delta, epsilon):
    return delta * np.minimum(1, epsilon / length(delta))


def box(points):
    return np.clip(points, 0, 1)


def l2(*, direction=own_direction, pull=ball, clip=box, sign=1, from_start=True, only=None):
    """Return an answer to the second exercise with one thing done otherwise."""

    def answer(gradient, images, start, epsilon, step_size, steps):
        points = start if from_start else images
        for _ in range(only or steps):
            moved = points + sign * step_size * direction(gradient(points))
            points = clip(images + pull(moved - images, epsilon))
        return points

    return answer


def over_the_batch(a):
    return length(a, (0, 1, 2, 3))


def at_the_end(gradient, images, start, epsilon, step_size, steps):
    free = l2(pull=lambda delta, epsilon: delta, clip=lambda points: points)
    moved = free(gradient, images, start, epsilon, step_size, steps)
    return images + ball(box(moved) - images, epsilon)


def highest_loss(fooled, losses):
    return losses.argmax(axis=0)


def best_of_the_batch(fooled, losses):
    return np.full(fooled.shape[1], fooled.sum(axis=1).argmax())


def first_success(fooled, losses):
    return fooled.argmax(axis=0)


def no_loss_without_success(fooled, losses):
    return np.where(fooled, losses, -np.inf).argmax(axis=0)


def last_restart(fooled, losses):
    return np.full(fooled.shape[1], len(fooled) - 1)


WRONG = {
    "check_projection": {"box only": box_only, "ball only": ball_only, "scaled": scaled},
    "check_pgd_l2": {
        "norm over the whole batch": l2(
            direction=lambda g: g / over_the_batch(g),
            pull=lambda delta, e: delta * np.minimum(1, e / over_the_batch(delta)),
        ),
        "pulled to the sphere": l2(pull=lambda delta, epsilon: epsilon * own_direction(delta)),
        "not clipped": l2(clip=lambda points: points),
        "not pulled back": l2(pull=lambda delta, epsilon: delta),
        "ball of l-inf": l2(pull=lambda delta, epsilon: np.clip(delta, -epsilon, epsilon)),
        "step of l-inf": l2(direction=np.sign),
        "gradient not divided": l2(direction=lambda gradient: gradient),
        "NaN where the gradient is zero": l2(
            direction=lambda g: g / np.sqrt((g**2).sum(axis=(1, 2, 3), keepdims=True))
        ),
        "came back once at the end": at_the_end,
        "start thrown away": l2(from_start=False),
        "downhill": l2(sign=-1),
        "one step": l2(only=1),
    },
    "check_best_restart": {
        "highest loss": highest_loss,
        "best of the batch": best_of_the_batch,
        "first success": first_success,
        "failures rank alike": no_loss_without_success,
        "last restart": last_restart,
    },
}
