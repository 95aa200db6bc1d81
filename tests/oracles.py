"""Slow answers in float64 NumPy, written without a look at how robustlib finds its own.

Arrays are rows: one example a row, its pixels along the row.
"""

import numpy as np


def steepest_value(points, gradients, radius, norm):
    """Return the largest `<g, d>` over `|d| <= radius` with `points + d` in [0, 1], each row's.

    For l-2 it is the minimum, over a multiplier m > 0, of the dual function
    `max_d <g, d> - m / 2 (|d|^2 - radius^2)`, d in the box: an upper bound for every m, and tight
    at the best. The dual is convex in log m only near its minimum, so a grid comes first.
    """
    lower, upper = -points, 1 - points
    if norm == "l-inf":
        corner = np.where(gradients > 0, np.minimum(upper, radius), np.maximum(lower, -radius))
        return (gradients * corner).sum(axis=1)
    if norm == "l-1":  # the dual is linear between the sizes of the gradient's entries
        size, room = np.abs(gradients), np.where(gradients > 0, upper, -lower)
        kinks = np.concatenate([np.zeros((len(points), 1)), size], axis=1)
        gains = np.maximum(size[:, None] - kinks[:, :, None], 0) * room[:, None]
        return (kinks * radius + gains.sum(axis=2)).min(axis=1)

    def dual(log_m):  # log_m [N] -> [N]
        m = np.exp(log_m)[:, None]
        d = np.clip(gradients / m, lower, upper)
        return (gradients * d - m / 2 * d**2).sum(axis=1) + m[:, 0] / 2 * radius**2

    grid = np.linspace(-40, 40, 801)
    values = np.stack([dual(np.full(len(points), log_m)) for log_m in grid])
    best = grid[values.argmin(axis=0)]
    left, right = best - 0.1, best + 0.1
    for _ in range(80):
        a, b = left + (right - left) / 3, right - (right - left) / 3
        smaller = dual(a) < dual(b)
        left, right = np.where(smaller, left, a), np.where(smaller, b, right)
    corner = np.abs(gradients) * np.where(gradients > 0, upper, -lower)
    return np.minimum(dual((left + right) / 2), corner.sum(axis=1))


def nearest(images, points, epsilon, norm):
    """Return the nearest point to each of `points` in ball and box: by Dykstra's algorithm."""

    def into_ball(x):
        delta = x - images
        if norm == "l-inf":
            return images + np.clip(delta, -epsilon, epsilon)
        if norm == "l-1":
            return images + np.array([_into_l1_ball(row, epsilon) for row in delta])
        length = np.linalg.norm(delta, axis=1, keepdims=True)
        return images + delta * np.minimum(1, epsilon / np.maximum(length, 1e-300))

    x, p, q = points, np.zeros_like(points), np.zeros_like(points)
    for _ in range(3000):
        y = into_ball(x + p)
        p = x + p - y
        new = np.clip(y + q, 0, 1)
        q = y + q - new
        if np.abs(new - x).max() < 1e-12:
            break
        x = new
    return new


def _into_l1_ball(delta, radius):
    """Return the nearest point of the l-1 ball: the entries that stay lose one common amount."""
    if np.abs(delta).sum() <= radius:
        return delta
    falling = np.sort(np.abs(delta))[::-1]
    amounts = (np.cumsum(falling) - radius) / np.arange(1, len(delta) + 1)
    amount = amounts[np.flatnonzero(falling > amounts)[-1]]
    return np.sign(delta) * np.maximum(np.abs(delta) - amount, 0)


def steepest_point(points, gradients, radius, norm):
    """Return the points after the steepest step in the box, each row's: the step of `plain_pgd`."""
    lower, upper = -points, 1 - points
    if norm == "l-inf":
        return points + np.clip(radius * np.sign(gradients), lower, upper)
    largest = np.abs(gradients).max(axis=1, keepdims=True)
    gradients = gradients / np.where(largest > 0, largest, 1)
    low, high = np.zeros((len(points), 1)), np.full((len(points), 1), 1e6)
    for _ in range(80):
        middle = (low + high) / 2
        step = np.clip(middle * gradients, lower, upper)
        short = np.linalg.norm(step, axis=1, keepdims=True) <= radius
        low, high = np.where(short, middle, low), np.where(short, high, middle)
    return points + np.clip(low * gradients, lower, upper)


