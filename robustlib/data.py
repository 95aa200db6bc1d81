"""Data sets: images as float32 in [0, 1], in three fixed parts."""

import hashlib
import io
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import jax
import numpy as np

from robustlib import tfds_source
from robustlib.checks import suggestion

VALIDATION_SIZE = 5_000


@dataclass(frozen=True, eq=False)
class Split:
    """Images and their labels, in a fixed order.

    Attributes:
        images: float32 `[N, H, W, C]`, pixels in [0, 1].
        labels: int32 `[N]`, class numbers from 0.

    Raises:
        ValueError: If the two arrays are not of these shapes and types, or differ in length.
    """

    images: np.ndarray
    labels: np.ndarray

    def __post_init__(self):
        _check_array("images", self.images, np.float32, "[N, H, W, C]")
        _check_array("labels", self.labels, np.int32, "[N]")
        if len(self.images) != len(self.labels):
            raise ValueError(
                f"a Split needs one label per image, got {len(self.images)} images and "
                f"{len(self.labels)} labels; pass arrays of equal length."
            )

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.labels)

    def spread(self, n: int) -> "Split":
        """Return n images at evenly spaced positions, `floor(i * N / n)` for i = 0 .. n - 1.

        The parts of a data set need not be alike from front to back (the second half of MNIST's
        test images is easier than the first), so a sample is never taken from the front.

        Args:
            n: The number of images, from 1 to N.

        Raises:
            ValueError: If n is not from 1 to N.
        """
        self._check_count("n", n)
        return self._take(np.arange(n) * len(self) // n)

    def shuffled(self, key: jax.Array) -> "Split":
        """Return all images in a random order.

        Args:
            key: One `jax.random.key`; equal keys give equal orders.
        """
        return self._take(np.asarray(jax.random.permutation(key, len(self))))

    def batches(self, batch_size: int, key: jax.Array) -> Iterator[dict[str, np.ndarray]]:
        """Return one epoch of shuffled batches; a rest smaller than a batch is left out.

        Args:
            batch_size: Images per batch, from 1 to N.
            key: One `jax.random.key`; equal keys give equal batches.

        Returns:
            An iterator of `{"image": float32 [batch_size, H, W, C], "label": int32 [batch_size]}`.

        Raises:
            ValueError: If batch_size is not from 1 to N.
        """
        self._check_count("batch_size", batch_size)
        batch_size = int(batch_size)
        order = np.asarray(jax.random.permutation(key, len(self)))
        whole = order[: len(self) // batch_size * batch_size].reshape(-1, batch_size)
        return ({"image": self.images[rows], "label": self.labels[rows]} for rows in whole)

    def _take(self, rows):
        return Split(self.images[rows], self.labels[rows])

    def _check_count(self, name, count):
        if not isinstance(count, int | np.integer) or not 1 <= count <= len(self):
            raise ValueError(
                f"{name} must be a whole number from 1 to {len(self)}, the number of images in "
                f"this split, got {count!r}."
            )


@dataclass(frozen=True, eq=False)
class Dataset:
    """A data set in three disjoint parts that never change.

    Attributes:
        name: The name that `load_dataset` knows it by.
        train: For training.
        validation: For choosing recipes and hyperparameters.
        test: For the final measurement.
        class_names: One name per class, in the order of the labels.
        epsilon: The l-inf radius commonly used with this data set, in pixel units.
        source: Who made it.
        licence: Under which licence it is distributed.
    """

    name: str
    train: Split
    validation: Split
    test: Split
    class_names: tuple[str, ...]
    epsilon: float
    source: str
    licence: str


_MNIST = {
    "class_names": tuple("0123456789"),
    "epsilon": 0.3,
    "source": "MNIST, Yann LeCun and Corinna Cortes",
    "licence": "CC BY-SA 3.0",
}
_FACTS = {
    "mnist": _MNIST,
    "mnist_small": _MNIST,
    "fashion_mnist": {
        "class_names": (
            *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
            *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
        ),
        "epsilon": 0.1,
        "source": "Fashion-MNIST, Zalando SE, through tensorflow-datasets",
        "licence": "MIT",
    },
    "cifar10": {
        "class_names": (
            *("airplane", "automobile", "bird", "cat", "deer"),
            *("dog", "frog", "horse", "ship", "truck"),
        ),
        "epsilon": 8 / 255,
        "source": "CIFAR-10, Alex Krizhevsky, through tensorflow-datasets",
        "licence": "none stated by its author",
    },
}
_TRAIN_SHAPES = {"fashion_mnist": (60_000, 28, 28, 1), "cifar10": (50_000, 32, 32, 3)}


def load_dataset(name: str | None = None) -> Dataset:
    """Load a data set.

    `"mnist"` and `"mnist_small"` are part of robustlib. The others are read with
    tensorflow-datasets, from the folder `$TFDS_DATA_DIR` or else `~/tensorflow_datasets`. Where
    no prepared copy lies there, TensorFlow and an internet connection are needed to make one.

    Pixels are the stored bytes divided by 255 in float32. Validation is every 12th training image
    (CIFAR-10: every 10th), which makes 5,000.

    Args:
        name: `"mnist"` or `"fashion_mnist"` (55,000 / 5,000 / 10,000 images for training /
            validation / test), `"mnist_small"` (every fifth image of each part of MNIST), or
            `"cifar10"` (45,000 / 5,000 / 10,000). The book's recipes and chapters are for the two
            of MNIST. None means the environment variable
            `ROBUSTLIB_DATASET`, or `"mnist"` where that is not set.

    Returns:
        The data set, always with the same images in the same order. Its arrays are read-only.

    Raises:
        ValueError: If there is no data set of this name.
        ImportError: If tensorflow-datasets is needed and not installed, or must prepare the data
            set and TensorFlow is not installed.
        ConnectionError: If the data set must be downloaded and its address does not answer.
        RuntimeError: If the stored copy is damaged or incomplete.
    """
    name = _check_name(name)
    if name in _TRAIN_SHAPES:
        return _split(name, *tfds_source.read(name, _TRAIN_SHAPES[name]))
    return _load_embedded(name)


@cache
def _load_embedded(name):
    arrays = _read_embedded(Path(__file__).with_name("mnist.npz"))
    return _split(name, *arrays, stride=5 if name == "mnist_small" else 1)


_EMBEDDED_SHA256 = "39b9b1ffaa0ba4d8995a616551f0966941fe02a3fe79ba4a9db7373db16d53ad"


def _read_embedded(path):
    """Return MNIST's uint8 arrays in official order."""
    content = path.read_bytes() if path.exists() else b""
    if hashlib.sha256(content).hexdigest() != _EMBEDDED_SHA256:
        raise RuntimeError(
            f"{path} is missing or damaged; install robustlib again from its source."
        )
    with np.load(io.BytesIO(content), allow_pickle=False) as archive:
        images = [archive[f"{part}_images"][..., None] for part in ("train", "test")]
        labels = [archive[f"{part}_labels"] for part in ("train", "test")]
    return images[0], labels[0], images[1], labels[1]


def _split(name, train_images, train_labels, test_images, test_labels, stride=1):
    """Return the Dataset made of uint8 images; validation is every k-th training image."""
    rows = np.arange(len(train_labels))
    held_out = rows % (len(rows) // VALIDATION_SIZE) == 0

    def part(images, labels, rows):
        images = np.divide(images[rows], np.float32(255), dtype=np.float32)
        labels = labels[rows].astype(np.int32)
        images.flags.writeable = labels.flags.writeable = False
        return Split(images, labels)

    return Dataset(
        name,
        train=part(train_images, train_labels, rows[~held_out][::stride]),
        validation=part(train_images, train_labels, rows[held_out][::stride]),
        test=part(test_images, test_labels, np.arange(len(test_labels))[::stride]),
        **_FACTS[name],
    )


def _check_name(name):
    origin = ""
    if name is None:
        name = os.environ.get("ROBUSTLIB_DATASET") or "mnist"
        origin = " (from the environment variable ROBUSTLIB_DATASET)"
    if name in _FACTS:
        return name
    nearest = suggestion(str(name).lower(), list(_FACTS))
    raise ValueError(
        f"there is no data set {name!r}{origin}{nearest}: choose one of "
        f"{', '.join(map(repr, _FACTS))}."
    )


def _check_array(name, array, dtype, shape):
    """Refuse what is not a NumPy array of this type with as many axes as `shape` names."""
    rank = len(shape.split(","))
    if isinstance(array, np.ndarray) and array.dtype == dtype and array.ndim == rank:
        return
    found = type(array).__name__
    if hasattr(array, "dtype"):
        found += f" of {array.dtype} {list(array.shape)}"
    raise ValueError(
        f"{name} of a Split must be a NumPy array of {np.dtype(dtype).name} {shape}, got {found}; "
        f"convert it with np.asarray(..., np.{np.dtype(dtype).name}) and give it that many axes."
    )
