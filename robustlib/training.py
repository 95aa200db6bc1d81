"""Training: what one step minimises."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from flax.training.train_state import TrainState
from jax import lax

from robustlib import attacks, checks
from robustlib.logits import logits_fn, predicted
from robustlib.losses import cross_entropy
from robustlib.threat import Linf, Threat

# ---- the contract: two functions that readers paste ----------------------------------------------


def fgsm_attack(state: TrainState, batch: dict, epsilon: float = 0.1) -> jax.Array:
    """Return `clip(x + epsilon * sign(grad_x L(f(x), y)), 0, 1)` for a batch.

    The fast gradient sign method of Goodfellow et al. (2015), with softmax cross-entropy for L.

    Args:
        state: a Flax `TrainState`, with `state.apply_fn({"params": state.params}, images)`.
        batch: {"image": float [N, H, W, C] in [0, 1], "label": int [N]}.
        epsilon: the largest change of a pixel, in [0, 1].

    Returns:
        float [N, H, W, C] in [0, 1].

    Raises:
        TypeError, ValueError: the batch or epsilon is of the wrong type, shape or range.
    """
    checks.check_batch(batch, values=False)
    return attacks.fgsm(logits_fn(state), batch["image"], batch["label"], Linf(epsilon))


def adversarial_train_step(
    state: TrainState, batch: dict, epsilon: float = 0.1, *, weight: float = 0.5
) -> TrainState:
    """Return the state after one step on half clean, half adversarial loss.

    Goodfellow et al. (2015), section 6: `(1 - weight) * L(f(x), y) + weight * L(f(x_adv), y)`, the
    mean over the batch, with `x_adv` from `fgsm_attack` on the current state, treated as constant.
    The clean pass yields the attack's gradient too, so a step takes two passes, not three.

    Args:
        state: a Flax `TrainState`.
        batch: {"image": float [N, H, W, C] in [0, 1], "label": int [N]}.
        epsilon: the largest change of a pixel, in [0, 1].
        weight: the share of the adversarial loss, in [0, 1].

    Returns:
        The updated state.

    Raises:
        TypeError, ValueError: the batch is of the wrong type or shape, epsilon out of range.
    """
    return _checked_step(state, batch, Mixed(epsilon, weight), jax.random.key(0))


def standard_train_step(state: TrainState, batch: dict) -> TrainState:
    """Return the state after one step on the mean loss of a batch, `mean L(f(x), y)`.

    Args:
        state: a Flax `TrainState`.
        batch: {"image": float [N, H, W, C] in [0, 1], "label": int [N]}.

    Returns:
        The updated state.

    Raises:
        TypeError, ValueError: the batch is of the wrong type or shape.
    """
    return _checked_step(state, batch, Standard(), jax.random.key(0))


def pgd_train_step(
    state: TrainState, batch: dict, key: jax.Array, threat: Threat, *, steps: int = 5
) -> TrainState:
    """Return the state after one step on the min-max objective, the maximum found by PGD.

    Madry et al. (2018), equation 2.1: `mean L(f(x_adv), y)`, adversarial images only.

    Args:
        state: a Flax `TrainState`.
        batch: {"image": float [N, H, W, C] in [0, 1], "label": int [N]}.
        key: for the random starts.
        threat: `Linf` or `L2`.
        steps: gradient steps of the attack, each of 2.5 * epsilon / steps.

    Returns:
        The updated state.

    Raises:
        TypeError, ValueError: an argument is of the wrong type or shape, epsilon out of range.
    """
    return _checked_step(state, batch, MinMax(threat, steps), key)


# ---- objectives: what one step minimises -------------------------------------------------------


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Standard:
    """The expected loss on clean images, `mean L(f(x), y)`: one gradient pass a step."""

    passes = 1

    def __call__(self, state, batch, key, progress):
        """Return (loss, accuracy) on the batch and the loss's gradient by the parameters."""
        return _loss_and_gradients(state.params, state, batch["image"], batch)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Mixed:
    """`(1 - weight) * L(f(x), y) + weight * L(f(x_fgsm), y)`: two gradient passes a step.

    Args:
        epsilon: the largest change of a pixel, in [0, 1].
        weight: the share of the adversarial loss, in [0, 1].
        ramp: the share of training over which epsilon grows from zero, in [0, 1].
    """

    epsilon: float | jax.Array
    weight: float | jax.Array = 0.5
    ramp: float | jax.Array = 0.0
    passes = 2

    @property
    def threat(self) -> Linf:
        """Its threat model, `Linf(epsilon)`."""
        return Linf(self.epsilon)

    def __call__(self, state, batch, key, progress):
        """Return (loss, accuracy) on the batch and the loss's gradient by the parameters."""
        images, n = batch["image"], batch["image"].shape[0]

        def summed_loss(params, images):
            loss, accuracy = _mean_loss(params, state, images, batch)
            return n * loss, (loss, accuracy)

        # One pass, differentiated twice over: for the parameters and for the attack.
        (_, clean), (clean_gradients, image_gradients) = jax.value_and_grad(
            summed_loss, (0, 1), has_aux=True
        )(state.params, images)
        epsilon = self.epsilon * _ramp(progress, self.ramp)
        adversarial_images = self.threat.steepest(images, image_gradients, epsilon)
        adversarial, adversarial_gradients = _loss_and_gradients(
            state.params, state, adversarial_images, batch
        )
        return jax.tree.map(
            lambda c, a: (1 - self.weight) * c + self.weight * a,
            (clean, jax.tree.map(lambda g: g / n, clean_gradients)),
            (adversarial, adversarial_gradients),
        )


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class MinMax:
    """`max_{x_adv} L(f(x_adv), y)`, the maximum found by PGD: steps + 1 gradient passes a step.

    Args:
        threat: `Linf` or `L2`.
        steps: gradient steps of the attack, each of 2.5 * epsilon / steps.
        ramp: the share of training over which epsilon grows from zero, in [0, 1]. Where epsilon
            is large, 0.3 on MNIST for one, training without a ramp may stay at the loss of a
            network that does not look at the image, log K; 0.3 is a good ramp.
    """

    threat: Threat
    steps: int | jax.Array = 5
    ramp: float | jax.Array = 0.0

    @property
    def passes(self) -> int:
        """Gradient passes a step."""
        return self.steps + 1

    def __call__(self, state, batch, key, progress):
        """Return (loss, accuracy) on the batch and the loss's gradient by the parameters."""
        images, labels = batch["image"], batch["label"]
        threat = type(self.threat)(self.threat.epsilon * _ramp(progress, self.ramp))
        keys = checks.fold_in_all(key, jnp.arange(images.shape[0]))

        def loss(params):
            adversarial = attacks.ascend(
                lambda points: state.apply_fn({"params": params}, points),
                images,
                labels,
                threat,
                threat.sample(images, keys),
                steps=self.steps,
                step_size=2.5 * threat.epsilon / self.steps,
            )
            # Danskin's theorem: the gradient is the one at the maximum, held constant.
            return _mean_loss(params, state, lax.stop_gradient(adversarial), batch)

        return jax.value_and_grad(loss, has_aux=True)(state.params)


