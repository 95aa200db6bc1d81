"""Checkers for the exercises on gradient masking: see `robustlib.exercises`."""

import jax
import jax.numpy as jnp
import numpy as np

from robustlib.losses import margin
from robustlib.report import wilson_interval
from robustlib.verdicts import array_of, call, checker, expect

# ---- chapter 7 ---


def _rounded(images, levels):
    return jnp.round((levels - 1) * images) / (levels - 1)


@checker(right="the values are rounded, and the gradient passes as if they were not.")
def check_straight_through(answer, rng):
    """Check rounding to some grey levels, of images [N, H, W, C], with the identity's gradient."""
    images, levels = jnp.asarray(rng.random((4, 5, 5, 1)), jnp.float32), int(rng.integers(4, 9))
    weights = jnp.asarray(rng.uniform(1, 3, images.shape), jnp.float32)
    found = array_of(call(answer, images, levels), images.shape)
    expect(np.ptp(found) > 0, f"every pixel is {found.flat[0]:.3g}: where did the images go?")
    for mistake, sentence in (
        (images, "these are the images that were given: round them."),
        (jnp.floor((levels - 1) * images) / (levels - 1), "it rounds down: take the nearest."),
        (_rounded(images, levels + 1), f"these are {levels + 1} levels, 0 and 1 among them."),
        (_rounded(images, levels - 1), f"these are {levels - 1} levels, 0 and 1 among them."),
    ):
        expect(not np.allclose(found, mistake, atol=1e-5), sentence)
    far = np.abs(found - _rounded(images, levels)).max()
    expect(far < 1e-5, f"a value is {far:.2f} from its grey level: only the gradient is smooth.")

    def summed(images):
        return (weights * answer(images, levels)).sum()

    slope = array_of(call(jax.grad(summed), images), images.shape)
    sentence = (
        "the values are right, and the gradient is zero: hold what rounding changed constant."
    )
    expect(np.abs(slope).max() > 0, sentence)
    for factor in (levels - 1, 2):
        sentence = f"the gradient is {factor} times too large: let it pass as it is."
        expect(not np.allclose(slope, factor * weights, rtol=1e-3), sentence)
    expect(np.allclose(slope, weights, rtol=1e-3), "the gradient is not that of the identity.")
    black_and_white = array_of(call(answer, images, 2), images.shape)
    near = np.allclose(black_and_white, _rounded(images, 2), atol=1e-5)
    expect(near, "with two levels, which are 0 and 1, the values are others.")


@checker(right="each image keeps what raises its margin, inside ball and box.")
def check_random_step(answer, rng):
    """Check one step of random search, from the points so far to points of no lower margin."""
    weights = jnp.asarray(rng.normal(size=(36, 3)), jnp.float32)
    images = jnp.asarray(rng.random((64, 6, 6, 1)).round(1), jnp.float32)
    epsilon, keys = 0.3, jax.random.split(jax.random.key(rng.integers(2**31)), 41)

    def logits_fn(points):
        return _rounded(points, 4).reshape(len(points), -1) @ weights

    labels = logits_fn(images).argmax(axis=1)
    signs = jnp.asarray(rng.choice([-1, 1], images.shape), jnp.float32)
    points = jnp.clip(images + epsilon * signs, 0, 1)
    first, margins, moved = points, [margin(logits_fn(points), labels)], []
    for key in keys[1:]:
        new = array_of(call(answer, logits_fn, images, labels, points, epsilon, key), images.shape)
        expect(np.ptp(new) > 0, f"every pixel is {new.flat[0]:.3g}: where did the images go?")
        expect(not np.allclose(new, images), "these are the images: go on from the points.")
        outside = max(new.max() - 1, -new.min())
        expect(outside < 1e-5, f"pixels leave [0, 1], by up to {outside:.2f}: clip to the box.")
        outside = np.abs(new - images).max() - epsilon
        expect(outside < 1e-5, f"pixels leave the ball, by up to {outside:.2f}: clip to it.")
        new = jnp.asarray(new, jnp.float32)
        margins.append(margin(logits_fn(new), labels))
        moved.append(np.abs(new - points).max(axis=(1, 2, 3)) > 0)
        points = new
    change, moved = np.diff(np.stack(margins), axis=0), np.stack(moved)
    expect(moved.any(), "no image moved in 40 calls: propose a change that does not need slopes.")
    together = (change.mean(axis=1) > -1e-4).all()
    fell = int((change < -1e-4).any(axis=0).sum())
    sentence = "one decision for all: an image keeps a change that raises its own margin."
    expect(not (fell and together), sentence)
    expect(change.max() > 0, "no margin rose in 40 calls: keep the points that raise it.")
    sentence = f"for {fell} of 64 images the margin fell: where it does, keep the point that was."
    expect(fell == 0, sentence)
    call_with = (logits_fn, images, labels, first, epsilon)
    others = [np.asarray(call(answer, *call_with, key)) for key in keys[:5]]
    same = all(np.array_equal(others[0], other) for other in others)
    expect(not same, "five keys give one proposal: draw it from the key.")
    two = [jnp.concatenate([a[:32], a[:32]]) for a in (images, labels, first)]
    halves = [np.split(np.asarray(call(answer, logits_fn, *two, epsilon, k)), 2) for k in keys[:5]]
    alike = all(np.array_equal(one, other) for one, other in halves)
    expect(not alike, "one change serves all the images: draw each of them its own.")
    climbed = float((margins[-1] - margins[0]).mean() / jnp.abs(margins[0]).mean())
    sentence = (
        f"after 40 calls the margins have risen by {climbed:.0%} of what they were: too slow."
    )
    expect(climbed > 0.1, sentence)


