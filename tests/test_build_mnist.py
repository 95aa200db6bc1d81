"""The tool that has built the embedded MNIST, on small files of the same form."""

import gzip
import hashlib
from pathlib import Path

import numpy as np
import pytest

from robustlib import data
from tools import build_mnist


def test_it_refuses_other_files_and_keeps_the_order(tmp_path, monkeypatch):
    official = data._read_embedded(Path(data.__file__).with_name("mnist.npz"))
    few = [array[:20].reshape(array[:20].shape[:3]) for array in official]
    sums = {}
    for name, array in zip(build_mnist.SHA256, few, strict=True):
        header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">i4").tobytes()
        content = gzip.compress(header + array.tobytes())
        (tmp_path / f"{name}.gz").write_bytes(content)
        sums[name] = hashlib.sha256(content).hexdigest()
    with pytest.raises(SystemExit, match="is not the official file: expected SHA-256"):
        build_mnist.build(tmp_path, tmp_path / "refused.npz")
    assert not (tmp_path / "refused.npz").exists()

    monkeypatch.setattr(build_mnist, "SHA256", sums)
    for target in ("one.npz", "two.npz"):
        build_mnist.build(tmp_path, tmp_path / target)
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()
    with np.load(tmp_path / "one.npz") as archive:
        for name, array in zip(archive, few, strict=True):
            np.testing.assert_array_equal(archive[name], array)
