"""Tests of tfds_source on real prepared copies, made here without network or TensorFlow."""

import json
import os
import re
import shutil
import socket
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from robustlib import data, tfds_source
from robustlib.data import load_dataset
from tests.tfds_copies import (
    TEST_PATTERNS,
    TRAIN_PATTERNS,
    answered_within_5_seconds,
    encode,
    network,
    pattern,
    source_of,
    synthetic,
    tensorflow,
    tfds,
)
from tools import build_mnist


@pytest.fixture(scope="session")
def mnist_copy(tmp_path_factory):
    """A data folder with MNIST, prepared by tensorflow-datasets from the embedded images."""
    root = tmp_path_factory.mktemp("mnist")
    arrays = data._read_embedded(Path(data.__file__).with_name("mnist.npz"))
    train, test = (
        [(encode(image[..., 0]), label) for image, label in zip(*part, strict=True)]
        for part in (arrays[:2], arrays[2:])
    )
    with source_of("mnist", train, test) as builder_class:
        builder_class(data_dir=root, file_format="array_record").download_and_prepare()
    return root, arrays


@pytest.fixture(scope="session")
def fashion_copy(tmp_path_factory):
    """A data folder with Fashion-MNIST, prepared by load_dataset itself, and what it returned."""
    root = tmp_path_factory.mktemp("fashion")
    train = synthetic(TRAIN_PATTERNS, (28, 28), 60_000)
    test = synthetic(TEST_PATTERNS, (28, 28), 10_000)
    with (
        source_of("fashion_mnist", train, test),
        tensorflow(installed=True),
        network(),
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("TFDS_DATA_DIR", str(root))
        return root, load_dataset("fashion_mnist")


@pytest.fixture
def damaged(fashion_copy, tmp_path, monkeypatch):
    """The version folder of a copy of our own of Fashion-MNIST, to be damaged."""
    shutil.copytree(fashion_copy[0] / "fashion_mnist", tmp_path / "fashion_mnist")
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    return tmp_path / "fashion_mnist" / "3.0.1"


def shard(folder, part):
    (path,) = folder.glob(f"*-{part}.array_record-*")
    return path


def edit_info(folder, change):
    path = folder / "dataset_info.json"
    info = json.loads(path.read_text(encoding="utf-8"))
    change(info)
    path.write_text(json.dumps(info), encoding="utf-8")


# What is read


def test_the_embedded_mnist_is_bit_for_bit_what_tensorflow_datasets_serves(mnist_copy, monkeypatch):
    root, embedded = mnist_copy
    monkeypatch.setenv("TFDS_DATA_DIR", str(root))
    served = tfds_source.read("mnist", (60_000, 28, 28, 1))
    for ours, theirs in ((embedded[:2], served[:2]), (embedded[2:], served[2:])):
        # Its order is not the official one, so the images are counted, each with its label.
        ours, theirs = (
            Counter((image.tobytes(), int(label)) for image, label in zip(*part, strict=True))
            for part in (ours, theirs)
        )
        assert ours == theirs
    # The reader decodes the images itself: here is what tensorflow-datasets makes of them.
    source = tfds.data_source(
        "mnist", split="test", data_dir=root, builder_kwargs={"file_format": "array_record"}
    )
    examples = source.__getitems__(range(len(source)))
    np.testing.assert_array_equal(served[2], [example["image"] for example in examples])
    np.testing.assert_array_equal(served[3], [example["label"] for example in examples])


def test_tensorflow_datasets_downloads_the_files_that_the_embedded_mnist_was_built_from():
    theirs = {
        url.rsplit("/", 1)[1]: info.checksum
        for url, info in tfds.builder_cls("mnist").url_infos.items()
    }
    assert theirs == {f"{name}.gz": checksum for name, checksum in build_mnist.SHA256.items()}


def check_synthetic(dataset, shape, train_size):
    assert len(dataset.train) == train_size - 5_000
    assert len(dataset.validation) == 5_000
    assert len(dataset.test) == 10_000
    assert len(dataset.class_names) == 10
    counts = {}
    for part in ("train", "validation", "test"):
        split = getattr(dataset, part)
        assert split.images.dtype == np.float32
        assert split.labels.dtype == np.int32
        values = (split.images[:, 0, 0, 0] * 255).round().astype(int)
        for value in set(values):
            expected = pattern(value, shape).astype(np.float32) / 255
            assert (split.images[values == value] == expected).all()
        counts[part] = Counter(zip(values.tolist(), split.labels.tolist(), strict=True))
    assert counts["train"] + counts["validation"] == Counter(
        (TRAIN_PATTERNS[i % 201], i % 10) for i in range(train_size)
    )
    assert counts["test"] == Counter((TEST_PATTERNS[i % 49], i % 10) for i in range(10_000))


def test_fashion_mnist_is_prepared_where_tensorflow_and_a_network_are(fashion_copy):
    root, dataset = fashion_copy
    assert dataset.name == "fashion_mnist"
    assert dataset.epsilon == 0.1
    assert dataset.licence == "MIT"
    check_synthetic(dataset, (28, 28, 1), 60_000)
    # The order is that of the copy, so it is the same each time.
    source = tfds.data_source(
        "fashion_mnist",
        split="test",
        data_dir=root,
        decoders={"image": tfds.decode.SkipDecoding()},
        builder_kwargs={"file_format": "array_record"},
    )
    order = [example["label"] for example in source.__getitems__(range(len(source)))]
    np.testing.assert_array_equal(dataset.test.labels, order)


def test_a_prepared_cifar10_is_read_without_network_and_tensorflow(tmp_path, monkeypatch):
    train = synthetic(TRAIN_PATTERNS, (32, 32, 3), 50_000)
    test = synthetic(TEST_PATTERNS, (32, 32, 3), 10_000)
    with source_of("cifar10", train, test) as builder_class:
        builder_class(data_dir=tmp_path, file_format="array_record").download_and_prepare()
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: pytest.fail("used the network"))
    with tensorflow(installed=False):
        dataset = load_dataset("cifar10")
    assert dataset.epsilon == 8 / 255
    check_synthetic(dataset, (32, 32, 3), 50_000)


