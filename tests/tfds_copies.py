"""What the tests of tfds_source need: synthetic data sets, a pretended TensorFlow and network."""

import contextlib
import importlib.util
import io
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

import numpy as np
import pytest
from PIL import Image

from robustlib import tfds_source

pytest.importorskip("array_record", reason="array_record is not built for this platform")
tfds = tfds_source._import_tfds("mnist")

# Each pattern is one image; the training and the test images have no pattern in common.
TRAIN_PATTERNS, TEST_PATTERNS = range(201), range(201, 250)


def pattern(value, shape):
    """Return an image that starts with the pixel `value` and equals none of its mirror images."""
    return (np.arange(np.prod(shape)) * 3 + value).astype(np.uint8).reshape(shape)


def encode(image):
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG", compress_level=1)
    return file.getvalue()


def synthetic(patterns, shape, size):
    """Return the labelled PNG files of a part: image i has pattern i modulo their number."""
    files = [encode(pattern(value, shape)) for value in patterns]
    return [(files[i % len(files)], i % 10) for i in range(size)]


@contextlib.contextmanager
def source_of(name, train, test):
    """Let tensorflow-datasets prepare `name` from these labelled PNG files, not from a download."""

    def examples(files):
        for i, (file, label) in enumerate(files):
            example = {"image": io.BytesIO(file), "label": label}
            yield i, example | ({"id": f"{i}"} if name == "cifar10" else {})

    generators = {"train": examples(train), "test": examples(test)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tfds.builder_cls(name), "_split_generators", lambda self, _: generators)
        yield tfds.builder_cls(name)


@contextlib.contextmanager
def tensorflow(installed):
    """Let TensorFlow seem to be installed or missing, whichever is true here."""
    find_spec = importlib.util.find_spec

    def pretend(module):
        return installed or None if module == "tensorflow" else find_spec(module)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(importlib.util, "find_spec", pretend)
        yield


@contextlib.contextmanager
def proxy(port):
    """Send all requests to this port of this machine."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("http_proxy", f"http://127.0.0.1:{port}")
        patch.setenv("https_proxy", f"http://127.0.0.1:{port}")
        patch.setenv("no_proxy", "")
        yield


@contextlib.contextmanager
def network():
    """Let every address seem to answer."""

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with proxy(server.server_port):
            yield
        server.shutdown()


@contextlib.contextmanager
def answered_within_5_seconds(error, message):
    """Expect an error whose one sentence holds `message`, before any wait."""
    start = time.monotonic()
    with pytest.raises(error, match=message) as caught:
        yield
    assert time.monotonic() - start < 5
    assert "\n" not in str(caught.value)
