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


def loop(project=None, *, at_the_end=False, sign=1, from_start=True, direction=np.sign):
    """Return an answer to the second exercise with one thing done otherwise."""

    def nearest(moved, points, images, epsilon):
        return np.clip(np.clip(moved, images - epsilon, images + epsilon), 0, 1)

    project = project or nearest

    def answer(gradient, images, start, epsilon, step_size, steps):
        points = start if from_start else images
        for _ in range(steps):
            moved = points + sign * step_size * direction(gradient(points))
            points = moved if at_the_end else project(moved, points, images, epsilon)
        return nearest(points, points, images, epsilon) if at_the_end else points

    return answer


def box(moved, points, images, epsilon):
    return np.clip(moved, 0, 1)


def ball(moved, points, images, epsilon):
    return np.clip(moved, images - epsilon, images + epsilon)


def previous_iterate(moved, points, images, epsilon):
    return np.clip(np.clip(moved, points - epsilon, points + epsilon), 0, 1)


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
    "check_pgd_loop": {
        "clipped to the box only": loop(box),
        "clipped to the ball only": loop(ball),
        "projected around the previous iterate": loop(previous_iterate),
        "projected once at the end": loop(at_the_end=True),
        "downhill": loop(sign=-1),
        "start thrown away": loop(from_start=False),
        "gradient in place of its sign": loop(direction=lambda gradient: gradient),
    },
    "check_best_restart": {
        "highest loss": highest_loss,
        "best of the batch": best_of_the_batch,
        "first success": first_success,
        "failures rank alike": no_loss_without_success,
        "last restart": last_restart,
    },
}
