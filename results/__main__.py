"""Computes the headline, keeps it in headline.json and puts its table into the README."""

import os
import tempfile

import jax

from results import headline, page


def main() -> None:
    """Compute it, as `make results` does."""
    # Training starts cold, so that its seconds are those of a first run.
    jax.config.update("jax_enable_compilation_cache", False)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["ROBUSTLIB_CACHE"] = folder
        stored = headline.compute()
    print(page.markdown(stored))
    page.keep(stored)


if __name__ == "__main__":
    main()
