"""The loop that all chapters share: from a state, a split and an objective to a trained state."""

import sys
import time
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax.training.train_state import TrainState
from jax import lax
from tqdm import tqdm

from robustlib import checks
from robustlib.logits import logits_fn
from robustlib.training import Objective, check_objective, counted_on_device

_CHUNK_SECONDS = 1.0


def create_state(
    model: Any, key: jax.Array, images: Any, optimizer: optax.GradientTransformation | None = None
) -> TrainState:
    """Return the initial training state of a Flax Linen model.

    Args:
        model: the module; make it once, since two equal modules compile separately.
        key: for the initial parameters.
        images: float [N, H, W, C]; only the shape of one image is used.
        optimizer: an Optax optimiser; Adam with learning rate 1e-3 if left out.

    Returns:
        A `flax.training.train_state.TrainState`.

    Raises:
        TypeError, ValueError: images are of the wrong type or shape.
    """
    checks.check_images(images, values=False)
    params = model.init(key, jnp.zeros((1, *images.shape[1:]), jnp.float32))["params"]
    optimizer = optax.adam(1e-3) if optimizer is None else optimizer
    return counted_on_device(TrainState.create(apply_fn=model.apply, params=params, tx=optimizer))


@dataclass(frozen=True)
class FitResult:
    """What `fit` did.

    Attributes:
        state: the trained state.
        losses: float32 [steps taken], the objective's value on each batch before its step.
        accuracies: float32 [steps taken], the share of the batch classified correctly before the
            step, on the images that the objective sees; of `Mixed`, weighted as its losses are.
        seconds: wall-clock time, compilation included.
        gradient_passes: forward-and-backward passes of one example, counted.
        interrupted: whether the reader stopped it early; then `state` is that of the last chunk.
    """

    state: TrainState
    losses: np.ndarray
    accuracies: np.ndarray
    seconds: float
    gradient_passes: int
    interrupted: bool = False


def fit(
    state: TrainState,
    split: Any,
    objective: Objective,
    key: jax.Array,
    *,
    epochs: int,
    batch_size: int = 128,
    progress: bool = True,
) -> FitResult:
    """Train a state on a split, shuffled anew each epoch, whole batches only.

    The loop runs compiled, in chunks of about a second. An interrupt (Ctrl-C, or the stop button
    of a notebook) ends training and keeps the state of the last chunk. The result does not depend
    on where the chunks end.

    Args:
        state: from `create_state`.
        split: what to train on, such as `load_dataset().train`.
        objective: `Standard()`, `Mixed(...)` or `MinMax(...)`.
        key: for the order of the images and the random starts of attacks.
        epochs: passes over the split, from 1.
        batch_size: examples a step, from 1 to len(split).
        progress: show a progress bar.

    Returns:
        A `FitResult`.

    Raises:
        TypeError, ValueError: an argument is of the wrong type, shape or range.
    """
    _check_fit(state, split, objective)
    check_schedule(split, epochs, batch_size)
    epochs, batch_size = int(epochs), int(batch_size)
    steps_per_epoch = len(split.labels) // batch_size
    total, done, start = epochs * steps_per_epoch, 0, time.perf_counter()
    order_key, attack_key = jax.random.split(key)
    order = _batches(order_key, len(split.labels), epochs, batch_size)
    images, labels = jnp.asarray(split.images), jnp.asarray(split.labels)
    history = jnp.zeros((total, 2), jnp.float32)  # loss and accuracy of each step
    state, chunk, interrupted = counted_on_device(state), 1, False
    bar = tqdm(total=total, unit="step", disable=not progress, file=sys.stderr, leave=False)
    try:
        while done < total:
            chunk_start, until = time.perf_counter(), min(done + chunk, total)
            trained = jax.block_until_ready(
                _train(state, history, images, labels, order, objective, attack_key, done, until)
            )
            steps = until - done
            (state, history), done = trained, until  # in one go: an interrupt may come any time
            seconds_per_step = (time.perf_counter() - chunk_start) / steps
            # The first chunk is one step and mostly compilation, the second measures.
            chunk = 8 if done == 1 else max(1, int(_CHUNK_SECONDS / seconds_per_step))
            bar.update(steps)
    except KeyboardInterrupt:
        interrupted = True
        print(f"Stopped after {done} of {total} steps; the state so far is kept.")
    finally:
        bar.close()
    losses, accuracies = np.asarray(history[:done]).T
    if done and not np.isfinite(losses[-1]):
        print("The loss is NaN or infinite, and nothing is learned from it: lower the step size.")
    return FitResult(
        state,
        losses,
        accuracies,
        time.perf_counter() - start,
        done * batch_size * int(objective.passes),
        interrupted,
    )


def check_schedule(split: Any, epochs: int, batch_size: int) -> None:
    """Raise unless there are whole epochs, and at least one whole batch in each."""
    for name, number in (("epochs", epochs), ("batch_size", batch_size)):
        if not isinstance(number, int | np.integer) or number < 1:
            raise ValueError(f"{name} must be a whole number from 1, but is {number}: raise it.")
    if batch_size > len(split.labels):
        raise ValueError(
            f"batch_size must be at most the {len(split.labels)} examples of the split, but is "
            f"{batch_size}: lower it."
        )


def _check_fit(state, split, objective):
    checks.check_images(split.images)
    classes = checks.check_logits(logits_fn(state), split.images)
    checks.check_labels(split.labels, split.images, classes=classes)
    check_objective(objective, split.images.shape)


@partial(jax.jit, static_argnums=(1, 2, 3))
def _batches(key: jax.Array, n: int, epochs: int, batch_size: int) -> jax.Array:
    """Return the indices of every batch of training, int [steps, batch_size]."""
    keys = jax.random.split(key, epochs)
    orders = lax.map(lambda key: jax.random.permutation(key, n), keys)  # [epochs, n]
    whole = n - n % batch_size
    return orders[:, :whole].reshape(-1, batch_size)


@jax.jit
def _train(state, history, images, labels, order, objective, key, start, stop):
    """Take the steps from `start` to `stop`: one compiled loop, whatever its length."""

    def step(t, carry):
        state, history = carry
        batch = {"image": images[order[t]], "label": labels[order[t]]}
        progress = (t + 1) / len(order)
        metrics, gradients = objective(state, batch, jax.random.fold_in(key, t), progress)
        return state.apply_gradients(grads=gradients), history.at[t].set(jnp.stack(metrics))

    return lax.fori_loop(start, stop, step, (state, history))
