"""The two networks: their shapes, their parameters, and that they treat images alike."""

import jax
import numpy as np
import pytest

from robustlib import MLP, SmallCNN
from tests.properties import first

SHAPES = [(28, 28, 1), (32, 32, 3)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("model", [MLP(), SmallCNN(), MLP(classes=3, hidden=(8, 5))], ids=repr)
def test_it_fits_every_data_set(model, shape):
    images = np.zeros((2, *shape), np.float32)
    params = jax.eval_shape(model.init, jax.random.key(0), images)
    out = jax.eval_shape(model.apply, params, images)
    assert out.shape == (2, model.classes) and out.dtype == np.float32


def test_the_small_cnn_has_the_layers_of_the_paper():
    params = jax.eval_shape(SmallCNN().init, jax.random.key(0), np.zeros((1, 28, 28, 1)))["params"]
    shapes = {name: tuple(layer["kernel"].shape) for name, layer in params.items()}
    assert shapes == {
        "Conv_0": (4, 4, 1, 16),
        "Conv_1": (4, 4, 16, 32),
        "Dense_0": (7 * 7 * 32, 100),
        "Dense_1": (100, 10),
    }


def test_the_small_cnn_has_the_widths_it_is_given():
    model = SmallCNN(classes=3, channels=(4, 6), hidden=5)
    params = jax.eval_shape(model.init, jax.random.key(0), np.zeros((1, 28, 28, 1)))["params"]
    assert [layer["kernel"].shape[-1] for layer in params.values()] == [4, 6, 5, 3]


def test_the_mlp_has_the_widths_it_is_given():
    params = jax.eval_shape(
        MLP(classes=3, hidden=(8, 5)).init, jax.random.key(0), np.zeros((1, 4, 4, 1))
    )["params"]
    assert [params[f"Dense_{i}"]["kernel"].shape for i in range(3)] == [(16, 8), (8, 5), (5, 3)]


def test_the_fast_convolution_is_for_cpus(monkeypatch):
    images = np.zeros((1, 28, 28, 1), np.float32)

    def is_fast(model):
        program = jax.make_jaxpr(model.init)(jax.random.key(0), images)
        return "custom_vjp" in str(program)

    assert is_fast(SmallCNN(fast=True)) and not is_fast(SmallCNN(fast=False))
    monkeypatch.setattr(jax, "default_backend", lambda: "cpu")
    assert is_fast(SmallCNN())
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert not is_fast(SmallCNN())


def test_an_image_is_treated_alike_alone_and_in_a_batch(cnn):
    images, _ = first(cnn, 20)
    logits = cnn.state.apply_fn({"params": cnn.state.params}, images)
    alone = [cnn.state.apply_fn({"params": cnn.state.params}, image[None])[0] for image in images]
    np.testing.assert_allclose(logits, alone, atol=1e-4)
