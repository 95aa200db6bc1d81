"""What JAX says of the playground's networks, for the tests in a browser.

    python -m tests.browser.reference FILE.npz

reads the weights of the playground as the page does, and computes with JAX and robustlib.
"""

import base64
import json
import sys
import zlib
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import robustlib

SCRIPT = Path(__file__).parents[2] / "_build/html/_static/playground/weights.js"
LAYERS = "Conv_0", "Conv_1", "Dense_0", "Dense_1"


def weights():
    """Return {network: Flax parameters} of the file that the page loads."""
    text = SCRIPT.read_text(encoding="utf-8").partition("const PLAYGROUND_WEIGHTS = ")[2]
    records = json.loads(text.strip().removesuffix(";"))
    networks = {}
    for name in ("standard", "fgsm", "pgd"):
        record = records[name]
        rest = {key: value for key, value in record.items() if key != "crc32"}
        assert zlib.crc32(json.dumps(rest, separators=(",", ":")).encode()) == record["crc32"]
        numbers = np.frombuffer(base64.b64decode(record["base64"]), "<f4")
        params = {}
        for layer, shape in zip(LAYERS, record["shapes"], strict=True):
            kernel, numbers = np.split(numbers, [np.prod(shape)])
            bias, numbers = np.split(numbers, [shape[-1]])
            params[layer] = {
                "kernel": jnp.asarray(kernel.reshape(shape)),
                "bias": jnp.asarray(bias),
            }
        assert numbers.size == 0
        networks[name] = params
    return networks


def drawn():
    """Return an image [28, 28, 1] that no data set holds: a ring and a stroke, in grey."""
    y, x = np.mgrid[:28, :28]
    ring = np.exp(-((np.hypot(x - 14, y - 12) - 6) ** 2) / 3)
    stroke = np.exp(-((x - y) ** 2) / 4) * (x > 14)
    return np.clip(ring + stroke, 0, 1).astype(np.float32)[..., None]


def main() -> None:
    """Write the reference."""
    few = robustlib.load_dataset("mnist").test.spread(100)
    images = np.concatenate([few.images, drawn()[None]])
    labels = np.append((few.labels + 1) % 10, 3)  # at the true class, many gradients are tiny
    model = robustlib.SmallCNN(channels=(8, 16), hidden=24, fast=False)
    far = images + np.random.default_rng(0).normal(size=images.shape).astype(np.float32)
    arrays = {"images": images, "labels": labels, "far": far}
    threats = {"linf": robustlib.Linf(0.2), "l2": robustlib.L2(1.5)}
    for name, threat in threats.items():
        arrays[f"{name} epsilon"] = np.float32(threat.epsilon)
        arrays[f"{name} projected"] = np.asarray(threat.project(images, far))

    def summed(images, logits_fn):
        return robustlib.cross_entropy(logits_fn(images), labels).sum()

    for name, params in weights().items():
        logits_fn = robustlib.logits_fn(model.apply, {"params": params})
        if name == "pgd":
            for norm, threat in threats.items():
                points = robustlib.fgsm(logits_fn, images, labels, threat)
                arrays[f"{norm} fgsm"] = np.asarray(points)
        arrays[f"{name} logits"] = np.asarray(logits_fn(images))
        arrays[f"{name} gradients"] = np.asarray(jax.grad(summed)(jnp.asarray(images), logits_fn))
    np.savez(sys.argv[1], **arrays)


if __name__ == "__main__":
    main()
