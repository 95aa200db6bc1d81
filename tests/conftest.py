"""What the tests share: strict JAX, one trained network, a count of compilations."""

import jax
import optax
import pytest

import robustlib
from robustlib import comparisons
from robustlib.ensemble import ENSEMBLES, AutoPGD
from tests.properties import Trained

jax.config.update("jax_numpy_rank_promotion", "raise")

_compilations = []
jax.monitoring.register_event_duration_secs_listener(
    lambda event, seconds, **_: _compilations.append(event) if "backend_compile" in event else None
)


@pytest.fixture(autouse=True, scope="module")
def compiled_code_is_let_go():
    """Free the memory of what a file of tests has compiled: together it would be gigabytes."""
    yield
    jax.clear_caches()


@pytest.fixture
def compilations():
    """A function that returns how often anything was compiled in this process so far."""
    return lambda: len(_compilations)


@pytest.fixture
def uncompared(monkeypatch):
    """Ensembles compare no attacks, which would cost more than to run them on a few images."""
    monkeypatch.setattr(comparisons, "flags", lambda *where, **how: [])


@pytest.fixture
def brief(uncompared, monkeypatch):
    """The quick ensemble has one short attack, and compares none."""
    monkeypatch.setitem(ENSEMBLES, "quick", (AutoPGD("APGD-CE", steps=3),))


@pytest.fixture(scope="session")
def data():
    return robustlib.load_dataset("mnist_small")


@pytest.fixture(scope="session")
def cnn(data):
    """The small CNN after two epochs on mnist_small, and 1,000 test images."""
    return _trained(robustlib.SmallCNN(), data)


@pytest.fixture(scope="session")
def linear(data):
    """One dense layer, trained and tested in the same way."""
    return _trained(robustlib.MLP(hidden=()), data)


def _trained(model, data):
    schedule = optax.warmup_cosine_decay_schedule(0.0, 2e-3, 60, 680, 4e-5)
    state = robustlib.create_state(
        model, jax.random.key(0), data.train.images, optax.adam(schedule)
    )
    state = robustlib.fit(
        state,
        data.train,
        robustlib.Standard(),
        jax.random.key(1),
        epochs=2,
        batch_size=32,
        progress=False,
    ).state
    return Trained(state, data.test.spread(1000))
