"""Checkers for the exercises of the chapters that train: see `robustlib.exercises`."""

import jax
import jax.numpy as jnp
import numpy as np

from robustlib.attacks import fgsm
from robustlib.data import Split
from robustlib.fitting import create_state
from robustlib.logits import logits_fn
from robustlib.losses import cross_entropy
from robustlib.models import MLP
from robustlib.threat import Linf
from robustlib.training import Mixed, Standard
from robustlib.verdicts import Unlike, array_of, call, checker, expect

# ---- chapter 4 ---


def _vector(tree):
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(tree)])


@checker(right="the weighted gradients, from one clean and one adversarial pass.")
def check_mixed_gradients(answer, rng):
    """Check the gradients of the mixed loss, and that the batch runs through the network twice."""
    images, labels = jnp.asarray(rng.random((6, 5, 5, 1)), jnp.float32), rng.integers(3, size=6)
    key, batch = jax.random.key(rng.integers(2**31)), {"image": images, "label": labels}
    state, passes = create_state(MLP(classes=3, hidden=(12,)), key, images), []
    epsilon, weight = float(rng.uniform(0.1, 0.3)), float(rng.uniform(0.6, 0.9))

    def counted(variables, images):
        passes.append(len(images))
        return state.apply_fn(variables, images)

    result = call(answer, state.replace(apply_fn=counted), batch, epsilon, weight)
    alike = jax.tree.map(np.shape, result) == jax.tree.map(np.shape, state.params)
    expect(alike, "return the gradients alone, in the structure of state.params.")
    found = _vector(result)
    c, a = (_vector(Mixed(epsilon, w)(state, batch, key, 1.0)[1]) for w in (0.0, 1.0))
    model = logits_fn(state)
    slope = jax.grad(lambda points: cross_entropy(model(points), labels).sum())(images)
    unclipped = batch | {"image": images + epsilon * jnp.sign(slope)}
    u = _vector(Standard()(state, unclipped, key, 1.0)[1])
    for mistake, sentence in (
        (weight * c + (1 - weight) * a, "the shares are swapped: weight is the adversarial one's."),
        ((c + a) / 2, "these are two halves: use weight."),
        (6 * ((1 - weight) * c + weight * a), "this is the sum over the batch: return the mean."),
        (6 * (1 - weight) * c + weight * a, "the clean half is a sum, the other one a mean."),
        (c, "these are the clean gradients: where are the attacked images?"),
        (a, "these are the adversarial gradients: where are the clean images?"),
        ((1 - weight) * c + weight * u, "clip the attacked images to [0, 1]."),
    ):
        expect(not np.allclose(found, mistake, rtol=1e-3, atol=1e-5), sentence)
    sentence = "these gradients are not ours: is the attacked image one step of epsilon away?"
    expect(np.allclose(found, (1 - weight) * c + weight * a, rtol=1e-3, atol=1e-5), sentence)
    sentence = f"the gradients are right, but the network ran {len(passes)} times: twice is enough."
    expect(len(passes) == 2, sentence)
    sentence = f"the network ran twice, on {sum(passes)} images in all: 12 are enough."
    expect(sum(passes) <= 12, sentence)  # under vmap a pass seems to be of one image


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


def _marked_images(rng, n):
    """Return images [n, 8, 8, 1] with a strong mark, wrong in a tenth, and a faint sure tint."""
    labels = rng.integers(2, size=n).astype(np.int32)
    signs = (2 * labels - 1)[:, None, None, None]
    images = 0.5 + 0.06 * signs + rng.normal(scale=0.03, size=(n, 8, 8, 1))
    marks = signs * np.where(rng.random(signs.shape) < 0.1, -1, 1)
    images[:, :4, :4] += 0.34 * marks
    return Split(np.clip(images, 0, 1).astype(np.float32), labels)


