"""Tests of tfds_source where something is missing: a package, a prepared copy, the network."""

import os
import re
import socket
import sys
import threading
from types import ModuleType

import pytest

from robustlib.data import load_dataset
from tests.tfds_copies import answered_within_5_seconds, proxy, tensorflow, tfds


@pytest.mark.parametrize(
    "module",
    [
        "tensorflow_datasets",
        "array_record.python.array_record_data_source",
        "importlib_resources",
        "PIL.Image",
    ],
)
def test_a_missing_package_is_answered_with_what_to_install(monkeypatch, module):
    monkeypatch.setitem(sys.modules, module, None)  # so that importing it raises ImportError
    message = (
        rf"'cifar10' is read with tensorflow-datasets, .* \(.*{module}.*\); run "
        "`pip install tensorflow-datasets array_record importlib_resources pillow`"
    )
    with answered_within_5_seconds(ImportError, message):
        load_dataset("cifar10")


def test_tensorflow_datasets_that_failed_to_import_itself_is_no_attribute_error(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", ModuleType("tensorflow_datasets"))
    message = r"which is not installed whole \(its own import failed\); run `pip install"
    with answered_within_5_seconds(ImportError, message):
        load_dataset("cifar10")


def test_a_long_error_is_told_by_its_first_line(monkeypatch):
    """Here of the data set's own module, which tensorflow-datasets imports when it is asked for."""

    def fails(name):
        raise AttributeError(f"no {name} here.\nAnd a second line.")

    monkeypatch.setattr(tfds, "builder_cls", fails)
    message = r"which is not installed whole \(no cifar10 here\); run `pip install"
    with answered_within_5_seconds(ImportError, message):
        load_dataset("cifar10")


@pytest.mark.parametrize("name", ["fashion_mnist", "cifar10"])
def test_without_copy_and_tensorflow_the_two_commands_are_told(monkeypatch, tmp_path, name):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("TFDS_DATA_DIR", raising=False)
    root = f"{tmp_path}/tensorflow_datasets"
    message = (
        f"there is no prepared copy of {name} in {root}, and preparing one needs TensorFlow; run "
        '`pip install tensorflow` and then `python -c "import tensorflow_datasets as tfds; '
        f"tfds.builder('{name}', data_dir='{root}', file_format='array_record')"
        '.download_and_prepare()"`.'
    )
    with tensorflow(installed=False), answered_within_5_seconds(ImportError, re.escape(message)):
        load_dataset(name)


@pytest.fixture
def no_copy(monkeypatch, tmp_path):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    with tensorflow(installed=True):
        yield tmp_path
    assert not list(tmp_path.iterdir())  # nothing was begun


HOSTS = {
    "fashion_mnist": "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    "cifar10": "https://www.cs.toronto.edu/",
}


def expected_no_network(name, root, reason):
    url = rf"{re.escape(HOSTS[name])}\S+"
    return (
        rf"^there is no prepared copy of {name} in {re.escape(str(root))}, and {url} cannot be "
        rf"reached to prepare one \(.*{reason}.*\); connect to the internet and try again, or use "
    )


@pytest.mark.parametrize("name", HOSTS)
def test_a_refused_connection_is_answered(no_copy, name):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]  # free again, so nobody listens
    message = expected_no_network(name, no_copy, "refused")
    with proxy(port), answered_within_5_seconds(ConnectionError, message):
        load_dataset(name)


def test_a_host_that_stays_silent_is_answered(no_copy):
    message = expected_no_network("cifar10", no_copy, "(timed out|no answer within 3 seconds)")
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        proxy(listener.getsockname()[1]),
        answered_within_5_seconds(ConnectionError, message),
    ):
        load_dataset("cifar10")


def no_proxies(monkeypatch):
    for variable in list(os.environ):
        if variable.lower().endswith("_proxy"):
            monkeypatch.delenv(variable)


def test_an_unknown_host_is_answered(no_copy, monkeypatch):
    def unknown(*_, **__):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    no_proxies(monkeypatch)
    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    message = expected_no_network("cifar10", no_copy, "Name or service not known")
    with answered_within_5_seconds(ConnectionError, message):
        load_dataset("cifar10")


def test_a_name_server_that_stays_silent_is_answered(no_copy, monkeypatch):
    released = threading.Event()

    def silent(*_, **__):
        released.wait(60)
        raise socket.gaierror

    no_proxies(monkeypatch)
    monkeypatch.setattr(socket, "getaddrinfo", silent)
    message = expected_no_network("cifar10", no_copy, "no answer within 3 seconds")
    with answered_within_5_seconds(ConnectionError, message):
        load_dataset("cifar10")
    released.set()
