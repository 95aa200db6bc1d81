"""Checkers for the reader's answers: each tries the answer on fresh cases and says one sentence."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from robustlib.attacks import fgsm
from robustlib.fitting import create_state
from robustlib.logits import logits_fn
from robustlib.losses import cross_entropy
from robustlib.models import MLP
from robustlib.threat import Linf
from robustlib.training import Mixed
from robustlib.verdicts import Unlike, array_of, call, checker, expect

# ---- chapter 1 ---


@checker(right="it agrees with ours, a confidence of exactly 1 included.")
def check_expected_calibration_error(answer, rng):
    """Check the expected calibration error of confidences [N] and correct [N], over ten bins."""
    confidences = np.append(rng.uniform(0.1, 1, 400), np.ones(40))
    correct = rng.uniform(size=440) > confidences  # too modest at first, too bold at last
    inside = np.minimum((confidences * 10).astype(int), 9) == np.arange(1, 10)[:, None]
    signed = (inside * (correct - confidences)).mean(axis=1)  # share of the bin * (acc - conf)
    distances = np.abs(signed / inside.mean(axis=1))
    found, expected = array_of(call(answer, confidences, correct), ()), np.abs(signed).sum()
    for mistake, sentence in (
        (distances.mean(), "every bin counts alike: weight it by its share of the predictions."),
        (distances.max(), "this is the largest distance: average them, weighted."),
        (np.abs(correct - confidences).mean(), "take the two means in a bin before the distance."),
    ):
        expect(not np.isclose(found, mistake, rtol=1e-3), sentence)
    cancelled = np.isclose(abs(found), abs(signed.sum()), rtol=1e-3)
    expect(not cancelled, "the signs cancel: take the absolute value in each bin.")
    sentence = f"{found:.4f} was given, {expected:.4f} expected: does 1 fall in the last bin?"
    expect(np.isclose(found, expected, rtol=1e-3), sentence)


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
        unshifted = np.log(np.exp(logits - largest[:, None]).sum(axis=1)) - logits[range(6), labels]
        right = unshifted + largest
        for mistake, sentence in (
            (right / np.log(2), "these are bits: use the natural logarithm."),
            (unshifted, "the shift is in the sum only: take it from the true logit too."),
        ):
            expect(not np.allclose(found, mistake, rtol=1e-3, atol=1e-3), sentence)
        i = np.abs(found - right).argmax()
        sentence = (
            f"{where} {found[i]:.4g} was given, {right[i]:.4g} expected: add no small number."
        )
        expect(np.allclose(found, right, rtol=1e-3, atol=1e-3), sentence)


@checker(right="no other temperature has a smaller loss, within 5 %.")
def check_temperature(answer, rng):
    """Check the temperature T with the smallest mean cross-entropy of logits [N, K] / T."""
    logits = rng.normal(scale=2, size=(3000, 5))
    labels = jnp.asarray((logits + rng.gumbel(size=logits.shape)).argmax(axis=1))  # so at T = 1
    logits = jnp.asarray(logits * rng.choice([0.4, 0.5, 2, 3]), jnp.float32)
    candidates = np.geomspace(0.1, 10, 400)
    losses = [float(cross_entropy(logits / t, labels).mean()) for t in candidates]
    found, best = array_of(call(answer, logits, labels), ()), candidates[np.argmin(losses)]
    if not np.isclose(found, best, rtol=0.06):
        expect(not np.isclose(found, 1 / best, rtol=0.06), "that is 1 / T: divide by T.")
        expect(not np.isclose(found, min(losses), rtol=0.01), "that is the loss: return the T.")
        expect(found != 1, "1 changes nothing: compare the losses at many temperatures.")
        raise Unlike(f"{found:.3g} was given, and {best:.3g} has a smaller loss: try more of them.")


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
    later = np.where(wrong[1:].any(axis=0), epsilons[1:][wrong[1:].argmax(axis=0)], none)
    for mistake, sentence in (
        (np.where(right == none, 0, right), "an image that no epsilon breaks has inf, not 0."),
        (later, "an image that is misread from the start has 0: begin there."),
        (survived, "an image can fall at one epsilon and stand at the next: take the first fall."),
    ):
        expect(not np.allclose(found, mistake), sentence)
    i = np.abs(found - right).argmax()
    sentence = f"image {i} has {found[i]:.2f}, where {right[i]:.2f} was expected ({none}: none)."
    expect(np.allclose(found, right), sentence)


# ---- chapter 3 ---


@checker(right="every pixel has its price, and the adversary takes the k dearest.")
def check_margin_after_repainting(answer, rng):
    """Check the smallest margins [N] of a linear classifier when any k pixels may be repainted."""
    weights, bias, k = rng.normal(size=40), rng.normal(), int(rng.integers(2, 10))
    images, labels = rng.random((12, 40)), np.arange(12) % 2
    found = array_of(call(answer, weights, bias, images, labels, k), (12,))
    before, signs = (2 * labels - 1) * (images @ weights + bias), 2 * labels - 1

    def smallest(signs, k):
        signed = np.outer(signs, weights)
        taken = np.where(signed > 0, signed * images, -signed * (1 - images))
        return signs * (images @ weights + bias) - np.sort(taken)[:, 40 - k :].sum(axis=1)

    right, unboxed = smallest(signs, k), before - np.sort(np.abs(weights))[-k:].sum()
    for mistake, sentence in (
        (before, "these are the margins before: subtract what repainting takes."),
        (2 * before - right, "the margins rise: the adversary lowers them."),
        (smallest(signs, 40), f"all pixels were repainted: only {k} may be."),
        (unboxed, "a pixel cannot leave [0, 1]: what it can take depends on its value."),
        (
            smallest(np.ones(12), k),
            "every image was treated as class 1: the margin has the sign y.",
        ),
    ):
        expect(not np.allclose(found, mistake, rtol=1e-3, atol=1e-3), sentence)
    sentence = f"{found[0]:.3f} was given, {right[0]:.3f} expected: what can one pixel take alone?"
    expect(np.allclose(found, right, rtol=1e-3, atol=1e-3), sentence)


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


# ---- chapter 4 ---


def _vector(tree):
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(tree)])


@checker(right="the weighted gradients, from one clean and one adversarial pass.")
def check_mixed_gradients(answer, rng):
    """Check the gradients of the mixed loss, and that the network runs twice for them."""
    images, labels = jnp.asarray(rng.random((6, 5, 5, 1)), jnp.float32), rng.integers(3, size=6)
    key, batch = jax.random.key(rng.integers(2**31)), {"image": images, "label": labels}
    state, passes = create_state(MLP(classes=3, hidden=(12,)), key, images), []
    epsilon, weight = float(rng.uniform(0.1, 0.3)), float(rng.uniform(0.6, 0.9))

    def counted(variables, images):
        passes.append(images)
        return state.apply_fn(variables, images)

    result = call(answer, state.replace(apply_fn=counted), batch, epsilon, weight)
    alike = jax.tree.map(np.shape, result) == jax.tree.map(np.shape, state.params)
    expect(alike, "return the gradients alone, in the structure of state.params.")
    found = _vector(result)
    c, a = (_vector(Mixed(epsilon, w)(state, batch, key, 1.0)[1]) for w in (0.0, 1.0))
    for mistake, sentence in (
        (weight * c + (1 - weight) * a, "the shares are swapped: weight is the adversarial one's."),
        ((c + a) / 2, "these are two halves: use weight."),
        (6 * ((1 - weight) * c + weight * a), "this is the sum over the batch: return the mean."),
        (6 * (1 - weight) * c + weight * a, "the clean half is a sum, the other one a mean."),
        (c, "these are the clean gradients: where are the attacked images?"),
        (a, "these are the adversarial gradients: where are the clean images?"),
    ):
        expect(not np.allclose(found, mistake, rtol=1e-3, atol=1e-5), sentence)
    sentence = "these gradients are not ours: is the attacked image made in one step, and clipped?"
    expect(np.allclose(found, (1 - weight) * c + weight * a, rtol=1e-3, atol=1e-5), sentence)
    sentence = f"the gradients are right, but the network ran {len(passes)} times: twice is enough."
    expect(len(passes) == 2, sentence)


@checker(right="an image counts only while every step so far has left it standing.")
def check_honest_curve(answer, rng):
    """Check the accuracies [E] of survived [E, N], the best attack so far taken image by image."""
    shares = rng.uniform(0.5, 0.95, 6)
    survived = rng.random((6, 300)) < shares[:, None]
    found, means = array_of(call(answer, survived), (6,)), survived.mean(axis=1)
    for mistake, sentence in (
        (means, "these are the accuracies at each single step: who may do more, can do more."),
        (np.minimum.accumulate(means), "you took the lowest average: follow each image by itself."),
        (np.logical_or.accumulate(survived).mean(axis=1), "one survived step is not enough: all."),
        (
            np.logical_and.accumulate(survived[::-1]).mean(axis=1)[::-1],
            "you went from the largest epsilon down: only steps up to epsilon are allowed.",
        ),
    ):
        expect(not np.allclose(found, mistake), sentence)
    right = np.logical_and.accumulate(survived).mean(axis=1)
    sentence = f"{found[2]:.3f} was given at the third epsilon, where {right[2]:.3f} was expected."
    expect(np.allclose(found, right), sentence)


class _Images(NamedTuple):
    images: np.ndarray
    labels: np.ndarray


def _marked_images(rng, n):
    """Return images [n, 8, 8, 1] with a strong mark, wrong in a tenth, and a faint sure tint."""
    labels = rng.integers(2, size=n).astype(np.int32)
    signs = (2 * labels - 1)[:, None, None, None]
    images = 0.5 + 0.06 * signs + rng.normal(scale=0.03, size=(n, 8, 8, 1))
    marks = signs * np.where(rng.random(signs.shape) < 0.1, -1, 1)
    images[:, :4, :4] += 0.34 * marks
    return _Images(np.clip(images, 0, 1).astype(np.float32), labels)


@checker(right="it learns the clean images, and FGSM at the epsilon given does not undo it.")
def check_mixed_training(answer, rng):
    """Check train(split, epsilon) -> state, on images with a robust and a brittle feature."""
    split, (images, labels) = _marked_images(rng, 4096), _marked_images(rng, 500)
    state = call(answer, split, 0.25)
    sentence = f"a {type(state).__name__} was returned: return the state, with its params."
    expect(hasattr(state, "params") and hasattr(state, "apply_fn"), sentence)
    model = logits_fn(state)
    clean = float((model(images).argmax(axis=1) == labels).mean())
    expect(clean > 0.75, f"it reads {clean:.0%} of clean images: is this the state after training?")
    other = call(answer, split, 0.02)
    same = np.array_equal(_vector(other.params), _vector(state.params))
    expect(not same, "epsilon plays no part: 0.02 and 0.25 give the same parameters.")
    robust = float((model(fgsm(model, images, labels, Linf(0.25))).argmax(axis=1) == labels).mean())
    sentence = f"{clean:.0%} are read correctly, but {robust:.0%} under FGSM at the epsilon given."
    expect(robust > 0.75, sentence)


# ---- chapter 5 ---


@checker(right="it is allowed, and nothing allowed is nearer.")
def check_projection(answer, rng):
    """Check the projection of points [N, H, W, C] on the l-inf ball of images, met with the box."""
    images, epsilon = rng.random((4, 5, 5, 1)), float(rng.uniform(0.1, 0.3))
    delta = rng.normal(scale=2 * epsilon, size=images.shape)
    found = array_of(call(answer, images, images + delta, epsilon), images.shape)
    ball, box = np.clip(delta, -epsilon, epsilon) + images, np.clip(images + delta, 0, 1)
    for mistake, sentence in (
        (images + delta, "these are the points that were given: move them."),
        (ball, "pixels leave [0, 1]: clip to the box as well."),
        (box, "pixels leave the ball: clip to images ± epsilon as well."),
    ):
        expect(not np.allclose(found, mistake, atol=1e-5), sentence)
    outside = np.abs(found - images).max() - epsilon
    expect(outside < 1e-5, f"a pixel leaves the ball by {outside:.2f}.")
    expect(found.min() > -1e-5 and found.max() < 1 + 1e-5, "a pixel leaves [0, 1].")
    sentence = "these points are allowed, but others are nearer: treat each pixel by itself."
    expect(np.allclose(found, np.clip(ball, 0, 1), atol=1e-5), sentence)


@checker(right="it climbs, and comes back into ball and box at every step.")
def check_pgd_loop(answer, rng):
    """Check the last point of PGD in l-inf, from a gradient, images, a start and four numbers."""
    images, target = rng.random((8, 5, 5, 1)), rng.uniform(-0.5, 1.5, (8, 5, 5, 1))
    epsilon = float(rng.uniform(0.1, 0.2))
    start = np.clip(images + rng.uniform(-epsilon, epsilon, images.shape), 0, 1)
    step_size, steps = 1.3 * epsilon, int(rng.integers(5, 9))

    def loop(project, start=start, direction=np.sign, steps=steps):
        points = start
        for _ in range(steps):
            points = project(points + step_size * direction(target - points), points)
        return points

    def both(points, centre=images):
        return np.clip(np.clip(points, centre - epsilon, centre + epsilon), 0, 1)

    arguments = (lambda points: target - points), images, start, epsilon, step_size, steps
    found = array_of(call(answer, *arguments), images.shape)
    for mistake, sentence in (
        (loop(lambda new, _: np.clip(new, 0, 1)), "it leaves the ball: clip to images ± epsilon."),
        (loop(both), "the ball moves along with the point: its centre is always the image."),
        (both(loop(lambda new, _: new)), "project after every step, not once at the end."),
        (
            loop(lambda new, _: np.clip(new, images - epsilon, images + epsilon)),
            "clip to [0, 1] too.",
        ),
        (loop(lambda new, _: both(new), images), "begin at the start that is given."),
        (loop(lambda new, _: both(new), direction=lambda g: -np.sign(g)), "it goes downhill."),
        (loop(lambda new, _: both(new), direction=lambda g: g), "in l-inf, take the sign."),
        (loop(lambda new, _: both(new), steps=1), f"it took one step of {steps}."),
    ):
        expect(not np.allclose(found, mistake, atol=1e-5), sentence)
    wrong = np.abs(found - loop(lambda new, _: both(new))).max(axis=(1, 2, 3)) > 1e-4
    expect(not wrong.any(), f"{wrong.sum()} of 8 images end elsewhere: does each step follow on?")


@checker(right="success comes first, and the loss decides among equals.")
def check_best_restart(answer, rng):
    """Check the restarts to keep, int [N], of fooled, bool [R, N], and losses [R, N]."""
    fooled, losses = rng.random((6, 80)) < rng.choice([0, 0.4], 80), rng.normal(size=(6, 80))
    found = array_of(call(answer, fooled, losses), (80,))
    among = np.where(fooled, losses, -np.inf)
    expect(len(set(found)) > 1, "one restart for all: let each image keep its own.")
    for mistake, sentence in (
        (losses.argmax(axis=0), "the loss alone decides: a restart that fools comes first."),
        (fooled.argmax(axis=0), "the first success is taken: take that of the highest loss."),
        (among.argmax(axis=0), "where no restart fools, keep the highest loss."),
    ):
        expect(not np.array_equal(found, mistake), sentence)
    right = np.where(fooled.any(axis=0), among, losses).argmax(axis=0)
    n = int((found != right).sum())
    expect(n == 0, f"for {n} of 80 images another restart is to be kept.")
