"""Auto-PGD (Croce and Hein, 2020): projected gradient ascent that sets its own step size.

Everything that is remembered is remembered per example, the count of its steps too. So examples at
different stages can share a batch, which the ensemble of `evaluate_robustness` makes use of.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from robustlib import checks
from robustlib.attacks import Loss, checked, finite, image_gradient
from robustlib.logits import forward, predicted
from robustlib.losses import cross_entropy, targeted_dlr
from robustlib.threat import Threat

_MOMENTUM = 0.75  # alpha of the paper: the weight of the new step
_RISES = 0.75  # rho of the paper: the share of steps that have to raise the loss


class Ascent(NamedTuple):
    """Where Auto-PGD stands with each of N examples.

    `points` is where the next gradient is taken, `best` the point of the highest loss so far.
    Once an example is fooled, `best` is the image that fools the model, and nothing changes more.
    """

    points: jax.Array  # [N, H, W, C]
    previous: jax.Array  # [N, H, W, C]: the points one step earlier
    best: jax.Array  # [N, H, W, C]
    best_gradient: jax.Array  # [N, H, W, C]: the gradient at `best`
    best_loss: jax.Array  # [N]
    loss: jax.Array  # [N]: where the last gradient was taken
    step: jax.Array  # int [N]: steps taken
    step_size: jax.Array  # [N]
    rises: jax.Array  # int [N]: steps since the last checkpoint that raised the loss
    checked_loss: jax.Array  # [N]: the best loss at the last checkpoint, or at the start
    halved: jax.Array  # bool [N]: whether the step was halved there
    fooled: jax.Array  # bool [N]


def apgd(
    logits_fn: Any,
    images: jax.Array,
    labels: jax.Array,
    threat: Threat,
    key: jax.Array,
    *,
    steps: int = 100,
    restarts: int = 1,
    loss: Loss = cross_entropy,
) -> jax.Array:
    """Return the strongest images that Auto-PGD finds (Croce and Hein, 2020, algorithm 1).

    From a random start the first step is 2 * epsilon long. At checkpoints, which come more and
    more often, an example whose loss rose in fewer than three of four steps, or whose step and best
    loss both stayed as they were, goes back to its best point with half the step. A quarter of
    each move is the move before it. An example that fools the model is left alone from then on.

    Args:
        logits_fn: images [N, H, W, C] to logits [N, K]; see `robustlib.logits_fn`.
        images: float [N, H, W, C] in [0, 1].
        labels: int [N] in [0, K), the true classes.
        threat: `Linf` or `L2`.
        key: one `jax.random.key`, or N of them, one for each example.
        steps: gradient steps a restart, from 1.
        restarts: random starts, from 1.
        loss: from logits [N, K] and labels [N] to [N]: `cross_entropy`, `dlr` or your own.

    Returns:
        float [N, H, W, C] in the threat model's ball and in [0, 1]: for each example the image that
        fools the model, else the one of the highest loss.

    Raises:
        TypeError, ValueError: an argument is of the wrong type, shape or range.
    """
    checks.check_counts(steps=steps, restarts=restarts)
    logits_fn, images, labels, threat = checked(logits_fn, images, labels, threat)
    checks.check_has_direction(threat)
    keys = checks.example_keys(key, images.shape[0])
    aims = [labels] * int(restarts)
    return _best_of_runs(logits_fn, images, labels, aims, threat, keys, steps, loss, False)


def apgd_targeted(
    logits_fn: Any,
    images: jax.Array,
    labels: jax.Array,
    threat: Threat,
    key: jax.Array,
    *,
    steps: int = 100,
    targets: int = 9,
    loss=targeted_dlr,
) -> jax.Array:
    """Return the strongest images that Auto-PGD finds by aiming at one class after the other.

    Croce and Hein (2020), section 5: a run of `apgd` towards each of the most likely wrong classes,
    likeliest first, each from a random start of its own.

    Args:
        logits_fn: images [N, H, W, C] to logits [N, K]; see `robustlib.logits_fn`.
        images: float [N, H, W, C] in [0, 1].
        labels: int [N] in [0, K), the true classes.
        threat: `Linf` or `L2`.
        key: one `jax.random.key`, or N of them, one for each example.
        steps: gradient steps a target, from 1.
        targets: classes to aim at, from 1; at most K - 1 of them are there.
        loss: from logits [N, K], labels [N] and targets [N] to [N].

    Returns:
        float [N, H, W, C] in the threat model's ball and in [0, 1]: for each example the image that
        fools the model, else the one of the highest loss towards any target.

    Raises:
        TypeError, ValueError: an argument is of the wrong type, shape or range.
    """
    checks.check_counts(steps=steps, targets=targets)
    logits_fn, images, labels, threat = checked(logits_fn, images, labels, threat)
    checks.check_has_direction(threat)
    keys = checks.example_keys(key, images.shape[0])
    classes = likeliest_wrong(forward(logits_fn, images), labels)[:, : int(targets)]
    aims = list(classes.T)
    return _best_of_runs(logits_fn, images, labels, aims, threat, keys, steps, loss, True)


def likeliest_wrong(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """Return the wrong classes int [N, K - 1], the most likely first."""
    true_class = labels[:, None] == jnp.arange(logits.shape[1])[None]
    order = jnp.argsort(-jnp.where(true_class, -jnp.inf, logits), axis=1)
    return order[:, :-1]


def checkpoints(steps: int) -> np.ndarray:
    """Return, for each step 0 ... steps, the length of the interval that a checkpoint there ends.

    Zero where there is no checkpoint, -1 beyond the last step: with a size in steps of 128, most
    numbers of steps share what is compiled. Section 3.2 of the paper, in hundredths of all steps:
    p_0 = 0, p_1 = 22, p_(j+1) = p_j + max(p_j - p_(j-1) - 3, 6).
    """
    lengths = np.full((steps + 1) // 128 * 128 + 128, -1, np.int32)
    lengths[: steps + 1] = 0
    before, interval, last = 0, 22, 0
    while before + interval <= 100:
        before += interval
        interval = max(interval - 3, 6)
        checkpoint = -(-before * steps // 100)
        if checkpoint > last:  # a few steps hold fewer checkpoints
            lengths[checkpoint], last = checkpoint - last, checkpoint
    return lengths


@jax.jit
def start(images: jax.Array, threat: Threat, keys: jax.Array) -> Ascent:
    """Return the state before the first step: each example at a random point of ball and box."""
    n, none = len(images), jnp.zeros(len(images), images.dtype)
    points, unseen = threat.sample(images, keys), none - jnp.inf
    return Ascent(
        points=points,
        previous=points,
        best=points,
        best_gradient=jnp.zeros_like(points),
        best_loss=unseen,
        loss=unseen,
        step=jnp.zeros(n, int),
        step_size=none + 2 * threat.epsilon,
        rises=jnp.zeros(n, int),
        checked_loss=unseen,
        halved=jnp.zeros(n, bool),
        fooled=jnp.zeros(n, bool),
    )


@partial(jax.jit, static_argnames=("loss", "targeted"))
def advance(
    logits_fn, images, labels, aims, threat, state: Ascent, lengths, passes, *, loss, targeted
) -> Ascent:
    """Return the state after at most `passes` gradients, fewer once every example is finished.

    Args:
        logits_fn: images [N, H, W, C] to logits [N, K].
        images: float [N, H, W, C], the centres of the balls.
        labels: int [N], the true classes.
        aims: int [N], the classes to reach, if `targeted`.
        threat: `Linf` or `L2`.
        state: from `start` or from here, for these examples.
        lengths: from `checkpoints`.
        passes: gradients an example, at most; may be traced.
        loss: from logits, labels and, if `targeted`, aims to [N].
        targeted: whether the loss takes aims.
    """

    def loss_of(logits, labels):
        return loss(logits, labels, aims) if targeted else loss(logits, labels)

    def one_pass(carry):
        done, state = carry
        gradient, (logits, losses) = image_gradient(logits_fn, state.points, labels, loss=loss_of)
        new = _seen(state, finite(gradient), losses, predicted(logits) != labels)
        new = _moved(new, finite(gradient), images, threat, lengths)
        return done + 1, choose(is_finished(state, lengths), state, new)

    def unfinished(carry):
        done, state = carry
        return (done < passes) & ~is_finished(state, lengths).all()

    return lax.while_loop(unfinished, one_pass, (0, state))[1]


def is_finished(state: Ascent, lengths) -> jax.Array:
    """Return bool [N]: who is fooled, or has taken all steps and seen where the last one led."""
    return state.fooled | (jnp.asarray(lengths)[state.step] < 0)


@jax.jit
def choose(where: jax.Array, these: Any, those: Any) -> Any:
    """Return a state with the examples of `these` where bool [N] is true, of `those` elsewhere."""
    return jax.tree.map(
        lambda a, b: jnp.where(where.reshape(-1, *[1] * (a.ndim - 1)), a, b), these, those
    )


def _seen(state, gradient, losses, fooled):
    """Return the state with what was found at `points` written down."""
    better = fooled | (losses > state.best_loss)
    best, best_gradient, best_loss = choose(
        better,
        (state.points, gradient, losses),
        (state.best, state.best_gradient, state.best_loss),
    )
    rose = (losses > state.loss) & (state.step > 0)
    return state._replace(
        best=best,
        best_gradient=best_gradient,
        best_loss=best_loss,
        loss=losses,
        rises=state.rises + rose,
        checked_loss=jnp.where(state.step > 0, state.checked_loss, losses),
        fooled=fooled,
    )


def _moved(state, gradient, images, threat, lengths):
    """Return the state after the checkpoint, where there is one at this step, and the next step."""
    length = jnp.asarray(lengths)[state.step]
    at_checkpoint = length > 0
    unmoved = ~state.halved & (state.best_loss <= state.checked_loss)
    halved = at_checkpoint & ((state.rises < _RISES * length) | unmoved)
    step_size = jnp.where(halved, state.step_size / 2, state.step_size)
    points, gradient = choose(halved, (state.best, state.best_gradient), (state.points, gradient))
    step = step_size[:, None, None, None] * threat.direction(gradient)
    ahead = threat.project(images, points + step)
    share = jnp.where(state.step > 0, _MOMENTUM, 1.0).astype(images.dtype)[:, None, None, None]
    moved = points + share * (ahead - points) + (1 - share) * (points - state.previous)
    return state._replace(
        points=threat.project(images, moved),
        previous=points,
        step=state.step + 1,
        step_size=step_size,
        rises=jnp.where(at_checkpoint, 0, state.rises),
        checked_loss=jnp.where(at_checkpoint, state.best_loss, state.checked_loss),
        halved=jnp.where(at_checkpoint, halved, state.halved),
    )


def _best_of_runs(logits_fn, images, labels, aims, threat, keys, steps, loss, targeted):
    """Return the best points of one run for each of `aims`; a fooled example is left alone."""
    lengths, best = checkpoints(int(steps)), None
    for run, aim in enumerate(aims):
        state = start(images, threat, fold_in_each(keys, run))
        if best is not None:
            state = state._replace(fooled=best.fooled)
        state = advance(
            logits_fn,
            images,
            labels,
            aim,
            threat,
            state,
            lengths,
            int(steps) + 1,
            loss=loss,
            targeted=targeted,
        )
        best = state if best is None else _better(best, state)
    return best.best


@jax.jit
def _better(best, new):
    """Keep, for each example, what fools the model, else the higher loss."""
    wins = ~best.fooled & (new.fooled | (new.best_loss > best.best_loss))
    return choose(wins, new, best)


fold_in_each = jax.jit(jax.vmap(jax.random.fold_in, in_axes=(0, None)))
