"""Computes the headline and what the ensembles leave, and keeps each in a file of its own.

    python -m results [headline] [ensembles]

computes those that are named, or both.
"""

import os
import sys
import tempfile

import jax

from results import ensembles, headline, page, page_of_ensembles

EACH = {
    "headline": (headline.compute, page.markdown),
    "ensembles": (ensembles.compute, page_of_ensembles.markdown),
}


def main() -> None:
    """Compute them, as `make results` does."""
    names = sys.argv[1:] or list(EACH)
    if unknown := set(names) - set(EACH):
        sys.exit(f"There is no {', '.join(unknown)}: name headline, ensembles, or neither.")
    # Training starts cold, so that its seconds are those of a first run.
    jax.config.update("jax_enable_compilation_cache", False)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["ROBUSTLIB_CACHE"] = folder
        for name in names:
            compute, markdown = EACH[name]
            stored = compute()
            page.keep(stored, name)
            print(markdown(stored))


if __name__ == "__main__":
    main()