Objective = Standard | Mixed | MinMax


def _mean_loss(params, state, images, batch):
    """Return the mean loss, and beside it the share classified correctly."""
    logits = state.apply_fn({"params": params}, images)
    accuracy = (predicted(logits) == batch["label"]).mean()
    return cross_entropy(logits, batch["label"]).mean(), accuracy


_loss_and_gradients = jax.value_and_grad(_mean_loss, has_aux=True)


def _ramp(progress, ramp):
    """Return min(1, progress / ramp): the share of epsilon in force after `progress` in (0, 1]."""
    return jnp.minimum(1.0, progress / jnp.maximum(ramp, 1e-9))


@jax.jit
def _step(state, batch, objective, key):
    checks.check_logits(logits_fn(state), batch["image"])  # once, when this is compiled
    _, gradients = objective(state, batch, key, progress=1.0)
    return state.apply_gradients(grads=gradients)


def _checked_step(state, batch, objective, key):
    """Take one step, checking what can be checked without waiting for the device."""
    checks.check_batch(batch, values=False)
    check_objective(objective, batch["image"].shape, wait=False)
    return _step(counted_on_device(state), batch, objective, key)


def check_objective(
    objective: Objective, image_shape: tuple[int, ...], *, wait: bool = True
) -> None:
    """Raise unless the numbers of an objective are of the right type and range.

    Numbers on the device are looked at only if `wait`.
    """
    if not isinstance(objective, Objective):
        raise TypeError(
            f"objective must be Standard(), Mixed(...) or MinMax(...), but is {objective!r}: "
            "make one of these."
        )
    if not isinstance(objective, Standard):
        checks.check_threat(objective.threat, image_shape, wait=wait)
        checks.check_share("ramp", objective.ramp, wait=wait)
    if isinstance(objective, Mixed):
        checks.check_share("weight", objective.weight, wait=wait)
    if isinstance(objective, MinMax):
        checks.check_counts(wait=wait, steps=objective.steps)


def counted_on_device(state: TrainState) -> TrainState:
    """`TrainState.create` counts in a Python int, which would be compiled for a second time."""
    return state.replace(step=jnp.asarray(state.step, jnp.int32))
