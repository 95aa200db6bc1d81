"""Build robustlib/mnist.npz from the four official IDX files of MNIST.

    python tools/build_mnist.py FOLDER

FOLDER holds train-images-idx3-ubyte.gz and its three companions. Each is verified by its SHA-256
before anything is written. The archive keeps the official order, and equal input gives equal
bytes (with the same zlib).
"""

import argparse
import gzip
import hashlib
from pathlib import Path

import numpy as np

SHA256 = {  # of the gzipped files
    "train-images-idx3-ubyte": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
    "train-labels-idx1-ubyte": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
    "t10k-images-idx3-ubyte": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
    "t10k-labels-idx1-ubyte": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
}


def read_verified(path):
    """Return the bytes of a file, refusing any that are not the official ones."""
    content = path.read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if found != SHA256[path.stem]:
        raise SystemExit(
            f"{path} is not the official file: expected SHA-256 {SHA256[path.stem]}, got {found}; "
            "download it again."
        )
    return content


def read_idx(path):
    """Return the array in a gzipped IDX file: images uint8 [N, 28, 28] or labels uint8 [N]."""
    raw = gzip.decompress(read_verified(path))
    rank = raw[3]  # the magic number's last byte; 4-byte big-endian sizes follow it
    shape = np.frombuffer(raw, ">i4", count=rank, offset=4)
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * rank).reshape(shape)


def build(folder, target):
    """Read the four files in `folder` and write them to the archive `target`."""
    arrays = {
        "train_images": read_idx(folder / "train-images-idx3-ubyte.gz"),
        "train_labels": read_idx(folder / "train-labels-idx1-ubyte.gz"),
        "test_images": read_idx(folder / "t10k-images-idx3-ubyte.gz"),
        "test_labels": read_idx(folder / "t10k-labels-idx1-ubyte.gz"),
    }
    np.savez_compressed(target, **arrays)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="the folder of the four IDX files")
    arguments = parser.parse_args()
    target = Path(__file__).resolve().parent.parent / "robustlib" / "mnist.npz"
    build(arguments.folder, target)
    print(f"{target}: {target.stat().st_size:,} bytes")