@checker(right="it learns the clean images, and FGSM at the epsilon given does not undo it.")
def check_mixed_training(answer, rng):
    """Check train(split, epsilon) -> state, on images with a robust and a brittle feature."""
    split, test = _marked_images(rng, 8192), _marked_images(rng, 500)
    images, labels = test.images, test.labels
    state = call(answer, split, 0.25)
    sentence = f"a {type(state).__name__} was returned: return the state, with its params."
    expect(hasattr(state, "params") and hasattr(state, "apply_fn"), sentence)
    other = call(answer, split, 0.02)
    expect(other is not state, "two calls returned one and the same state: train at each call.")

    model = logits_fn(state)

    def read(points):
        try:
            return float((model(points).argmax(axis=1) == labels).mean())
        except Exception as error:  # Flax and JAX each have their own for another image's shape
            raise Unlike("the state does not fit the images of split: train on these.") from error

    clean = read(images)
    expect(clean > 0.75, f"it reads {clean:.0%} of clean images: is this the state after training?")
    robust = read(fgsm(model, images, labels, Linf(0.25)))
    same = np.array_equal(_vector(other.params), _vector(state.params))
    sentence = f"epsilon plays no part, and FGSM leaves {robust:.0%}: where is the attack?"
    expect(not same or robust > 0.2, sentence)
    expect(not same, "epsilon plays no part: 0.02 and 0.25 give the same parameters.")
    sentence = f"{clean:.0%} are read correctly, but {robust:.0%} under FGSM at the epsilon given."
    expect(robust > 0.3, sentence)


# ---- chapter 5 ---


@checker(right="it is allowed, and nothing allowed is nearer.")
def check_projection(answer, rng):
    """Check the projection of points [N, H, W, C] on the l-inf ball of images within the box."""
    images, epsilon = rng.random((4, 5, 5, 1)), float(rng.uniform(0.1, 0.3))
    delta = rng.normal(scale=2 * epsilon, size=images.shape)
    found = array_of(call(answer, images, images + delta, epsilon), images.shape)
    ball, box = np.clip(delta, -epsilon, epsilon) + images, np.clip(images + delta, 0, 1)
    for mistake, sentence in (
        (images + delta, "these are the points that were given: move them."),
        (images, "these are the images: go towards the points as far as is allowed."),
        (ball, "pixels leave [0, 1]: clip to the box as well."),
        (box, "pixels leave the ball: clip to images ± epsilon as well."),
    ):
        expect(not np.allclose(found, mistake, atol=1e-5), sentence)
    outside = np.abs(found - images).max() - epsilon
    expect(outside < 1e-5, f"a pixel leaves the ball by {outside:.2f}.")
    expect(found.min() > -1e-5 and found.max() < 1 + 1e-5, "a pixel leaves [0, 1].")
    sentence = "these points are allowed, but others are nearer: treat each pixel by itself."
    expect(np.allclose(found, np.clip(ball, 0, 1), atol=1e-5), sentence)


def _length(a, axes=(1, 2, 3)):
    return np.maximum(np.sqrt((a**2).sum(axis=axes, keepdims=True)), 1e-12)


