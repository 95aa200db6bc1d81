"""Bad input, answered in one sentence before anything is computed.

Shapes and types are checked everywhere, under `jit` too. Values are checked where they are known:
in a call from Python, never on a traced array.
"""

import difflib
import math
import numbers
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

# An exact FGSM point exceeds epsilon by up to 3e-8 in float32, a projected point by rounding.
LINF_TOLERANCE = 1e-6
_RELATIVE_TOLERANCE = 1e-5
_ABSOLUTE_TOLERANCE = 1e-6


def with_tolerance(epsilon: Any) -> float:
    """Return the length in l-2 or l-1 that a perturbation within epsilon may have in float32."""
    return float(epsilon) * (1 + _RELATIVE_TOLERANCE) + _ABSOLUTE_TOLERANCE


def is_traced(*values: Any) -> bool:
    """Return whether any of the values is known only as a shape and a type, as under `jit`."""
    return any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(values))


def _known(number: Any, wait: bool) -> bool:
    """Return whether a number's value may be looked at, waiting for the device only if `wait`."""
    return not is_traced(number) and (wait or not isinstance(number, jax.Array))


def check_images(images: Any, *, values: bool = True) -> None:
    """Raise unless images are float [N, H, W, C], N at least 1, and (if `values`) in [0, 1]."""
    dtype = getattr(images, "dtype", None)
    if dtype is None:
        raise TypeError(
            f"images must be a NumPy or JAX array [N, H, W, C], but got a {type(images).__name__}: "
            "convert them with numpy.asarray."
        )
    if not jnp.issubdtype(dtype, jnp.floating):
        raise TypeError(
            f"images must be floats in [0, 1], but are {dtype}: "
            "convert them to float32 and divide by 255."
        )
    if dtype not in (np.float32, np.float64):
        raise TypeError(
            f"images must be float32, but are {dtype}, which is too coarse to hold a perturbation "
            "exactly: convert them with images.astype('float32')."
        )
    if images.ndim != 4:
        raise ValueError(
            f"images must have the shape [N, H, W, C], but have {images.shape}: "
            "add the missing axes, such as images[None] for one image or images[..., None] for "
            "grey ones."
        )
    if 0 in images.shape:
        raise ValueError(
            f"images must hold at least one pixel of one example, but have the shape "
            f"{images.shape}: pass a batch that is not empty."
        )
    if values and not is_traced(images):
        _check_pixels(np.asarray(images))


def _check_pixels(images: np.ndarray) -> None:
    low, high = images.min(), images.max()
    if not (np.isfinite(low) and np.isfinite(high)):
        raise ValueError(
            "images must be finite, but hold NaN or infinite pixels: find them with "
            "numpy.isfinite(images).all(axis=(1, 2, 3))."
        )
    if low < 0 or high > 1:
        advice = (
            "divide by 255"
            if low >= 0 and high > 2
            else "divide grey levels by 255; undo any other scaling, and let the model do it"
        )
        raise ValueError(
            f"images must lie in [0, 1], but reach from {low:.4g} to {high:.4g}: {advice}."
        )


def check_labels(
    labels: Any, images: Any, *, classes: int | None = None, values: bool = True
) -> None:
    """Raise unless labels are int [N] for these images and (if `values`) in [0, classes)."""
    dtype, shape = getattr(labels, "dtype", None), getattr(labels, "shape", None)
    if dtype is None:
        raise TypeError(
            f"labels must be a NumPy or JAX array of integers [N], but got a "
            f"{type(labels).__name__}: convert them with numpy.asarray."
        )
    if len(shape) == 2 and shape[1] > 1:
        raise ValueError(
            f"labels must be class numbers [N], but have the shape {shape}, as one-hot labels do: "
            "take labels.argmax(axis=1)."
        )
    if len(shape) != 1:
        raise ValueError(
            f"labels must have the shape [N], but have {shape}: pass one class number an image, "
            "such as labels[:, 0] of a column."
        )
    if not jnp.issubdtype(dtype, jnp.integer):
        raise TypeError(
            f"labels must be integers, but are {dtype}: convert them with labels.astype('int32')."
        )
    if shape[0] != images.shape[0]:
        raise ValueError(
            f"images and labels must have the same batch size, but there are {images.shape[0]} "
            f"images and {shape[0]} labels: pass one label an image."
        )
    if values and classes is not None and not is_traced(labels):
        low, high = int(np.min(labels)), int(np.max(labels))
        if low < 0 or high >= classes:
            raise ValueError(
                f"labels must lie in [0, {classes}), as the model has {classes} classes, but reach "
                f"from {low} to {high}: number the classes from 0."
            )


