"""Checkers for the bug museum's attacks, exhibits 1 to 5: see `robustlib.exercises`."""

import numpy as np

from robustlib.verdicts import array_of, call, checker, expect


def _length(a, axes=(1, 2, 3)):
    return np.maximum(np.sqrt((a**2).sum(axis=axes, keepdims=True)), 1e-12)


def _box(points):
    return np.clip(points, 0, 1)


def _varied(found):
    """Return an answer unless it is one number throughout."""
    expect(np.ptp(found) > 0, f"every pixel is {found.flat[0]:.2f}: where did the images go?")
    return found


def _like(found, mistake):
    return np.allclose(found, mistake, rtol=1e-4, atol=1e-4)


@checker(right="each image moves by epsilon along its own gradient, for every epsilon.")
def check_step_of_epsilon(answer, rng):
    """Check the l-2 step, from images, gradients [N, H, W, C] and epsilon to images."""
    images, epsilon = rng.random((6, 5, 5, 1)).round(1), float(rng.uniform(1.5, 2.5))
    g = rng.normal(size=images.shape) * 10 ** rng.uniform(-3, 1, (6, 1, 1, 1))
    g[0] = 0  # an image with no gradient stays
    arguments = [array.astype(np.float32) for array in (images, g)]
    found = _varied(array_of(call(answer, *arguments, epsilon), images.shape))
    one, crowd = g / _length(g), g / _length(g, (0, 1, 2, 3))
    for mistake, sentence in (
        (images, "these are the images that were given: take the step."),
        (g, "these are the gradients: return images."),
        (_box(images + one), "the step has length 1, whatever epsilon is: where does it come in?"),
        (_box(images + epsilon * np.sign(g)), "this is the step of l-inf: follow the gradient."),
        (_box(images + epsilon * g), "the gradient keeps its length: divide by it."),
        (_box(images + epsilon * crowd), "one length for the whole batch: take each image's own."),
        (_box(images - epsilon * one), "the loss falls: step along the gradient, not against it."),
    ):
        expect(not _like(found, mistake), sentence)
    outside = max(found.max() - 1, -found.min())
    expect(outside < 1e-6, f"pixels leave [0, 1], by up to {outside:.2f}: clip.")
    far = np.abs(found - _box(images + epsilon * one)).max()
    expect(far < 1e-4, f"a pixel is {far:.2g} from where it belongs, with epsilon {epsilon:.2f}.")


@checker(right="epsilon is counted in pixels, and so is the box.")
def check_step_in_pixels(answer, rng):
    """Check the sign step on prepared images, from them, gradients, epsilon, mean, std to them."""
    images, epsilon = rng.random((6, 4, 4, 3)), float(rng.uniform(0.1, 0.2))
    mean, std = rng.uniform(0.3, 0.5, 3), rng.uniform(0.2, 0.35, 3)
    g, prepared = rng.normal(size=images.shape), (images - mean) / std
    lower, upper = -mean / std, (1 - mean) / std
    found = _varied(array_of(call(answer, prepared, g, epsilon, mean, std), images.shape))
    right, loose = (
        np.clip(prepared + epsilon * s * np.sign(g), lower, upper) for s in (1 / std, 1)
    )
    units = "epsilon was taken in prepared units, so a pixel moves by less: where does std come in?"
    for mistake, sentence in (
        (prepared, "these are the images that were given: take the step."),
        (g, "these are the gradients: return images."),
        (loose, units),
        (prepared + epsilon * np.sign(g), units),
        (
            np.clip(prepared + epsilon * std * np.sign(g), lower, upper),
            "epsilon times std makes the step smaller still: which way do pixels become prepared?",
        ),
        (right * std + mean, "these are pixels: return prepared images."),
        (
            np.clip(prepared - epsilon / std * np.sign(g), lower, upper),
            "the loss falls: step along the gradient, not against it.",
        ),
        (
            np.clip(prepared + epsilon / std * np.sign(g), 0, 1),
            "prepared images were clipped to [0, 1]: that is the box of pixels.",
        ),
        (np.clip(prepared + epsilon / std * g, lower, upper), "take the sign of the gradient."),
    ):
        expect(not _like(found, mistake), sentence)
    pixels = found * std + mean
    outside = max(pixels.max() - 1, -pixels.min())
    expect(
        outside < 1e-5, f"pixels leave [0, 1], by up to {outside:.2f}: clip them in their units."
    )
    far = np.abs(pixels - (right * std + mean)).max()
    expect(far < 1e-4, f"a pixel is {far:.2g} from where it belongs, with epsilon {epsilon:.2f}.")


