"""Checkers for the exercises of chapters 1 to 3: training, FGSM and the min-max objective."""

import jax
import jax.numpy as jnp
import numpy as np

from robustlib.losses import cross_entropy
from robustlib.verdicts import Unlike, array_of, call, checker, expect


def _unequal(found, thing):
    """Return an answer [N, ...] unless it is one number throughout."""
    expect(np.ptp(found) > 0, f"the answer is {found.flat[0]:.3g} for every {thing}.")
    return found


# ---- chapter 1 ---


def _calibration(confidences, correct):
    """Return the expected calibration error, and what mistakes make of it, with a sentence each."""
    inside = np.minimum((confidences * 10).astype(int), 9) == np.arange(1, 10)[:, None]
    signed = (inside * (correct - confidences)).mean(axis=1)  # share of the bin * (acc - conf)
    distances = np.abs(signed / inside.mean(axis=1))
    below = (inside * (confidences < 1) * (correct - confidences)).mean(axis=1)
    return np.abs(signed).sum(), (
        (distances.mean(), "every bin counts alike: weight it by its share of the predictions."),
        (distances.max(), "this is the largest distance: average them, weighted."),
        (np.abs(correct - confidences).mean(), "take the two means in a bin before the distance."),
        (np.abs(below).sum(), "a confidence of exactly 1 is left out: it falls in the last bin."),
        (abs(signed.sum()), "the signs cancel: take the absolute value in each bin."),
        (-abs(signed.sum()), "the signs cancel: take the absolute value in each bin."),
    )


@checker(right="it agrees with ours, a confidence of exactly 1 included.")
def check_expected_calibration_error(answer, rng):
    """Check the expected calibration error of confidences [N] and correct [N], over ten bins."""
    for _ in range(3):  # one number may be right by chance
        confidences = np.append(rng.uniform(0.1, 1, 400), np.ones(40))
        correct = rng.uniform(size=440) > confidences  # too modest at first, too bold at last
        expected, mistakes = _calibration(confidences, correct)
        found = array_of(call(answer, confidences, correct), ())
        if np.isclose(found, expected, rtol=1e-4):
            continue
        for mistake, sentence in mistakes:
            expect(not np.isclose(found, mistake, rtol=1e-4), sentence)
        values = f"{found:.4f} was given, {expected:.4f} expected"
        expect(False, f"{values}: is a bin [b / 10, (b + 1) / 10)?")


@checker(right="it is finite and right for logits of any size.")
def check_stable_cross_entropy(answer, rng):
    """Check a cross-entropy of logits [N, K] and labels [N] that neither over- nor underflows."""
    labels, noise = rng.integers(5, size=6), rng.normal(size=(6, 5))
    for where, logits in (
        ("for small logits", noise),
        ("for logits near 1,000", noise + 1000),
        ("for examples 1,000 apart", noise + 1000 * np.arange(-3, 3)[:, None]),
        ("for logits 1,000 apart", 1000 * noise),
    ):
        with np.errstate(all="ignore"):
            result = call(answer, jnp.asarray(logits, jnp.float32), jnp.asarray(labels))
        if getattr(result, "dtype", None) in (np.float32, np.float64):
            sentence = "it is infinite or NaN: shift each example's logits by its largest one."
            expect(np.isfinite(result).all(), f"{where} {sentence}")
        found, largest = array_of(result, (6,)), logits.max(axis=1)
        if logits is noise:  # elsewhere a right answer may be 0 throughout
            _unequal(found, "example")
        unshifted = np.log(np.exp(logits - largest[:, None]).sum(axis=1)) - logits[range(6), labels]
        right = unshifted + largest
        for mistake, sentence in (
            (right / np.log(2), "these are bits: use the natural logarithm."),
            (unshifted, "the shift is in the sum only: take it from the true logit too."),
        ):
            alike = np.allclose(right, mistake, rtol=1e-3, atol=1e-3)  # where all losses are 0
            expect(alike or not np.allclose(found, mistake, rtol=1e-3, atol=1e-3), sentence)
        i = np.abs(found - right).argmax()
        sentence = f"{where} {found[i]:.4g} was given, {right[i]:.4g} expected"
        capped = right.max() > 100 > found.max()
        sentence += ": a small number in the logarithm caps the loss." if capped else "."
        expect(np.allclose(found, right, rtol=1e-3, atol=1e-3), sentence)


