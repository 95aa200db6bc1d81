"""The seam: one form for states, functions of parameters and plain functions."""

import jax
import numpy as np
import pytest

import robustlib
from tests.properties import first


def test_all_forms_are_one_function(cnn):
    images, _ = first(cnn, 20)
    state = cnn.state

    def with_params(params, images):
        return state.apply_fn({"params": params}, images)

    expected = state.apply_fn({"params": state.params}, images)
    for form in (
        robustlib.logits_fn(state),
        robustlib.logits_fn(with_params, state.params),
        robustlib.logits_fn(lambda images: with_params(state.params, images)),
        robustlib.logits_fn(robustlib.logits_fn(state)),
    ):
        np.testing.assert_array_equal(form(images), expected)


def test_its_leaves_are_the_parameters(cnn):
    params = jax.tree.leaves(cnn.state.params)
    leaves = jax.tree.leaves(robustlib.logits_fn(cnn.state))
    assert len(params) == len(leaves) and all(a is b for a, b in zip(params, leaves, strict=True))


def test_all_states_of_a_model_are_one_to_jitted_code(cnn, compilations):
    images, _ = first(cnn, 20)
    later = cnn.state.replace(params=jax.tree.map(lambda w: np.asarray(w) / 2, cnn.state.params))
    call = jax.jit(lambda f, images: f(images))
    call(robustlib.logits_fn(cnn.state), images)
    before = compilations()
    call(robustlib.logits_fn(later), images)
    assert compilations() == before
    call(robustlib.logits_fn(lambda images: images.sum((2, 3))), images)
    assert compilations() > before  # a new function is compiled, and the count sees it


def test_params_beside_a_model_that_has_its_own_are_refused(cnn):
    for model in (cnn.state, robustlib.logits_fn(cnn.state)):
        with pytest.raises(TypeError, match=r"state.replace\(params=params\)"):
            robustlib.logits_fn(model, cnn.state.params)
