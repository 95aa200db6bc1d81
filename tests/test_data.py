"""Tests of data: the embedded MNIST, its three parts, and how a Split is sampled."""

import hashlib
import re
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from robustlib import data
from robustlib.data import Split, load_dataset

NPZ = Path(data.__file__).with_name("mnist.npz")
PARTS = ("train", "validation", "test")


@pytest.fixture(scope="module")
def official():
    """MNIST's four uint8 arrays in official order."""
    return data._read_embedded(NPZ)


def split_of(n):
    """A split of n images whose pixels and labels both tell the index."""
    images = np.broadcast_to(np.arange(n, dtype=np.float32)[:, None, None, None], (n, 2, 2, 1))
    return Split(images / 1000, np.arange(n, dtype=np.int32))


# The embedded file


def test_the_embedded_bytes_are_those_of_the_official_idx_files(official):
    # SHA-256 of the four official files, unpacked: a header of sizes, then the array's bytes.
    sums = (
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    )
    for array, expected in zip(official, sums, strict=True):
        shape = array.shape[:3]  # the files have no channel axis
        header = bytes([0, 0, 8, len(shape)]) + np.array(shape, ">i4").tobytes()
        assert hashlib.sha256(header + array.tobytes()).hexdigest() == expected


def test_every_flipped_bit_in_the_embedded_file_is_named_never_half_read(tmp_path):
    damaged = tmp_path / "mnist.npz"
    content = bytearray(NPZ.read_bytes())
    for position in np.random.default_rng(0).integers(1_000, len(content) - 10_000, 12):
        content[position] ^= 16
        damaged.write_bytes(content)
        content[position] ^= 16
        with pytest.raises(RuntimeError, match=rf"{re.escape(str(damaged))} is missing or damaged"):
            data._read_embedded(damaged)


@pytest.mark.parametrize("kept", [0.0, 0.5, 0.99999])
def test_a_truncated_embedded_file_is_named(tmp_path, kept):
    damaged = tmp_path / "mnist.npz"
    content = NPZ.read_bytes()
    damaged.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(RuntimeError, match=r"mnist\.npz is missing or damaged; install robustlib"):
        data._read_embedded(damaged)


def test_a_missing_embedded_file_is_named(tmp_path):
    with pytest.raises(RuntimeError, match=r"mnist\.npz is missing or damaged; install robustlib"):
        data._read_embedded(tmp_path / "mnist.npz")


@pytest.mark.parametrize("fault", ["short", "type", "absent", "other"])
def test_an_embedded_file_with_other_arrays_is_named(tmp_path, official, fault):
    names = ("train_images", "train_labels", "test_images", "test_labels")
    arrays = {
        name: array.reshape(array.shape[:3]) for name, array in zip(names, official, strict=True)
    }
    if fault == "short":
        arrays["test_labels"] = arrays["test_labels"][:-1]
    elif fault == "type":
        arrays["test_labels"] = arrays["test_labels"].astype(np.int64)
    elif fault == "other":
        arrays["test_labels"] = arrays["test_labels"][::-1]
    else:
        del arrays["test_labels"]
    np.savez(tmp_path / "mnist.npz", **arrays)
    with pytest.raises(RuntimeError, match=r"mnist\.npz is missing or damaged"):
        data._read_embedded(tmp_path / "mnist.npz")


# The three parts


@pytest.mark.parametrize(
    ("name", "sizes"), [("mnist", (55_000, 5_000, 10_000)), ("mnist_small", (11_000, 1_000, 2_000))]
)
def test_sizes_types_ranges_and_class_balance(name, sizes):
    dataset = load_dataset(name)
    assert dataset.name == name
    assert dataset.epsilon == 0.3
    assert dataset.class_names == tuple("0123456789")
    assert "LeCun" in dataset.source
    assert dataset.licence == "CC BY-SA 3.0"
    for part, size in zip(PARTS, sizes, strict=True):
        split = getattr(dataset, part)
        assert len(split) == size
        assert split.images.shape == (size, 28, 28, 1)
        assert split.images.dtype == np.float32
        assert split.labels.dtype == np.int32
        assert split.images.min() == 0.0
        assert split.images.max() == 1.0
        assert not split.images.flags.writeable
        assert not split.labels.flags.writeable
        share = np.bincount(split.labels, minlength=10) / size
        assert 0.075 < share.min() <= share.max() < 0.13


