"""Checkers for the exercises of the chapter on threat models: see `robustlib.exercises`."""

import numpy as np

from robustlib.verdicts import array_of, call, checker, expect


def _not_constant(found, entry):
    """Return an answer unless it is one number throughout."""
    expect(np.ptp(found) > 0, f"the answer is {found.flat[0]:.3g} for every {entry}.")
    return found


def _told_apart(found, mistakes):
    for mistake, sentence in mistakes:
        expect(not np.allclose(found, mistake, rtol=1e-4, atol=1e-5), sentence)


def _soft(delta, threshold):
    return np.sign(delta) * np.maximum(np.abs(delta) - threshold, 0)


def _threshold(delta, epsilon):
    """Return by how much each row [D] of delta is shortened to fit, [N, 1] (Duchi and others)."""
    sizes = -np.sort(-np.abs(delta), axis=1)
    excess = (np.cumsum(sizes, axis=1) - epsilon) / np.arange(1, delta.shape[1] + 1)
    last = (sizes >= excess).sum(axis=1, keepdims=True) - 1
    return np.maximum(np.take_along_axis(excess, last, axis=1), 0)


@checker(right="it is allowed, nothing allowed is nearer, and what was inside stays.")
def check_l1_projection(answer, rng):
    """Check the projection of changes [N, D] on the l-1 ball of radius epsilon, without a box."""
    epsilon, delta = float(rng.uniform(1, 2)), rng.normal(size=(8, 12)) ** 3
    sizes = np.abs(delta).sum(axis=1, keepdims=True)
    share = np.where(np.arange(8)[:, None] < 3, rng.uniform(0.4, 0.9, (8, 1)), rng.uniform(3.5, 5))
    delta *= (
        share * epsilon / sizes
    )  # three of them inside, five outside in l-2 too: sqrt(12) < 3.5
    found = _not_constant(array_of(call(answer, delta, epsilon), delta.shape), "entry")
    outside = np.arange(8)[:, None] >= 3
    right = _soft(delta, _threshold(delta, epsilon))
    lengths = np.abs(delta).sum(axis=1, keepdims=True)
    euclid = np.sqrt((delta**2).sum(axis=1, keepdims=True))
    all_of_them = _soft(delta, _threshold(delta.reshape(1, -1), epsilon))
    order = np.argsort(np.argsort(-np.abs(delta), axis=1), axis=1)
    kept = np.where(order < (right != 0).sum(axis=1, keepdims=True), delta, 0)
    everything = np.sign(delta) * (np.abs(delta) - np.maximum(lengths - epsilon, 0) / 12)
    scaled = delta * np.minimum(1, epsilon / lengths)
    _told_apart(
        found,
        (
            (delta, "these are the changes that were given: those outside have to move."),
            (scaled, "all entries are scaled alike: that is allowed, but not the nearest."),
            (
                np.where(outside, right, delta * epsilon / lengths),
                "a change inside the ball was moved to its surface: it is its own nearest point.",
            ),
            (delta * epsilon / lengths, "scaled to the surface: short changes grew, too."),
            (np.clip(delta, -epsilon, epsilon), "each entry was cut off at ε: that is l-inf's."),
            (delta * np.minimum(1, epsilon / euclid), "this is the nearest point of the l-2 ball."),
            (np.abs(right), "the signs are lost: shorten the absolute values, then restore them."),
            (all_of_them, "one threshold for all the rows: each row has its own."),
            (kept, "the large entries are kept whole: the threshold shortens them as well."),
            (everything, "an entry passed zero: when it arrives there, it stays."),
        ),
    )
    excess = np.abs(found).sum(axis=1).max() - epsilon
    expect(excess < 1e-4, f"a row sticks out of the ball by {excess:.2g}.")
    worst = np.abs(found - right).max(axis=1).argmax()
    expect(
        np.allclose(found, right, rtol=1e-4, atol=1e-5),
        f"row {worst} is allowed, but another point of the ball is nearer.",
    )


@checker(right="true class by target, in shares, and nothing on the diagonal.")
def check_success_matrix(answer, rng):
    """Check the shares [K, K] that targeted attacks bring from a class to a target."""
    k, n = 5, 300
    labels = rng.choice(k, n, p=[0.1, 0.15, 0.2, 0.25, 0.3])
    labels[:k] = np.arange(k)
    hit = rng.random((k, n)) < rng.uniform(0.1, 0.9, (k, k))[:, labels]
    predictions = np.where(hit, np.arange(k)[:, None], labels)
    stray = ~hit & (rng.random((k, n)) < 0.3)
    predictions = np.where(stray, (labels + 1) % k, predictions)
    reached = predictions == np.arange(k)[:, None]  # [target, image]
    of_class = labels == np.arange(k)[:, None]  # [class, image]
    counts = of_class.astype(float) @ reached.T
    sizes, off = of_class.sum(axis=1, keepdims=True), 1 - np.eye(k)
    wrong = (of_class.astype(float) @ (predictions != labels).T) / sizes
    found = _not_constant(array_of(call(answer, predictions, labels), (k, k)), "pair")
    right = off * counts / sizes
    _told_apart(
        found,
        (
            (right.T, "it lies on its side: a row is a true class, a column a target."),
            (counts / sizes, "the diagonal is no attack: set it to 0."),
            (off * counts, "these are counts: divide by the number of images of the class."),
            (off * counts / n, "divide by the images of the class, not by all images."),
            (off * wrong, "any wrong answer was counted: only the target is a success."),
            (wrong, "any wrong answer was counted, on the diagonal too."),
            (
                off * counts / np.maximum(reached.sum(axis=1), 1),
                "divide by the images of the true class, not by those that reached the target.",
            ),
        ),
    )
    i, j = np.unravel_index(np.abs(found - right).argmax(), (k, k))
    sentence = f"from {i} to {j}, {found[i, j]:.3f} was given and {right[i, j]:.3f} expected."
    expect(np.allclose(found, right, atol=1e-5), sentence)