def check_batch(batch: Any, *, values: bool) -> None:
    """Raise unless batch is a dict with "image" [N, H, W, C] and "label" [N]."""
    if not isinstance(batch, dict) or not {"image", "label"} <= batch.keys():
        found = sorted(batch) if isinstance(batch, dict) else type(batch).__name__
        raise TypeError(
            f"batch must be a dict with 'image' and 'label', but is {found}: "
            "pass {'image': images, 'label': labels}."
        )
    check_images(batch["image"], values=values)
    check_labels(batch["label"], batch["image"], values=values)


@jax.jit
def _call(logits_fn, images):
    return logits_fn(images)


def check_logits(logits_fn: Any, images: Any) -> int:
    """Return the number of classes K; raise unless logits_fn maps images to float [N, K].

    The function is traced, never run, and traced once a shape.
    """
    logits = jax.eval_shape(_call, logits_fn, images)
    shape, dtype = getattr(logits, "shape", None), getattr(logits, "dtype", None)
    n = images.shape[0]
    if shape is None or len(shape) != 2 or shape[0] != n or shape[1] < 2:
        raise ValueError(
            f"logits_fn must return logits [N, K] with N = {n} and K at least 2, but returned "
            f"{'no array' if shape is None else shape}: return one row of logits an image, "
            "without a softmax, an argmax or a second output."
        )
    if not jnp.issubdtype(dtype, jnp.floating):
        raise TypeError(
            f"logits_fn must return floats, but returned {dtype}: return the logits themselves."
        )
    return shape[1]


def check_threat(threat: Any, image_shape: tuple[int, ...], *, wait: bool = True) -> None:
    """Raise unless epsilon is one number in [0, the largest that the pixel box allows].

    The value of an epsilon on the device is looked at only if `wait`.
    """
    if not hasattr(threat, "largest_epsilon"):
        raise TypeError(
            f"threat must be a threat model such as Linf(0.1), but is a {type(threat).__name__}: "
            "wrap epsilon in Linf, L2 or L1."
        )
    epsilon = threat.epsilon
    _check_number("epsilon", epsilon)
    if _known(epsilon, wait):
        check_epsilon(float(epsilon), threat.largest_epsilon(image_shape), threat.name)


def check_has_direction(threat: Any) -> None:
    """Raise for a threat model that Auto-PGD and Square Attack do not serve: l-1."""
    if not hasattr(threat, "direction"):
        raise TypeError(
            f"threat is {threat.name}, but Auto-PGD, Square Attack and the ensembles serve l-inf "
            "and l-2: use pgd, and base no claim on it."
        )


def _check_number(name: str, number: Any) -> None:
    """Raise unless this is one real number, also as an array that holds it."""
    if not isinstance(number, numbers.Real | np.ndarray | jax.Array):
        raise TypeError(f"{name} must be a number, but is {number!r}: pass a float such as 0.1.")
    if (shape := np.shape(number)) != ():
        raise ValueError(
            f"{name} must be one number, but has the shape {shape}: call once for each {name}."
        )