@checker(right="it is within 5 % of the best temperature.")
def check_temperature(answer, rng):
    """Check the temperature T with the smallest mean cross-entropy of logits [N, K] / T."""
    candidates = np.geomspace(0.1, 10, 400)
    for scale in rng.choice([0.4, 0.5, 2, 3], 2, replace=False):  # two, so no constant fits
        logits = rng.normal(scale=2, size=(3000, 5))
        labels = jnp.asarray((logits + rng.gumbel(size=logits.shape)).argmax(axis=1))  # T = 1
        logits = jnp.asarray(logits * scale, jnp.float32)
        found = array_of(call(answer, logits, labels), ())
        losses = [float(cross_entropy(logits / t, labels).mean()) for t in candidates]
        best = candidates[np.argmin(losses)]
        if not np.isclose(found, best, rtol=0.06):
            expect(found != 1, "1 changes nothing: compare the losses at many temperatures.")
            other = array_of(call(answer, logits, labels[::-1]), ())
            expect(found != other, "other labels get the same answer: it must look at them.")
            expect(not np.isclose(found, 1 / best, rtol=0.06), "that is 1 / T: divide by T.")
            expect(not np.isclose(found, min(losses), rtol=0.01), "that is the loss: return T.")
            raise Unlike(f"{found:.3g} was given, and {best:.3g} has a smaller loss: try more.")


# ---- chapter 2 ---


def _attack_case(rng):
    """Return a network, images [40, 4, 4, 1], labels, and the gradient of the summed loss."""
    first, second = rng.normal(size=(16, 12)), rng.normal(size=(12, 3))
    images = jnp.asarray(rng.uniform(0, 1, (40, 4, 4, 1)).round(1), jnp.float32)

    def logits_fn(points):
        return jnp.sin(points.reshape(len(points), -1) @ first) @ second

    labels = jnp.where(rng.random(40) < 0.5, logits_fn(images).argmax(1), rng.integers(3, size=40))
    g = jax.grad(lambda points: cross_entropy(logits_fn(points), labels).sum())(images)
    return logits_fn, images, labels, g


def _checked_step(answer, rng, unclipped, mistakes):
    """Compare an attack's images with `clip(unclipped(...), 0, 1)` and with likely mistakes."""
    (logits_fn, images, labels, g), epsilon = _attack_case(rng), rng.uniform(0.2, 0.4)
    found = array_of(call(answer, logits_fn, images, labels, epsilon), images.shape)
    found = _unequal(found, "pixel")
    outside = max(found.max() - 1, -found.min())
    expect(outside < 1e-6, f"pixels leave [0, 1], by up to {outside:.2f}: clip.")
    for mistake, sentence in mistakes:
        wrong = jnp.clip(images + epsilon * mistake(g), 0, 1)
        expect(not np.allclose(found, wrong, atol=1e-5), sentence)
    far = float(jnp.abs(found - jnp.clip(images + epsilon * unclipped(g), 0, 1)).max())
    expect(far < 1e-4, f"a pixel is {far:.2g} from where it belongs, with ε = {epsilon:.2f}.")


def _length(g, axis=(1, 2, 3)):
    return jnp.sqrt((g**2).sum(axis=axis, keepdims=True))


@checker(right="every pixel goes down the loss of the target, by ε, and stays in the box.")
def check_targeted_fgsm(answer, rng):
    """Check the targeted attack, from logits_fn, images, targets and epsilon to images."""
    mistakes = (
        (jnp.sign, "the loss of the target goes up: this leads away from it, so turn the sign."),
        (jnp.zeros_like, "these are the images that were given: take the step."),
        (lambda g: -g, "the step is the gradient itself: in l-inf take its sign."),
    )
    _checked_step(answer, rng, lambda g: -jnp.sign(g), mistakes)


@checker(right="each image moves by ε along its own gradient, whatever its company.")
def check_fast_gradient_l2(answer, rng):
    """Check the l-2 step, from logits_fn, images, labels and epsilon to images."""
    mistakes = (
        (jnp.sign, "this is the corner of the cube, l-inf's answer: follow the gradient itself."),
        (jnp.zeros_like, "these are the images that were given: take the step."),
        (lambda g: -g / _length(g), "the loss falls: step along the gradient, not against it."),
        (lambda g: g / _length(g, None), "one length for the whole batch: take each image's own."),
        (lambda g: g, "the gradient keeps its length: divide by it, image by image."),
    )
    _checked_step(answer, rng, lambda g: g / _length(g), mistakes)


