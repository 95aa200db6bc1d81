"""Computes the headline, keeps it in headline.json and puts its table into the README."""

import argparse
import os
import tempfile

import jax

from results import headline, page


def main() -> None:
    """Compute it, as `make results` does."""
    parser = argparse.ArgumentParser(prog="python -m results", description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="only see that it runs: hardly train, keep nothing"
    )
    quick = parser.parse_args().quick
    # Training starts cold, so that its seconds are those of a first run.
    jax.config.update("jax_enable_compilation_cache", False)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["ROBUSTLIB_CACHE"] = folder
        stored = headline.compute(quick)
    print(page.markdown(stored))
    if not quick:
        page.keep(stored)


if __name__ == "__main__":
    main()
