"""Say on which GPU this Python would run the chapters, or what it lacks for that."""

import importlib
import sys

PACKAGES = ("pytest", "nbval", "ipykernel", "matplotlib", "jax", "robustlib")


def first_line(error):
    """Return the kind of an error, and the first line of what it says."""
    return f"{type(error).__name__}: {error}".split("\n")[0].rstrip(": ")


if __name__ == "__main__":
    see = "see 'On a GPU' in README.md."
    for name in PACKAGES:
        try:
            importlib.import_module(name)
        except Exception as error:  # a broken package raises errors of any kind
            lacking = f"{sys.executable} cannot import {name} ({first_line(error)})"
            sys.exit(f"[test-gpu] {lacking}: {see}")
    import jax

    try:
        print(f"[test-gpu] JAX {jax.__version__} on {jax.devices()}")
    except Exception as error:  # JAX's own assertions among them
        sys.exit(f"[test-gpu] JAX sees no GPU ({first_line(error)}): {see}")
