"""The models of the book by name, trained once and kept.

Every chapter runs alone: what it needs and nobody has trained yet, it trains.
"""

import dataclasses
import hashlib
import io
import json
import os
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path

import jax
import numpy as np
import optax
from flax.training.train_state import TrainState
from flax.traverse_util import flatten_dict, unflatten_dict

from robustlib.checks import suggestion
from robustlib.data import load_dataset
from robustlib.fitting import FitResult, check_schedule, create_state, fit
from robustlib.models import SmallCNN
from robustlib.threat import L2, Linf
from robustlib.training import MinMax, Mixed, Objective, Standard, counted_on_device


@dataclass(frozen=True)
class Recipe:
    """How one model of the book is trained: the small CNN, Adam, one objective.

    Attributes:
        name: as the chapters call it.
        dataset: the name of a data set, for `load_dataset`.
        objective: `Standard`, `Mixed` or `MinMax`.
        epochs: passes over the training images.
        batch_size: examples a step.
        learning_rate: the peak, reached after a tenth of the steps, then lowered along a cosine
            to a fiftieth.
        b2: how long Adam remembers squared gradients; the shorter the training, the less it should.
        seed: of the initial parameters, the order of the images and the attacks.
        channels: of the network's two convolutions, as `SmallCNN` has them.
        hidden: the width of its first dense layer.
    """

    name: str
    dataset: str
    objective: Objective
    epochs: int
    batch_size: int
    learning_rate: float
    b2: float = 0.999
    seed: int = 0
    channels: tuple[int, int] = (16, 32)
    hidden: int = 100


def _family(dataset, plain, tiny_plain, pgd, pgd_long, pgd_l2):
    """Return the recipes of one data set.

    The plain ones are (epochs, batch size, learning rate); the others begin with the attack's
    steps, and may end with b2.
    """
    tiny = {"channels": (8, 16), "hidden": 24}  # 21,290 parameters, for a browser

    def min_max(name, threat, steps, *schedule, **widths):
        return Recipe(name, dataset, MinMax(threat, steps, ramp=0.3), *schedule, **widths)

    return [
        Recipe("standard", dataset, Standard(), *plain),
        Recipe("FGSM-mixed 0.1", dataset, Mixed(0.1), *plain),
        Recipe("FGSM-mixed 0.3", dataset, Mixed(0.3), *plain),
        min_max("PGD", Linf(0.3), *pgd),
        min_max("PGD long", Linf(0.3), *pgd_long),
        min_max("PGD l-2", L2(2.0), *pgd_l2),
        Recipe("tiny standard", dataset, Standard(), *tiny_plain, **tiny),
        Recipe("tiny FGSM-mixed 0.3", dataset, Mixed(0.3), *tiny_plain, **tiny),
        min_max("tiny PGD", Linf(0.3), *pgd, **tiny),
    ]


# Chosen on validation images; in l-2 the schedule is that of l-inf. The long ones are for the
# headline, the short ones for the chapters, the tiny ones for the playground.
RECIPES = {
    (recipe.name, recipe.dataset): recipe
    for recipe in (
        *_family(
            "mnist",
            (3, 128, 1e-3),
            (5, 128, 2e-3),
            (5, 3, 64, 4e-3),
            (8, 8, 64, 6e-3),
            (3, 3, 64, 4e-3),
        ),
        *_family(
            "mnist_small",
            (10, 32, 2e-3),
            (10, 32, 2e-3),
            (3, 6, 32, 6e-3),
            (5, 9, 64, 8e-3, 0.99),
            (3, 6, 32, 6e-3),
        ),
    )
}


def recipe(name: str, dataset: str = "mnist", seed: int = 0) -> Recipe:
    """Return the recipe of a model of the book.

    Args:
        name: such as "PGD"; `RECIPES` lists all.
        dataset: such as "mnist", or `load_dataset().name`.
        seed: of the initial parameters, the order of the images and the attacks.

    Returns:
        A `Recipe`.

    Raises:
        ValueError: there is no such recipe.
    """
    if (name, dataset) not in RECIPES:
        known = [key for key in RECIPES if key[1] == dataset] or list(RECIPES)
        raise ValueError(
            f"there is no recipe {name!r} for {dataset!r}"
            f"{suggestion(name, [key[0] for key in known])}: choose one of "
            f"{', '.join(f'{n!r} for {d!r}' for n, d in known)}, or call fit yourself."
        )
    return dataclasses.replace(RECIPES[name, dataset], seed=seed)