@checker(right="one step for all images together, and inside the ball.")
def check_universal_step(answer, rng):
    """Check one step [H, W, C] of a universal perturbation in l-inf, from images [N, H, W, C]."""
    images = rng.random((6, 16, 16, 1)).round()  # the box is sure to matter
    epsilon, step_size = float(rng.uniform(0.2, 0.3)), float(rng.uniform(0.05, 0.1))
    delta = rng.uniform(-epsilon, epsilon, images.shape[1:])
    centre, slopes = rng.random(images.shape), rng.uniform(0.2, 3, images.shape) ** 3

    def gradient(points):
        return slopes * (np.asarray(points) - centre)

    def ball(delta):
        return np.clip(delta, -epsilon, epsilon)

    shown = np.clip(images + delta, 0, 1)
    total, signs = gradient(shown).sum(axis=0), np.sign(gradient(shown)).sum(axis=0)
    unclipped = gradient(images + delta).sum(axis=0)
    arguments = gradient, images, delta, epsilon, step_size
    found = _not_constant(array_of(call(answer, *arguments), delta.shape), "pixel")
    right = ball(delta + step_size * np.sign(total))
    _told_apart(
        found,
        (
            (delta, "this is the perturbation that was given: take the step."),
            (ball(delta - step_size * np.sign(total)), "the loss falls: step along the gradient."),
            (
                delta + step_size * np.sign(total),
                "it leaves the ball: come back to [-ε, ε] in every pixel.",
            ),
            (
                np.clip(delta + step_size * np.sign(total), 0, epsilon),
                "the perturbation was clipped to [0, ε]: a pixel may become darker as well.",
            ),
            (
                ball(delta + step_size * np.sign(gradient(images).sum(axis=0))),
                "the gradient is that at the clean images: add the perturbation first.",
            ),
            (
                ball(delta + step_size * np.sign(unclipped)),
                "the gradient was taken outside the box: clip what the network is shown.",
            ),
            (
                ball(delta + step_size * np.sign(signs)),
                "the images voted with one sign each: add up their gradients, then take the sign.",
            ),
            (ball(delta + step_size * total), "the step is the gradient itself: take its sign."),
            (
                ball(step_size * np.sign(total)),
                "it began at zero: add the step to the perturbation.",
            ),
            (
                ball(delta + step_size * np.sign(gradient(shown)[0])),
                "one image decided for all: add up the gradients of all the images.",
            ),
        ),
    )
    n = int((np.abs(found - right) > 1e-5).sum())
    expect(n == 0, f"{n} of {right.size} pixels are not where one step leads.")


@checker(right="the same ball and the same box, in the units of the normalised image.")
def check_normalised_units(answer, rng):
    """Check radius, lowest and highest value [3, C] of normalised pixels, from pixel units."""
    epsilon, mean, std = 8 / 255, rng.uniform(0.3, 0.6, 3), rng.uniform(0.15, 0.35, 3)
    found = _not_constant(array_of(call(answer, epsilon, mean, std), (3, 3)), "entry")
    radius, low, high = epsilon / std, -mean / std, (1 - mean) / std
    right = np.stack([radius, low, high])
    flat = np.full(3, epsilon)
    _told_apart(
        found,
        (
            (right.T, "it lies on its side: the rows are radius, lowest and highest value."),
            (np.stack([radius, high, low]), "the lowest value comes before the highest."),
        ),
    )
    _told_apart(
        found[0],
        (
            (flat, "the radius is still in pixel units."),
            (epsilon * std, "the radius was multiplied: normalising divides by the deviation."),
            (
                (epsilon - mean) / std,
                "the radius was moved by the mean: a difference of two images has none.",
            ),
            (np.full(3, radius.mean()), "each channel has a radius of its own."),
        ),
    )
    expect(
        not np.allclose(found[1:], [[0] * 3, [1] * 3], atol=1e-5),
        "the box is still that of pixels: normalise black and white as well.",
    )
    expect(
        not np.allclose(found[1:], [-radius, radius], atol=1e-5),
        "rows two and three are the ball again: they are the values of black and of white.",
    )
    expect(
        not np.allclose(found[1:], [0 / std, 1 / std], atol=1e-5),
        "subtract the mean before you divide: black and white are points, not differences.",
    )
    i, j = np.unravel_index(np.abs(found - right).argmax(), right.shape)
    row = ("radius", "lowest value", "highest value")[i]
    sentence = f"the {row} of channel {j} is {found[i, j]:.3f}, {right[i, j]:.3f} was expected."
    expect(np.allclose(found, right, rtol=1e-4, atol=1e-5), sentence)
