"""Reading data sets from copies that tensorflow-datasets prepared, without TensorFlow."""

import importlib.util
import io
import os
import threading
import urllib.request
from pathlib import Path

import numpy as np

_INSTALL = "pip install tensorflow-datasets array_record importlib_resources pillow"
# What tensorflow-datasets needs to read a copy; that it needs importlib_resources it does not say.
_NEEDED = "array_record.python.array_record_data_source", "importlib_resources", "PIL.Image"
_NETWORK_SECONDS = 3  # tensorflow-datasets itself tries again for minutes


def read(name: str, train_shape: tuple[int, int, int, int]) -> tuple[np.ndarray, ...]:
    """Read the training images and the 10,000 test images of a data set.

    The copy lies in the folder `$TFDS_DATA_DIR`, or `~/tensorflow_datasets` where that is not
    set. If there is none it is downloaded and prepared, which needs TensorFlow; reading does not.

    Args:
        name: The data set's name in tensorflow-datasets.
        train_shape: `(N, H, W, C)` of its training images.

    Returns:
        Training images uint8 `[N, H, W, C]`, their labels `[N]`, test images uint8
        `[10000, H, W, C]`, their labels `[10000]`, in the order of the copy.

    Raises:
        ImportError: If tensorflow-datasets cannot be imported, or must prepare the data set and
            TensorFlow is not installed.
        ConnectionError: If the data set must be downloaded and its address does not answer.
        RuntimeError: If the copy is damaged, short or in another format than array_record.
    """
    tfds = _import_tfds(name)
    root = Path(os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets").expanduser()
    builder_class = tfds.builder_cls(name)  # _import_tfds has seen that it is there
    folder = root / name / str(builder_class.VERSION)
    if not folder.exists():
        _check_preparable(name, root, next(iter(builder_class.url_infos)))
        builder_class(data_dir=root, file_format="array_record").download_and_prepare()
    try:
        if not (folder / "dataset_info.json").exists():
            raise FileNotFoundError("dataset_info.json is missing")
        builder = builder_class(data_dir=root)
        stored_format = builder.info.file_format.value
        if stored_format == "array_record":
            return _read_parts(tfds, builder, train_shape)
    except Exception as error:  # a damaged copy raises errors of many kinds, most without a name
        raise RuntimeError(
            f"the copy of {name} in {folder} is damaged or incomplete "
            f"({type(error).__name__}: {_first_line(error)}); delete that folder and call "
            f"load_dataset({name!r}) again, which prepares it anew."
        ) from error
    raise RuntimeError(
        f"the copy of {name} in {folder} is stored as {stored_format}, but array_record is needed; "
        "delete that folder, or let the environment variable TFDS_DATA_DIR name another one, and "
        f"call load_dataset({name!r}) again, which prepares it anew."
    )


def _import_tfds(name):
    # On Colab tensorflow-metadata is newer than protobuf, which refuses it unless told not to
    # (github.com/tensorflow/metadata, issue 68).
    os.environ.setdefault("TEMPORARILY_DISABLE_PROTOBUF_VERSION_CHECK", "true")
    try:
        for module in _NEEDED:
            importlib.import_module(module)
        import tensorflow_datasets as tfds

        if not hasattr(tfds, "builder_cls"):  # it logs the errors of its own import, and goes on
            raise ImportError("its own import failed")
        tfds.builder_cls(name)  # imports the data set's own module
    except Exception as error:
        raise ImportError(
            f"the data set {name!r} is read with tensorflow-datasets, which is not installed whole "
            f"({_first_line(error)}); run `{_INSTALL}` (array_record exists for Linux and for Macs "
            "with Apple silicon) and start Python again, or use 'mnist', which needs none of these."
        ) from error
    return tfds


def _first_line(error):
    return str(error).strip().split("\n")[0].rstrip(".")


def _check_preparable(name, root, url):
    """Raise an error at once if preparing the data set could only fail, or fail after minutes."""
    if importlib.util.find_spec("tensorflow") is None:
        prepare = (
            f"import tensorflow_datasets as tfds; tfds.builder({name!r}, data_dir={str(root)!r}, "
            "file_format='array_record').download_and_prepare()"
        )
        raise ImportError(
            f"there is no prepared copy of {name} in {root}, and preparing one needs TensorFlow; "
            f'run `pip install tensorflow` and then `python -c "{prepare}"`.'
        )
    failure = [f"no answer within {_NETWORK_SECONDS} seconds"]

    def ask():
        request = urllib.request.Request(url, method="HEAD")
        try:
            urllib.request.build_opener().open(request, timeout=_NETWORK_SECONDS).close()
            failure[0] = None
        except Exception as error:
            failure[0] = _first_line(error) or type(error).__name__

    # In a thread, because the time-out does not count the search for the host's address.
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(_NETWORK_SECONDS)
    if reason := failure[0]:
        raise ConnectionError(
            f"there is no prepared copy of {name} in {root}, and {url} cannot be reached to "
            f"prepare one ({reason}); connect to the internet and try again, or use 'mnist', "
            "which needs no download."
        )


def _read_parts(tfds, builder, train_shape):
    import PIL.Image

    shapes = {"train": train_shape, "test": (10_000, *train_shape[1:])}
    sources = builder.as_data_source(
        {part: part for part in shapes}, decoders={"image": tfds.decode.SkipDecoding()}
    )
    for part, shape in shapes.items():
        if len(sources[part]) != shape[0]:
            raise ValueError(f"expected {shape[0]} {part} images, found {len(sources[part])}")
    # All records are read before any image is decoded, the shorter part first, so that damage
    # shows at once.
    records = {
        part: sources[part].__getitems__(range(shapes[part][0])) for part in ("test", "train")
    }
    arrays = []
    for part, shape in shapes.items():
        images = np.stack(
            [np.asarray(PIL.Image.open(io.BytesIO(record["image"]))) for record in records[part]]
        )
        labels = np.array([record["label"] for record in records[part]])
        if images.dtype != np.uint8 or images.size != np.prod(shape):
            raise ValueError(
                f"expected {part} images of uint8 {shape}, found {images.dtype} {images.shape}"
            )
        if not set(labels) <= set(range(10)):
            raise ValueError(f"expected {part} labels from 0 to 9")
        arrays += [images.reshape(shape), labels]
    return tuple(arrays)