def fit_or_load(recipe: Recipe, *, progress: bool = True) -> FitResult:
    """Return the model of a recipe: from the cache if it is there, else trained and kept.

    The cache is the folder `$ROBUSTLIB_CACHE`, or `~/.cache/robustlib`. A file is found by recipe,
    data, library code, versions and kind of device, so what it holds is what training would give.
    It holds plain arrays, its own name and a checksum; one that is damaged, or was put in another's
    place, is named and trained again. The optimiser's state is not kept: a loaded model starts any
    further training afresh.

    Args:
        recipe: from `recipe(...)`, or your own.
        progress: show a progress bar.

    Returns:
        A `FitResult`; time and passes are those of the training, also where it was loaded.
    """
    data = load_dataset(recipe.dataset)
    path = _cache_folder() / f"{_slug(recipe)}-{_fingerprint(recipe, data)}.weights"
    check_schedule(data.train, recipe.epochs, recipe.batch_size)
    try:
        if path.exists():
            # Only the shapes are asked for: to draw weights costs seconds of compilation.
            return _load(path, jax.eval_shape(lambda: _initial_state(recipe, data)))
    except Exception as error:  # zip, NumPy and JSON each have their own for damage
        print(f"The kept model {path} cannot be read ({error}); it is trained again.")
    key = jax.random.fold_in(jax.random.key(recipe.seed), 1)
    result = fit(
        _initial_state(recipe, data),
        data.train,
        recipe.objective,
        key,
        epochs=recipe.epochs,
        batch_size=recipe.batch_size,
        progress=progress,
    )
    if not result.interrupted and np.isfinite(result.losses[-1]):
        try:
            _save(path, result)
        except OSError as error:
            print(f"The trained model cannot be kept ({error}); the next run trains it again.")
    return result


# One model an architecture, one optimiser a schedule: jitted functions are keyed by them.
_model = cache(SmallCNN)


@cache
def _optimizer(learning_rate: float, b2: float, steps: int) -> optax.GradientTransformation:
    schedule = optax.warmup_cosine_decay_schedule(
        0.0, learning_rate, steps // 10, steps, end_value=learning_rate / 50
    )
    return optax.adam(schedule, b2=b2)


def _initial_state(recipe, data):
    steps = recipe.epochs * (len(data.train) // recipe.batch_size)
    return create_state(
        _model(len(data.class_names), recipe.channels, recipe.hidden),
        jax.random.fold_in(jax.random.key(recipe.seed), 0),
        data.train.images,
        _optimizer(recipe.learning_rate, recipe.b2, steps),
    )


# ---- the cache -----------------------------------------------------------------------------------


def _cache_folder() -> Path:
    return Path(os.environ.get("ROBUSTLIB_CACHE") or "~/.cache/robustlib").expanduser()


def _slug(recipe: Recipe) -> str:
    return f"{recipe.name}-{recipe.dataset}-seed{recipe.seed}".replace(" ", "_")


_SETTINGS = (
    *("jax_enable_x64", "jax_default_matmul_precision"),
    *("jax_default_prng_impl", "jax_threefry_partitionable"),
)


def _fingerprint(recipe: Recipe, data) -> str:
    """Return 16 hexadecimal digits that change with anything the trained weights depend on."""
    digest = hashlib.sha256(repr(recipe).encode())
    digest.update(np.ascontiguousarray(data.train.images).data)
    digest.update(np.ascontiguousarray(data.train.labels).data)
    digest.update(code_hash().encode())
    versions = [f"{name} {version(name)}" for name in ("jax", "jaxlib", "flax", "optax")]
    settings = [getattr(jax.config, name) for name in _SETTINGS]
    digest.update(repr((versions, jax.default_backend(), settings)).encode())
    return digest.hexdigest()[:16]


# Every module of ours that training imports, data aside: the images are hashed themselves.
CODE = (
    *("checks", "losses", "logits", "threat", "convolution", "models"),
    *("attacks", "training", "fitting", "recipes"),
)


@cache
def code_hash() -> str:
    """Return the SHA-256 of the code that trained weights depend on, in hexadecimal."""
    digest = hashlib.sha256()
    for module in CODE:
        digest.update(Path(__file__).with_name(f"{module}.py").read_bytes())
    return digest.hexdigest()


def _save(path: Path, result: FitResult) -> None:
    """Write arrays and their checksum beside the target, then move them there in one go."""
    arrays = flatten_dict(jax.device_get(result.state.params), sep="/")
    arrays["losses"], arrays["accuracies"] = result.losses, result.accuracies
    about = {"seconds": result.seconds, "gradient_passes": result.gradient_passes}
    about["name"] = path.stem
    buffer = io.BytesIO()
    np.savez(buffer, about=np.array(json.dumps(about)), **arrays)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(f".{os.getpid()}.part")
    try:
        part.write_bytes(hashlib.sha256(buffer.getvalue()).digest() + buffer.getvalue())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)  # it is there if the disk is full


def _load(path: Path, shapes: TrainState) -> FitResult:
    content = path.read_bytes()
    checksum, content = content[:32], content[32:]
    if hashlib.sha256(content).digest() != checksum:
        raise ValueError("its checksum does not match")
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        arrays = dict(arrays)
    about = json.loads(str(arrays.pop("about")))
    if (name := about.pop("name")) != path.stem:
        raise ValueError(f"it holds {name}")
    about |= {name: arrays.pop(name) for name in ("losses", "accuracies")}
    expected = flatten_dict(shapes.params, sep="/")
    if {name: array.shape for name, array in arrays.items()} != {
        name: array.shape for name, array in expected.items()
    }:
        raise ValueError("its arrays are not those of this network")
    params = jax.tree.map(jax.numpy.asarray, unflatten_dict(arrays, sep="/"))
    state = TrainState.create(apply_fn=shapes.apply_fn, params=params, tx=shapes.tx)
    return FitResult(counted_on_device(state), **about)