@pytest.mark.parametrize("choice", [None, "false"])
def test_colabs_protobuf_check_is_switched_off_unless_the_reader_chose(monkeypatch, choice):
    variable = "TEMPORARILY_DISABLE_PROTOBUF_VERSION_CHECK"
    monkeypatch.setenv(variable, choice or "")
    if choice is None:
        monkeypatch.delenv(variable)
    tfds_source._import_tfds("cifar10")
    assert os.environ[variable] == (choice or "true")


# Damaged copies


def flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 16
    path.write_bytes(content)


SHARD_DAMAGES = {
    "truncated": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "empty": lambda path: path.write_bytes(b""),
    "missing": lambda path: path.unlink(),
    "flipped bit": flip_a_bit,
    "garbage": lambda path: path.write_bytes(b"garbage " * 10_000),
}


def expected_damage(folder, reason=""):
    start = f"the copy of fashion_mnist in {re.escape(str(folder))} is damaged or incomplete "
    end = r"; delete that folder and call load_dataset\('fashion_mnist'\) again"
    return rf"^{start}\(\w+: .*{reason}.*\){end}, which prepares it anew\.$"


@pytest.mark.parametrize("part", ["train", "test"])
@pytest.mark.parametrize("damage", SHARD_DAMAGES)
def test_a_damaged_shard_is_named(damaged, part, damage):
    SHARD_DAMAGES[damage](shard(damaged, part))
    with answered_within_5_seconds(RuntimeError, expected_damage(damaged)):
        load_dataset("fashion_mnist")


def shard_lengths(part, length):
    def change(info):
        (split,) = (split for split in info["splits"] if split["name"] == part)
        split["shardLengths"] = [str(length)]

    return change


INFO_DAMAGES = {
    "short train": (shard_lengths("train", 59_999), "expected 60000 train images, found 59999"),
    "short test": (shard_lengths("test", 5_000), "expected 10000 test images, found 5000"),
    "long train": (shard_lengths("train", 60_001), "expected 60000 train images, found 60001"),
    "no splits": (lambda info: info.update(splits=[]), ""),
    "no test part": (lambda info: info["splits"].pop(), ""),
    "another version": (lambda info: info.update(version="1.0.0"), "version"),
}


@pytest.mark.parametrize("damage", INFO_DAMAGES)
def test_a_wrong_description_is_named_and_no_short_set_is_returned(damaged, damage):
    change, reason = INFO_DAMAGES[damage]
    edit_info(damaged, change)
    with answered_within_5_seconds(RuntimeError, expected_damage(damaged, reason)):
        load_dataset("fashion_mnist")


@pytest.mark.parametrize("content", ["", "{", '{"splits": 3}', "garbage \x00"])
def test_a_garbled_description_is_named(damaged, content):
    (damaged / "dataset_info.json").write_text(content, encoding="utf-8")
    with answered_within_5_seconds(RuntimeError, expected_damage(damaged)):
        load_dataset("fashion_mnist")


@pytest.mark.parametrize("everything", [False, True])
def test_a_folder_without_a_description_is_named(damaged, everything):
    for path in damaged.iterdir():
        if everything or path.name == "dataset_info.json":
            path.unlink()
    reason = "dataset_info.json is missing"
    with answered_within_5_seconds(RuntimeError, expected_damage(damaged, reason)):
        load_dataset("fashion_mnist")


def test_swapped_shards_are_named(damaged):
    train, test = shard(damaged, "train"), shard(damaged, "test")
    train.rename(damaged / "train")
    test.rename(train)
    (damaged / "train").rename(test)
    with answered_within_5_seconds(RuntimeError, expected_damage(damaged)):
        load_dataset("fashion_mnist")


def test_a_copy_in_another_format_is_not_called_damaged(damaged):
    edit_info(damaged, lambda info: info.update(fileFormat="tfrecord"))
    message = "is stored as tfrecord, but array_record is needed; delete that folder, or let"
    with answered_within_5_seconds(RuntimeError, f"{re.escape(str(damaged))} {message}"):
        load_dataset("fashion_mnist")


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"image": encode(np.zeros((3, 2), np.uint8)), "label": 0}, r"uint8 \(4, 2, 2, 1\), found"),
        (
            {"image": encode(np.zeros((2, 2), np.uint16)), "label": 0},
            "expected train images of uint8",
        ),
        ({"image": encode(np.zeros((2, 2), np.uint8)), "label": 10}, "labels from 0 to 9"),
        ({"image": b"no image", "label": 0}, "cannot identify image file"),
    ],
)
def test_records_of_another_kind_are_refused(record, message):
    class Source(list):
        def __getitems__(self, rows):
            return [self[row] for row in rows]

    sources = {"train": Source([record] * 4), "test": Source([record] * 10_000)}
    builder = SimpleNamespace(as_data_source=lambda *_, **__: sources)
    with pytest.raises(Exception, match=message):
        tfds_source._read_parts(tfds, builder, (4, 2, 2, 1))
