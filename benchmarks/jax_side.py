"""robustlib's side: what is timed, each as a function that returns seconds."""

import time
from functools import partial

import jax
import jax.numpy as jnp
import optax
from jax import lax

from robustlib import (
    Linf,
    SmallCNN,
    adversarial_train_step,
    apgd,
    apgd_targeted,
    create_state,
    fgsm,
    logits_fn,
    pgd,
    square,
    standard_train_step,
)
from robustlib.attacks import image_gradient


@jax.jit
def textbook_step(state, batch, epsilon):
    """Three passes, as textbooks list them: attack, clean loss, adversarial loss."""

    def mean_loss(params, images):
        logits = state.apply_fn({"params": params}, images)
        return optax.softmax_cross_entropy_with_integer_labels(logits, batch["label"]).mean()

    gradient = jax.grad(mean_loss, argnums=1)(state.params, batch["image"])
    adversarial = jnp.clip(batch["image"] + epsilon * jnp.sign(gradient), 0, 1)

    def mixed_loss(params):
        return 0.5 * mean_loss(params, batch["image"]) + 0.5 * mean_loss(params, adversarial)

    return state.apply_gradients(grads=jax.grad(mixed_loss)(state.params))


def train_steps(split, epsilon: float, batch_size: int, steps: int) -> dict:
    """Return the timings of a number of steps: each kind, a step per call and in a scan."""
    kinds = {
        "standard": standard_train_step,
        "fused": partial(adversarial_train_step, epsilon=epsilon),
        "textbook": partial(textbook_step, epsilon=epsilon),
    }
    key = jax.random.key(0)
    state = create_state(_MODEL, key, split.images)
    batches = [
        jax.device_put(batch)
        for batch, _ in zip(split.batches(batch_size, key), range(steps), strict=False)
    ]
    stacked = jax.tree.map(lambda *arrays: jnp.stack(arrays), *batches)

    def step_per_call(step):
        def run():
            new = state
            for batch in batches:
                new = step(new, batch)
            return new

        return run

    def scan(step):
        @jax.jit
        def run(state, batches):
            return lax.scan(lambda state, batch: (step(state, batch), None), state, batches)[0]

        return partial(run, state, stacked)

    loops = {"a step per call": step_per_call, "in a scan": scan}
    return {
        f"{kind}, {name}": partial(seconds, loop(step))
        for name, loop in loops.items()
        for kind, step in kinds.items()
    }


# As in `torch_side`.
ATTACKS = {
    "FGSM": fgsm,
    "PGD": partial(pgd, steps=40, step_size=0.01),
    "Auto-PGD": partial(apgd, steps=100),
    "targeted Auto-PGD": partial(apgd_targeted, steps=100, targets=9),
    "Square": partial(square, queries=5000),
}


def attacking(attack: str, state, split, epsilon: float, batch_size: int):
    """Return an attack on the first images of a split, as a function without arguments."""
    return partial(
        ATTACKS[attack],
        logits_fn(state),
        jax.device_put(split.images[:batch_size]),
        jax.device_put(split.labels[:batch_size]),
        Linf(epsilon),
        jax.random.key(0),
    )


def convolutions(params, split, repeats: int) -> dict:
    """Return the timings of image gradients with each form of convolution, in a loop and not."""
    images, labels = jax.device_put(split.images), jax.device_put(split.labels)
    timings = {}
    for name, model in {"robustlib": SmallCNN(fast=True), "nn.Conv": SmallCNN(fast=False)}.items():
        model_logits = logits_fn(model.apply, {"params": params})
        loops = {"no loop": _moved_without_loop, "in a loop": _moved_in_loop}
        for where, move in loops.items():
            work = partial(move, model_logits, images, labels, repeats)
            timings[f"{name}, {where}"] = partial(seconds, work)
    return timings


@jax.jit
def _moved(model_logits, points, labels):
    return points + 0.01 * jnp.sign(image_gradient(model_logits, points, labels)[0])


@jax.jit
def _moved_in_loop(model_logits, points, labels, repeats):
    return lax.fori_loop(0, repeats, lambda _, p: _moved(model_logits, p, labels), points)


def _moved_without_loop(model_logits, points, labels, repeats):
    for _ in range(repeats):
        points = _moved(model_logits, points, labels)
    return points


_MODEL = SmallCNN()


def seconds(work) -> float:
    """Return the seconds that some work takes until its result is there."""
    start = time.perf_counter()
    jax.block_until_ready(work())
    return time.perf_counter() - start