@checker(
    right="it finds the first epsilon that breaks each image, also where a larger one does not."
)
def check_smallest_epsilon(answer, rng):
    """Check the smallest epsilons [N], from logits_fn, images, labels and rising epsilons [E]."""
    epsilons, none, kinds = np.linspace(0, 0.3, 7), 9, [0]
    while not all(kinds):
        logits_fn, images, labels, g = _attack_case(rng)
        steps = [jnp.clip(images + e * jnp.sign(g), 0, 1) for e in epsilons]
        wrong = np.stack([logits_fn(points).argmax(axis=1) != labels for points in steps])
        right = np.where(wrong.any(axis=0), epsilons[wrong.argmax(axis=0)], none)
        survived = np.append(epsilons, none)[(~wrong).sum(axis=0)]
        kinds = [(right == 0).any(), (right == none).any(), (right < survived).any()]
    arguments = logits_fn, images, labels, epsilons
    found = array_of(call(np.minimum, call(answer, *arguments), none), right.shape)
    found = _unequal(found, "image")
    later = np.where(wrong[1:].any(axis=0), epsilons[1:][wrong[1:].argmax(axis=0)], none)
    for mistake, sentence in (
        (np.where(right == none, 0, right), "an image that no epsilon breaks has inf, not 0."),
        (later, "an image that is misread from the start has 0: begin there."),
        (survived, "an image can fall at one epsilon and stand at the next: take the first fall."),
    ):
        expect(not np.allclose(found, mistake), sentence)
    i = np.abs(found - right).argmax()
    given, expected = ("inf" if e == none else f"{e:.2f}" for e in (found[i], right[i]))
    sentence = f"image {i} has {given}, where {expected} was expected (inf: no epsilon breaks it)."
    expect(np.allclose(found, right), sentence)


# ---- chapter 3 ---


@checker(right="every pixel has its price, and the adversary takes the dearest.")
def check_margin_after_repainting(answer, rng):
    """Check the smallest margins [N] of a linear classifier when some pixels may be repainted."""
    weights, bias, count = rng.normal(size=40), rng.normal(), int(rng.integers(2, 10))
    images, labels = rng.random((12, 40)), np.arange(12) % 2
    y = 2 * labels - 1
    before = y * (images @ weights + bias)

    def smallest(y, count, white=1):
        signed = np.outer(y, weights)
        taken = np.where(signed > 0, signed * images, -white * signed * (1 - images))
        return y * (images @ weights + bias) - np.sort(taken)[:, 40 - count :].sum(axis=1)

    right, unboxed = smallest(y, count), before - np.sort(np.abs(weights))[-count:].sum()
    found = array_of(call(answer, weights, bias, images, labels, count), (12,))
    found = _unequal(found, "image")
    for mistake, sentence in (
        (before, "these are the margins before: subtract what repainting takes."),
        (2 * before - right, "the margins rise: the adversary lowers them."),
        (smallest(y, 40), f"all pixels were repainted: only {count} may be."),
        (unboxed, "a pixel cannot leave [0, 1]: what it can take depends on its value."),
        (
            smallest(y, count, 0),
            "all pixels were painted black: where y w is negative, white takes more.",
        ),
        (smallest(y**2, count), "all images were taken for class 1: the margin has the sign y."),
    ):
        expect(not np.allclose(found, mistake, rtol=1e-3, atol=1e-3), sentence)
    sentence = f"{found[0]:.3f} was given, {right[0]:.3f} expected: what can one pixel take alone?"
    expect(np.allclose(found, right, rtol=1e-3, atol=1e-3), sentence)
    none = array_of(call(answer, weights, bias, images, labels, 0), (12,))
    sentence = "with a count of 0 the margins stay as they are (in Python, [-0:] takes everything)."
    expect(np.allclose(none, before, rtol=1e-3, atol=1e-3), sentence)


@checker(right="attack first, hold the images constant, differentiate the mean.")
def check_robust_gradient(answer, rng):
    """Check the gradient of the mean adversarial loss, by Danskin's theorem."""
    shapes, labels = ((6, 3), (8, 6)), jnp.asarray(rng.integers(3, size=8))
    params, images = (jnp.asarray(rng.normal(size=shape), jnp.float32) for shape in shapes)

    def loss(params, images, labels):
        return cross_entropy(images @ params, labels)

    def attack(params, images, labels):
        g = jax.grad(lambda images: loss(params, images, labels).sum())(images)
        return images + g / jnp.linalg.norm(g, axis=1, keepdims=True)

    def gradient(attacked):
        return np.asarray(jax.grad(lambda p: loss(p, attacked(p), labels).mean())(params))

    found = array_of(call(answer, loss, attack, params, images, labels), (6, 3))
    found = _unequal(found, "entry")
    right = gradient(lambda _: attack(params, images, labels))
    through = gradient(lambda p: attack(p, images, labels))
    for mistake, sentence in (
        (gradient(lambda _: images), "this is the gradient at the clean images: attack first."),
        (through, "the attack's own derivative came along: hold its result constant."),
        (8 * right, "this is the gradient of the sum: take the mean over the examples."),
        (-right, "the sign is wrong: return the gradient, the optimiser steps against it."),
    ):
        expect(not np.allclose(found, mistake, rtol=1e-3, atol=1e-4), sentence)
    sentence = f"the first entry is {found[0, 0]:.4f}, where {right[0, 0]:.4f} was expected."
    expect(np.allclose(found, right, rtol=1e-3, atol=1e-4), sentence)
