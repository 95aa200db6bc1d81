"""The seam: attacks and evaluation see a function from images to logits, and nothing behind it."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.tree_util import Partial


def logits_fn(model: Any, params: Any = None) -> Partial:
    """Return a function from images to logits that jitted code takes as an ordinary argument.

    The result is a pytree. Its static part is the function, its leaves are the parameters. So an
    attack compiles once for all states of one model, where a fresh `lambda images: ...` would make
    it compile again at every call. Two equal Flax modules do not have equal `apply` methods:
    make the model once. A plain function compiles once per function object, so make that once too.

    Args:
        model: a Flax `TrainState`; or a function `(params, images) -> logits`; or, without params,
            a function `images -> logits`. Images are float32 [N, H, W, C] in [0, 1], logits
            float [N, K].
        params: the parameters, any pytree of arrays, where `model` is a function that takes them.

    Returns:
        A `jax.tree_util.Partial`, to be called with images [N, H, W, C].

    Raises:
        TypeError: `model` is neither a state nor a function, or has parameters of its own.
    """
    has_its_own = isinstance(model, Partial) or hasattr(model, "params")
    if has_its_own and params is not None:
        raise TypeError(
            "logits_fn takes params beside a function (params, images) -> logits only: put them "
            "into a state with state.replace(params=params)."
        )
    if isinstance(model, Partial):
        return model
    if hasattr(model, "apply_fn") and hasattr(model, "params"):
        return Partial(model.apply_fn, {"params": model.params})
    if not isinstance(model, Callable):
        raise TypeError(
            f"logits_fn needs a TrainState or a function from images to logits, but got "
            f"{type(model).__name__}: pass the state, or a function and its parameters."
        )
    return Partial(model) if params is None else Partial(model, params)


@jax.jit
def forward(logits_fn: Any, images: jax.Array) -> jax.Array:
    """Return the logits [N, K] of images [N, H, W, C], compiled once for all states of a model."""
    return logits_fn(images)


def predicted(logits: jax.Array) -> jax.Array:
    """Return the class int [N] of the largest logit; -1, no class, where a logit is NaN."""
    return jnp.where(jnp.isnan(logits).any(axis=1), -1, logits.argmax(axis=1))