def plain_pgd(gradient, loss, fools, images, starts, threat, step_size, steps):
    """PGD with one Python loop for each thing that is repeated.

    Args:
        gradient: points [N, ...] -> gradients of the loss.
        loss: points [N, ...] -> losses [N].
        fools: points [N, ...] -> bool [N].
        images: [N, ...].
        starts: one [N, ...] a restart.
        threat: the name of its norm and its radius.
        step_size: in the same units.
        steps: steps a restart.

    Returns:
        points [N, ...], fooled [N].
    """
    (norm, epsilon), rows = threat, lambda a: np.float64(a).reshape(len(a), -1)
    answer, answer_loss = images.copy(), np.full(len(images), -np.inf)
    fooled = np.zeros(len(images), bool)
    for start in starts:
        points, before = start, fooled.copy()
        for step in range(steps + 1):
            losses, success = loss(points), fools(points)
            for i in range(len(images)):
                if before[i]:
                    continue  # an earlier restart has fooled it
                if (success[i], losses[i]) > (fooled[i], answer_loss[i]):
                    answer[i], fooled[i], answer_loss[i] = points[i], success[i], losses[i]
            if step < steps:
                moved = steepest_point(rows(points), rows(gradient(points)), step_size, norm)
                points = nearest(rows(images), moved, epsilon, norm)
                points = points.astype(np.float32).reshape(images.shape)
    return answer, fooled


def plain_apgd(gradient, loss, fools, images, starts, threat, steps):
    """Auto-PGD as algorithm 1 of Croce and Hein (2020) has it, the decisions example by example.

    Arguments and results are those of `plain_pgd`, with one start and no step size.
    """
    (norm, epsilon), n, rows = threat, len(images), lambda a: np.float64(a).reshape(len(a), -1)
    ends = [0, 0.22]
    while ends[-1] < 1:
        ends.append(ends[-1] + max(ends[-1] - ends[-2] - 0.03, 0.06))
    ends = [int(np.ceil(round(end * steps, 9))) for end in ends if round(end, 9) <= 1]

    def column(size):
        return size[:, None]

    points, before, slope = starts, starts, gradient(starts)
    best, best_slope, best_loss = starts.copy(), np.array(slope), np.array(loss(starts))
    fooled, checked, halved = fools(starts), np.array(loss(starts)), np.zeros(n, bool)
    size, losses = np.full(n, 2.0 * epsilon), [loss(starts)]
    for k in range(steps):
        here, last, g = rows(points), rows(before), rows(slope)
        g = np.sign(g) if norm == "l-inf" else g / np.linalg.norm(g, axis=1, keepdims=True)
        ahead = nearest(rows(images), here + column(size) * g, epsilon, norm)
        share = 1.0 if k == 0 else 0.75
        moved = here + share * (ahead - here) + (1 - share) * (here - last)
        new = nearest(rows(images), moved, epsilon, norm).astype(np.float32)
        new, before = np.where(column(fooled), here, new).astype(np.float32), points
        points = new.reshape(images.shape)
        slope = np.array(gradient(points))
        losses.append(loss(points))
        for i in np.flatnonzero(~fooled):
            if fools(points)[i] or losses[-1][i] > best_loss[i]:
                best[i], best_slope[i], best_loss[i] = points[i], slope[i], losses[-1][i]
        fooled = fooled | fools(points)
        if k + 1 in ends[1:]:
            begin = ends[ends.index(k + 1) - 1]
            for i in np.flatnonzero(~fooled):
                rises = sum(losses[j + 1][i] > losses[j][i] for j in range(begin, k + 1))
                slow = rises < 0.75 * (k + 1 - begin)
                stuck = not halved[i] and best_loss[i] <= checked[i]
                halved[i] = slow or stuck
                if halved[i]:
                    size[i] /= 2
                    points[i], slope[i] = best[i], best_slope[i]
                checked[i] = best_loss[i]
    return best, fooled