def test_validation_is_every_12th_training_image_and_train_the_rest(official):
    train_images, train_labels, test_images, test_labels = official
    dataset = load_dataset("mnist")
    held_out = np.arange(60_000) % 12 == 0
    expected = {
        "train": (train_images[~held_out], train_labels[~held_out]),
        "validation": (train_images[held_out], train_labels[held_out]),
        "test": (test_images, test_labels),
    }
    for part, (images, labels) in expected.items():
        split = getattr(dataset, part)
        np.testing.assert_array_equal(split.labels, labels)
        np.testing.assert_array_equal((split.images * 255).round().astype(np.uint8), images)
    # No image is in two parts, so what is measured was never trained on.
    parts = [{x.tobytes() for x in getattr(dataset, part).images} for part in PARTS]
    assert not (parts[0] & parts[1] or parts[0] & parts[2] or parts[1] & parts[2])


def test_small_is_every_fifth_image_of_each_part():
    whole, small = load_dataset("mnist"), load_dataset("mnist_small")
    for part in PARTS:
        np.testing.assert_array_equal(getattr(small, part).images, getattr(whole, part).images[::5])
        np.testing.assert_array_equal(getattr(small, part).labels, getattr(whole, part).labels[::5])


def test_pixels_are_bytes_divided_by_255_in_float32():
    values = np.unique(load_dataset("mnist").train.images)
    exact = np.array([np.float32(np.float64(byte) / 255) for byte in range(256)])
    np.testing.assert_array_equal(values, exact)


# Names


def test_the_environment_variable_names_the_default(monkeypatch):
    monkeypatch.setenv("ROBUSTLIB_DATASET", "mnist_small")
    assert load_dataset().name == "mnist_small"
    assert load_dataset("mnist").name == "mnist"
    monkeypatch.setenv("ROBUSTLIB_DATASET", "")
    assert load_dataset().name == "mnist"
    monkeypatch.delenv("ROBUSTLIB_DATASET")
    assert load_dataset().name == "mnist"


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("MNIST", "mnist"),
        ("mnist-small", "mnist_small"),
        ("fashion", "fashion_mnist"),
        ("FashionMNIST", "fashion_mnist"),
        ("cifar", "cifar10"),
        ("CIFAR-10", "cifar10"),
    ],
)
def test_an_unknown_name_suggests_the_nearest_and_lists_all(name, nearest):
    message = (
        f"there is no data set '{name}' (did you mean '{nearest}'?): choose one of "
        "'mnist', 'mnist_small', 'fashion_mnist', 'cifar10'."
    )
    with pytest.raises(ValueError, match=re.escape(message)):
        load_dataset(name)


@pytest.mark.parametrize("name", ["imagenet", "", 3])
def test_a_name_like_none_of_ours_lists_all(name):
    with pytest.raises(ValueError, match=r"there is no data set [^(]*: choose one of 'mnist', "):
        load_dataset(name)


def test_an_unknown_name_from_the_environment_says_so(monkeypatch):
    monkeypatch.setenv("ROBUSTLIB_DATASET", "mnits")
    with pytest.raises(ValueError, match=r"'mnits' \(from the environment variable ROBUSTLIB_DAT"):
        load_dataset()


def test_importing_data_imports_neither_tensorflow_datasets_nor_matplotlib():
    check = (
        "import sys, robustlib.data; robustlib.data.load_dataset('mnist_small'); "
        "print({'tensorflow_datasets', 'matplotlib.pyplot', 'PIL'} & set(sys.modules))"
    )
    command = [sys.executable, "-W", "error", "-c", check]
    assert subprocess.run(command, capture_output=True, text=True).stdout == "set()\n"