def check_epsilon(epsilon: float, largest: float = 1.0, name: str = "l-inf") -> None:
    """Raise unless epsilon is a number in [0, largest], in pixel units."""
    if not math.isfinite(epsilon) or epsilon < 0:
        raise ValueError(
            f"epsilon must be a finite number of at least 0, but is {epsilon}: "
            "give it in pixel units, such as 0.1."
        )
    if epsilon > largest * (1 + 1e-6):
        hint = {
            "l-inf": "a budget of 8 grey levels out of 255 is written 8 / 255",
            "l-2": "it is the length of the whole perturbation, the root of its summed squares",
            "l-1": "it is what the changes of all pixels may add up to",
        }
        raise ValueError(
            f"epsilon must be at most {largest:.4g} for {name}, the whole pixel box, but is "
            f"{epsilon:.4g}: {hint[name]}."
        )


def check_counts(*, wait: bool = True, **counts: Any) -> None:
    """Raise unless each is a whole number from 1; one on the device is looked at only if `wait`."""
    for name, count in counts.items():
        number = isinstance(count, int | np.integer | np.ndarray | jax.Array)
        if not (number and jnp.issubdtype(jnp.result_type(count), jnp.integer)):
            raise TypeError(f"{name} must be a whole number, but is {count!r}: pass an int.")
        _check_number(name, count)
        if _known(count, wait) and count < 1:
            raise ValueError(f"{name} must be at least 1, but is {count}: take one or more.")


def check_step_size(step_size: Any) -> None:
    """Raise unless step_size is left out, or a finite number above 0."""
    if step_size is None:
        return
    _check_number("step_size", step_size)
    if _known(step_size, wait=True) and not (math.isfinite(step_size) and step_size > 0):
        raise ValueError(
            f"step_size must be a finite number above 0, but is {step_size}: "
            "leave it out for 2.5 * epsilon / steps."
        )


def check_share(name: str, share: Any, *, wait: bool = True) -> None:
    """Raise unless a number lies in [0, 1]; one on the device is looked at only if `wait`."""
    _check_number(name, share)
    if _known(share, wait) and not 0 <= share <= 1:
        raise ValueError(f"{name} must lie in [0, 1], but is {share}: it is a share, such as 0.5.")


def example_keys(key: Any, n: int) -> jax.Array:
    """Return n keys, one an example: those given, or the one given folded with 0 ... n - 1.

    Args:
        key: one `jax.random.key` (or an old-style `PRNGKey`), or n of them.
        n: the number of examples.

    Raises:
        TypeError: `key` is no random key.
        ValueError: there is neither one key nor n.
    """
    key = _new_style(key)
    if key.shape == (n,):
        return key
    if key.shape != ():
        raise ValueError(
            f"key must be one key or one for each of the {n} examples, but has the shape "
            f"{key.shape}: pass one key, and it is split for you."
        )
    return fold_in_all(key, jnp.arange(n))


def one_key(key: Any) -> jax.Array:
    """Return the one random key given, in the new style; raise if it is none, or several."""
    key = _new_style(key)
    if key.shape != ():
        raise ValueError(
            f"key must be one key, but has the shape {key.shape}: pass one, and it is split for "
            "every example."
        )
    return key


def _new_style(key: Any) -> jax.Array:
    dtype = getattr(key, "dtype", None)
    if dtype == jnp.uint32 and key.shape[-1:] == (2,):
        return jax.random.wrap_key_data(key)
    if dtype is None or not jnp.issubdtype(dtype, jax.dtypes.prng_key):
        raise TypeError(
            f"key must be a JAX random key, but is {key if dtype is None else dtype}: "
            "make one with jax.random.key(0)."
        )
    return key


fold_in_all = jax.jit(jax.vmap(jax.random.fold_in, in_axes=(None, 0)))


def suggestion(name: str, known: list[str]) -> str:
    """Return ` (did you mean 'x'?)` for the known name nearest to `name`, or nothing."""
    nearest = difflib.get_close_matches(str(name), known, n=1)
    return f" (did you mean {nearest[0]!r}?)" if nearest else ""