def _pairs(only_gradient, only_other, both, n, rng):
    """Return two rows bool [n]: broken by the gradient attack, and by the one without."""
    kinds = np.repeat([0, 1, 2, 3], [both, only_gradient, only_other, n])[:n]
    kinds = rng.permutation(kinds)
    return (kinds == 0) | (kinds == 1), (kinds == 0) | (kinds == 2)


@checker(right="an excess counts, and only where chance does not explain it.")
def check_masked_models(answer, rng):
    """Check bool [M], from what two attacks broke of the same images, both bool [M, N]."""
    r = rng.integers

    def kinds():
        return [  # only the gradient attack, only the one without, both
            (r(0, 3), r(40, 60), r(0, 20)),  # masked, plainly
            (r(2, 5), r(20, 30), r(200, 220)),  # masked, and the totals' intervals overlap
            (r(3, 5), r(6, 8), r(100, 200)),  # a small excess
            (r(30, 50), r(1, 3), r(100, 200)),  # the other way round
            (0, r(1, 3), r(20, 40)),  # two images, and none against them
            (0, r(7, 9), r(20, 40)),  # masked: few images, but none against them
            (r(60, 64), r(72, 78), r(100, 120)),  # many images, an excess that chance explains
            (0, 0, r(300, 390)),  # broken by both
        ]

    # Three of each kind, in any order: no two calls have one answer.
    cases = [case for _ in range(3) for case in kinds()]
    cases = [cases[i] for i in rng.permutation(len(cases))]
    drawn = [_pairs(*case, 400, rng) for case in cases]
    by_gradient, without = (np.stack(rows) for rows in zip(*drawn, strict=True))
    only_gradient = (by_gradient & ~without).sum(axis=1)
    only_without = (without & ~by_gradient).sum(axis=1)

    def shares(wins, losses):
        n = wins + losses
        return np.array(
            [wilson_interval(int(w), int(m))[0] if m else 0 for w, m in zip(wins, n, strict=True)]
        )

    right = shares(only_without, only_gradient) > 0.5
    ends = [
        np.array([wilson_interval(int(count), 400) for count in rows.sum(axis=1)])
        for rows in (by_gradient, without)
    ]
    found = array_of(call(answer, by_gradient, without), right.shape)
    expect(np.ptp(found) > 0, "it says the same of all models: some of them are masked, not all.")
    for mistake, sentence in (
        (shares(only_gradient, only_without) > 0.5, "the attacks are swapped: who should not win?"),
        (only_without > only_gradient, "any excess counts: a few images may be chance."),
        (
            ends[1][:, 0] > ends[0][:, 1],
            "two intervals that overlap do not settle it: compare image by image.",
        ),
        (only_without > 0, "one image is enough for you: every attack misses some."),
        (~right, "true and false are swapped: true is for a masked model."),
    ):
        expect(not np.array_equal(found, mistake), sentence)
    wrong = np.flatnonzero(found != right)
    if len(wrong):
        i = wrong[0]
        counts = f"{only_without[i]} images for the one without gradients, {only_gradient[i]} for"
        expect(False, f"model {i} is judged wrongly: {counts} the other.")