def test_the_files_that_the_package_needs_lie_beside_it():
    assert "CC BY-SA 3.0" in NPZ.with_name("mnist.LICENSE.txt").read_text(encoding="utf-8")


# Split


@pytest.mark.parametrize(
    ("size", "n", "rows"),
    [(10, 1, [0]), (10, 3, [0, 3, 6]), (10, 5, [0, 2, 4, 6, 8]), (4, 4, [0, 1, 2, 3])],
)
def test_spread_takes_evenly_spaced_images(size, n, rows):
    spread = split_of(size).spread(n)
    np.testing.assert_array_equal(spread.labels, rows)
    np.testing.assert_array_equal(spread.images[:, 0, 0, 0], np.float32(rows) / 1000)


@pytest.mark.parametrize("count", [0, -1, 11, 2.0, None])
def test_a_count_outside_the_split_is_refused_at_once(count):
    split = split_of(10)
    expected = rf"must be a whole number from 1 to 10, the number of images .* got {count}"
    with pytest.raises(ValueError, match=f"n {expected}"):
        split.spread(count)
    with pytest.raises(ValueError, match=f"batch_size {expected}"):
        split.batches(count, jax.random.key(0))


def test_shuffled_keeps_every_pair_and_follows_its_key():
    split = split_of(200)
    first, again, other = (split.shuffled(jax.random.key(seed)) for seed in (0, 0, 1))
    np.testing.assert_array_equal(np.sort(first.labels), split.labels)
    np.testing.assert_array_equal(first.images[:, 1, 1, 0], first.labels.astype(np.float32) / 1000)
    np.testing.assert_array_equal(first.labels, again.labels)
    assert (first.labels != split.labels).mean() > 0.9
    assert (first.labels != other.labels).mean() > 0.9
    np.testing.assert_array_equal(split.labels, np.arange(200))


def test_batches_are_whole_shuffled_and_without_repetition():
    split = split_of(103)
    batches = list(split.batches(10, jax.random.key(0)))
    assert len(batches) == 10
    for batch in batches:
        assert batch["image"].shape == (10, 2, 2, 1)
        assert batch["image"].dtype == np.float32
        assert batch["label"].dtype == np.int32
        np.testing.assert_array_equal(
            batch["image"][:, 0, 1, 0], batch["label"].astype(np.float32) / 1000
        )
    labels = np.concatenate([batch["label"] for batch in batches])
    assert len(set(labels)) == 100
    assert (labels != np.sort(labels)).mean() > 0.9
    again = np.concatenate([batch["label"] for batch in split.batches(10, jax.random.key(0))])
    np.testing.assert_array_equal(labels, again)
    other = np.concatenate([batch["label"] for batch in split.batches(10, jax.random.key(1))])
    assert (labels != other).mean() > 0.9
    assert len(list(split.batches(103, jax.random.key(0)))) == 1


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (
            np.zeros((3, 2, 2, 1)),
            np.zeros(3, np.int32),
            "images of a Split .* got ndarray of float64",
        ),
        (
            np.zeros((3, 4), np.float32),
            np.zeros(3, np.int32),
            r"float32 \[N, H, W, C\], got .*3, 4",
        ),
        ([[[[0.0]]]], np.zeros(1, np.int32), "images of a Split .* got list"),
        (np.zeros((3, 2, 2, 1), np.float32), np.zeros(3), "labels of a Split .* got .*float64"),
        (np.zeros((3, 2, 2, 1), np.float32), np.zeros((3, 10), np.int32), r"int32 \[N\], got .*10"),
        (np.zeros((3, 2, 2, 1), np.float32), np.zeros(2, np.int32), "got 3 images and 2 labels"),
    ],
)
def test_a_split_checks_its_arrays(images, labels, message):
    with pytest.raises(ValueError, match=message):
        Split(images, labels)