@checker(right="it comes back to ball and box after every step.")
def check_walk(answer, rng):
    """Check the last point of PGD in l-inf, from a gradient, images, a start and three numbers."""
    shape, unit = (8, 6, 6, 1), 1 / 64  # multiples of it, so that no sum is rounded
    images = rng.choice([0, 1, 2, 3, 32, 61, 62, 63, 64], shape) * unit
    epsilon, step_size, steps = int(rng.integers(14, 19)) * unit, 3 * unit, int(rng.integers(9, 13))
    target = np.where(
        rng.random(shape) < 0.5, images + rng.choice([-20.5, 20.5], shape) * unit, images
    )
    target = target + rng.choice([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5], shape) * unit
    start = _box(images + rng.integers(-8, 9, shape) * unit)

    def gradient(points):
        return target - np.asarray(points, np.float64)

    def ball(points, centre=images):
        return np.clip(points, centre - epsilon, centre + epsilon)

    def walk(project, start=start, steps=steps, sign=1, at=lambda points: points):
        points = start
        for _ in range(steps):
            moved = points + sign * step_size * np.sign(gradient(at(points)))
            points = project(moved, points)
        return points

    def right(moved, _):
        return _box(ball(moved))

    arguments = gradient, images, start, epsilon, step_size, steps
    found = _varied(array_of(call(answer, *arguments), shape))
    free = walk(lambda moved, _: ball(moved))
    for mistake, sentence in (
        (images, "these are the images that were given: take the steps."),
        (start, "this is the start that was given: take the steps."),
        (free, "pixels leave [0, 1]: clip to the box as well, at every step."),
        (_box(free), "the box comes once, at the end: clip to it at every step."),
        (
            walk(lambda moved, before: _box(ball(moved, before))),
            "it wanders: draw the ball around the image, not around the point before.",
        ),
        (
            walk(lambda moved, _: _box(ball(moved, start))),
            "the ball is drawn around the start: draw it around the image.",
        ),
        (walk(right, start=images), "begin at the start that is given."),
        (walk(right, sign=-1), "it goes downhill."),
        (walk(right, steps=1), f"it took one step of {steps}."),
        (walk(right, at=lambda _: start), "take the gradient anew at every point."),
    ):
        expect(not _like(found, mistake), sentence)
    wrong = (np.abs(found - walk(right)) > 1e-4).mean()
    expect(wrong == 0, f"{wrong:.0%} of the pixels end elsewhere: does each step follow on?")


@checker(right="each image is pulled into its own ball, whatever its company.")
def check_pull_back(answer, rng):
    """Check the return to ball and box in l-2, from images, points [N, H, W, C] and epsilon."""
    images, epsilon = rng.random((8, 5, 5, 1)), float(rng.uniform(0.3, 0.45))
    images[:4] = images[:4].round()  # on the edge of the box, which is then sure to matter
    images[7], delta = 0.5, rng.normal(size=images.shape) ** 3  # few pixels lead
    delta[7, 0, 0] = 3 * np.abs(delta[7]).max()
    sizes = np.array([0, 0.3, 2, 3, 0.5, 1.5, 2, 3]).reshape(-1, 1, 1, 1)
    points = images + epsilon * sizes * delta / _length(delta)
    delta = points - images

    def pulled(delta, axes=(1, 2, 3)):
        return images + delta * np.minimum(1, epsilon / _length(delta, axes))

    found = _varied(array_of(call(answer, images, points, epsilon), images.shape))
    own = "the length is that of the whole batch: sum over axes 1, 2 and 3 only."
    for mistake, sentence in (
        (images, "these are the images: go towards the points as far as is allowed."),
        (points, "these are the points that were given: move them."),
        (_box(pulled(delta, (0, 1, 2, 3))), own),
        (pulled(delta, (0, 1, 2, 3)), own),
        (
            _box(images + epsilon * delta / _length(delta)),
            "where an image is nearer than epsilon, leave it: only those outside are pulled.",
        ),
        (
            _box(images + np.clip(delta, -epsilon, epsilon)),
            "it is cut off pixel by pixel, as for l-inf: pull straight back.",
        ),
        (_box(points), "images leave the ball: pull them back as well."),
        (pulled(delta), "pixels leave [0, 1]: clip to the box as well."),
    ):
        expect(not _like(found, mistake), sentence)
    outside = (_length(found - images) > epsilon + 1e-4).sum()
    expect(outside == 0, f"{outside} of 8 images are outside their ball of radius {epsilon:.2f}.")
    expect(found.min() > -1e-5 and found.max() < 1 + 1e-5, "a pixel is outside [0, 1].")
    near = _length(found - points) - _length(_box(pulled(delta)) - points)
    sentence = f"these points are allowed, and up to {near.max():.2f} farther off than need be."
    expect(near.max() < 1e-3, sentence)


@checker(right="an attempt that fools is never thrown away.")
def check_kept_attempt(answer, rng):
    """Check what is kept [N, ...] of points [R, N, ...], where right, uint8 [R, N], is 0 or 1."""
    points = rng.random((5, 60, 2, 2, 1))
    fooled = rng.random((5, 60)) < rng.choice([0, 0.4], 60)
    fooled[2] |= fooled.any(axis=0) & (rng.random(60) < 0.7)  # the best of the five
    fooled[:, :2] = [[True, False]] * 4 + [[False, False]]  # the last attempt is not the best
    fooled[:2, 2] = False, True  # nor is the first always the better of two
    found = array_of(call(answer, points, (~fooled).astype(np.uint8)), points.shape[1:])
    match = (np.abs(points - found) < 1e-5).all(axis=(2, 3, 4))
    n = int((~match.any(axis=0)).sum())
    expect(n == 0, f"{n} of 60 images are none of the five attempts: return one of them.")
    sentence = "the last attempt is kept for all: print ~right, is it ever zero?"
    expect(not match[-1].all(), sentence)
    expect(not match[0].all(), "the first attempt is kept for all: look at the others.")
    expect(not match.all(axis=1).any(), "one attempt for all images: let each keep its own.")
    hit, some = (match & fooled).any(axis=0), fooled.any(axis=0)
    could_miss = some & ~fooled.all(axis=0)
    sentence = "it keeps the attempts that the network reads: right is 1 where the attempt failed."
    expect(hit[could_miss].any(), sentence)
    n = int((some & ~hit).sum())
    expect(n == 0, f"for {n} of {some.sum()} images an attempt that fools was thrown away.")