@checker(right="each image climbs along its own gradient, and stays in its ball and in the box.")
def check_pgd_l2(answer, rng):
    """Check the last point of PGD in l-2, from a gradient, images, a start and three numbers."""
    images, target = rng.random((8, 5, 5, 1)), rng.uniform(-0.5, 1.5, (8, 5, 5, 1))
    images[:3] = images[:3].round()  # on the edge of the box, which is then sure to matter
    slopes = rng.uniform(0.5, 2, target.shape) ** 4  # few pixels lead
    slopes[0] = 0
    epsilon, steps = float(rng.uniform(0.3, 0.5)), int(rng.integers(4, 7))
    away = rng.normal(size=images.shape)
    start = np.clip(images + 0.5 * epsilon * away / _length(away), 0, 1)
    step_size, everything = 0.5 * epsilon, (0, 1, 2, 3)

    def gradient(points):
        return slopes * (target - points)

    def along(g):
        return g / _length(g)

    def ball(delta):
        return delta * np.minimum(1, epsilon / _length(delta))

    def box(points):
        return np.clip(points, 0, 1)

    def loop(direction=along, pull=ball, clip=box, start=start, steps=steps):
        points = start
        for _ in range(steps):
            points = clip(images + pull(points + step_size * direction(gradient(points)) - images))
        return points

    arguments = gradient, images, start, epsilon, step_size, steps
    found = array_of(call(answer, *arguments), images.shape)
    own = "the length is an image's own: sum over axes 1, 2 and 3, not over the batch."
    sphere = "where an image is nearer than epsilon, leave it: only those outside are pulled."

    def crowd(g):
        return g / _length(g, everything)

    def crowd_ball(delta):
        return delta * np.minimum(1, epsilon / _length(delta, everything))

    for mistake, sentence in (
        (np.full(images.shape, found[0, 0, 0]), "one value everywhere: where did the images go?"),
        (images, "these are the images that were given: take the steps."),
        (start, "this is the start that was given: take the steps."),
        (loop(crowd), own),
        (loop(pull=crowd_ball), own),
        (loop(crowd, crowd_ball), own),
        (loop(pull=lambda delta: epsilon * along(delta)), sphere),
        (loop(clip=lambda points: points), "pixels leave [0, 1]: clip to the box at each step."),
        (loop(pull=lambda delta: delta), "it leaves the ball: pull back what is too far away."),
        (loop(np.sign), "these are steps for l-inf: divide the gradient by its length instead."),
        (loop(lambda g: g), "a step is step_size long: divide the gradient by its length."),
        (
            loop(pull=lambda d: np.clip(d, -epsilon, epsilon)),
            "it is cut off pixel by pixel, as for l-inf: pull straight back.",
        ),
        (
            images + ball(box(loop(pull=lambda delta: delta, clip=lambda x: x)) - images),
            "come back after every step, not once at the end.",
        ),
        (loop(start=images), "begin at the start that is given."),
        (loop(lambda g: -along(g)), "it goes downhill."),
        (loop(steps=1), f"it took one step of {steps}."),
    ):
        expect(not np.allclose(found, mistake, atol=1e-5), sentence)
    wrong = np.abs(found - loop()).max(axis=(1, 2, 3)) > 1e-4
    expect(not wrong.any(), f"{wrong.sum()} of 8 images end elsewhere: does each step follow on?")


@checker(right="success comes first, and the loss decides among equals.")
def check_best_restart(answer, rng):
    """Check the restarts to keep, int [N], of fooled, bool [R, N], and losses [R, N]."""
    kept = []
    for restarts, most in ((6, 2), (5, 3)):
        fooled = rng.random((restarts, 80)) < rng.choice([0, 0.4], 80)
        fooled[most] |= fooled.any(axis=0)
        losses = rng.normal(size=fooled.shape)
        kept.append(array_of(call(answer, fooled, losses), (80,)))
    among = np.where(fooled, losses, -np.inf)
    same = all(len(set(numbers)) == 1 for numbers in kept)
    first = [numbers[0] for numbers in kept]
    expect(not (same and first == [2, 3]), "the restart that fools most is not the best for all.")
    expect(not (same and first == [5, 4]), "the last restart is kept: look at all of them.")
    expect(not same, "one restart for all: let each image keep its own.")
    for mistake, sentence in (
        (losses.argmax(axis=0), "the loss alone decides: a restart that fools comes first."),
        (fooled.argmax(axis=0), "the first success is taken: take that of the highest loss."),
        (among.argmax(axis=0), "where no restart fools, keep the highest loss."),
    ):
        expect(not np.array_equal(kept[1], mistake), sentence)
    right = np.where(fooled.any(axis=0), among, losses).argmax(axis=0)
    n = int((kept[1] != right).sum())
    expect(n == 0, f"for {n} of 80 images another restart is to be kept.")
