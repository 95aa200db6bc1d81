"""The fast convolution, beside Flax's own."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from jax import lax

from robustlib import SmallCNN, convolution, cross_entropy
from robustlib.convolution import convolve

DIMENSIONS = ("NHWC", "HWIO", "NHWC")
# (height, width, channels), (kernel height, width), outputs, strides, padding
TABLE = {
    "first layer": ((28, 28, 1), (4, 4), 16, (2, 2), ((1, 1), (1, 1))),
    "first layer, colour": ((32, 32, 3), (4, 4), 16, (2, 2), ((1, 1), (1, 1))),
    "four channels": ((6, 10, 4), (4, 4), 2, (2, 2), ((1, 1), (1, 1))),
    "second layer": ((14, 14, 16), (4, 4), 32, (2, 2), ((1, 1), (1, 1))),
    "five channels": ((6, 4, 5), (4, 4), 3, (2, 2), ((1, 1), (1, 1))),
    "smallest": ((2, 2, 1), (4, 4), 1, (2, 2), ((1, 1), (1, 1))),
    "odd height": ((7, 8, 2), (4, 4), 3, (2, 2), ((1, 1), (1, 1))),
    "odd sizes": ((9, 7, 5), (4, 4), 3, (2, 2), ((1, 1), (1, 1))),
    "same": ((8, 9, 3), (3, 3), 4, (1, 1), "SAME"),
    "valid": ((8, 9, 3), (3, 5), 4, (1, 1), "VALID"),
    "strided, same": ((9, 9, 2), (3, 3), 4, (2, 2), "SAME"),
    "stride 3": ((11, 8, 2), (5, 5), 3, (3, 3), ((2, 2), (2, 2))),
    "two strides": ((8, 9, 2), (3, 3), 3, (1, 2), ((1, 1), (1, 1))),
    "uneven padding": ((8, 8, 2), (4, 4), 3, (2, 2), ((0, 1), (2, 1))),
    "kernel 1": ((5, 5, 4), (1, 1), 6, (1, 1), ((0, 0), (0, 0))),
    "kernel 2, stride 2": ((7, 6, 2), (2, 2), 3, (2, 2), ((0, 0), (0, 0))),
    "pixels never read": ((8, 8, 1), (2, 2), 2, (3, 3), ((0, 0), (0, 0))),
}


def derivatives(conv, images, kernel, strides, padding, weights):
    """Return the result, and the gradients for images and kernel of a weighted sum of it."""

    def value(images, kernel):
        out = conv(images, kernel, strides, padding)
        return (out * weights).sum(), out

    gradients, out = jax.grad(value, (0, 1), has_aux=True)(images, kernel)
    return out, *gradients


def flax_own(images, kernel, strides, padding):
    return lax.conv_general_dilated(images, kernel, strides, padding, dimension_numbers=DIMENSIONS)


CASES = [(name, 3) for name in TABLE] + [("second layer", 257)]


@pytest.mark.parametrize(("name", "n"), CASES)
def test_it_is_flaxs_own_in_value_and_gradients(name, n):
    size, kernel_size, outputs, strides, padding = TABLE[name]
    rng = np.random.default_rng(0)
    images = rng.normal(size=(n, *size)).astype(np.float32)
    kernel = rng.normal(size=(*kernel_size, size[2], outputs)).astype(np.float32)
    shape = jax.eval_shape(lambda x, k: flax_own(x, k, strides, padding), images, kernel).shape
    weights = rng.normal(size=shape).astype(np.float32)

    @jax.jit
    def all_of_them(images, kernel):
        expected = derivatives(flax_own, images, kernel, strides, padding, weights)
        found = derivatives(convolve, images, kernel, strides, padding, weights)

        def body(_, carry):
            return derivatives(convolve, images, kernel, strides, padding, weights)

        return expected, found, lax.fori_loop(0, 2, body, jax.tree.map(jnp.zeros_like, found))

    expected, found, in_a_loop = all_of_them(images, kernel)
    for mine, looped, flaxs in zip(found, in_a_loop, expected, strict=True):
        scale = np.abs(flaxs).max()
        np.testing.assert_allclose(mine, flaxs, rtol=0, atol=1e-5 * scale)
        np.testing.assert_allclose(looped, flaxs, rtol=0, atol=1e-5 * scale)


def test_the_table_takes_all_three_ways(monkeypatch):
    calls = []
    for way in ("_general", "_halve", "_halve_few_channels"):
        monkeypatch.setattr(convolution, way, lambda *args, way=way: calls.append(way))
    for size, kernel_size, outputs, strides, padding in TABLE.values():
        convolve(np.zeros((3, *size)), np.zeros((*kernel_size, size[2], outputs)), strides, padding)
    taken = dict(zip(TABLE, calls, strict=True))
    special = {name: way for name, way in taken.items() if way != "_general"}
    assert special == {
        "first layer": "_halve_few_channels",
        "first layer, colour": "_halve_few_channels",
        "four channels": "_halve_few_channels",
        "smallest": "_halve_few_channels",
        "second layer": "_halve",
        "five channels": "_halve",
    }


@pytest.mark.parametrize(
    "layer",
    [
        {"feature_group_count": 2},
        {"kernel_dilation": 2},
        {"input_dilation": 2},
        {"precision": "highest"},
    ],
    ids=str,
)
def test_it_refuses_what_it_does_not_do(layer):
    conv = nn.Conv(4, (3, 3), conv_general_dilated=convolve, **layer)
    with pytest.raises(NotImplementedError, match="knows no groups, dilation or precision.*use nn"):
        jax.eval_shape(conv.init, jax.random.key(0), jnp.zeros((1, 8, 8, 2)))


def test_it_refuses_another_layout():
    with pytest.raises(NotImplementedError, match="images .N, H, W, C., but was given the layout"):
        convolve(
            np.zeros((1, 3, 8, 8), np.float32),
            np.zeros((4, 3, 3, 3), np.float32),
            (1, 1),
            "SAME",
            dimension_numbers=("NCHW", "OIHW", "NCHW"),
        )


@pytest.mark.parametrize("name", ["first layer", "second layer", "same"])
def test_it_has_no_forward_mode(name):
    size, kernel_size, outputs, strides, padding = TABLE[name]
    images = jnp.zeros((1, *size))
    kernel = jnp.zeros((*kernel_size, size[2], outputs))
    with pytest.raises(TypeError, match="forward-mode"):
        jax.jvp(lambda x: convolve(x, kernel, strides, padding), (images,), (images,))


def test_the_model_is_the_same_with_and_without_it():
    images = jax.random.uniform(jax.random.key(1), (4, 32, 32, 3))
    fast, plain = SmallCNN(fast=True), SmallCNN(fast=False)
    params = fast.init(jax.random.key(0), images)
    jax.tree.map(np.testing.assert_array_equal, params, plain.init(jax.random.key(0), images))

    def found(model, params, images):
        """Return the logits, and the gradients of a loss by parameters and images."""

        def loss(params, images):
            logits = model.apply(params, images)
            return cross_entropy(logits, np.arange(4)).sum(), logits

        gradients, logits = jax.grad(loss, (0, 1), has_aux=True)(params, images)
        return logits, gradients

    with_it, without = (jax.jit(partial(found, model))(params, images) for model in (fast, plain))
    assert jax.tree.structure(with_it) == jax.tree.structure(without)
    for ours, flaxs in zip(jax.tree.leaves(with_it), jax.tree.leaves(without), strict=True):
        np.testing.assert_allclose(ours, flaxs, rtol=0, atol=1e-5 * np.abs(flaxs).max())
