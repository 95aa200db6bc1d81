"""`python -m robustlib evaluate ...`: the report on a model, from a shell."""

import argparse
import dataclasses
import importlib
import json
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np

import robustlib

THREATS = {"linf": robustlib.Linf, "l2": robustlib.L2}


def main(arguments: list[str] | None = None) -> int:
    """Run a command line, and return its exit status.

    0: done; 1: something given cannot be used; 130: interrupted. A command line that makes no sense
    ends in `SystemExit` with status 2, as argparse does it.
    """
    given = _given(arguments)
    try:
        logits_fn, split, epsilon = _what(given)
        report = robustlib.evaluate_robustness(
            logits_fn,
            split,
            THREATS[given.threat](epsilon),
            jax.random.key(given.seed),
            attacks=given.attacks,
            progress=not given.quiet,
        )
    except (ValueError, TypeError, OSError) as error:
        print(f"robustlib evaluate: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("robustlib evaluate: interrupted before there was a result.", file=sys.stderr)
        return 130
    print(json.dumps(dataclasses.asdict(report), indent=1) if given.json else report)
    return 130 if report.partial else 0


def _given(arguments):
    """Return the parsed command line; what contradicts itself is refused."""
    parser = _parser()
    given = parser.parse_args(arguments)
    if given.recipe and given.data:
        parser.error("--data goes with a model of your own, --dataset with --recipe.")
    if given.recipe and given.threat != "linf" and given.epsilon is None:
        parser.error(f"--threat {given.threat} needs --epsilon: a data set's own is for linf.")
    if given.model and (given.data is None or given.epsilon is None):
        parser.error("a model of your own needs --data FILE.npz and --epsilon NUMBER.")
    return given


def _parser():
    parser = argparse.ArgumentParser(prog="python -m robustlib", description=__doc__)
    command = parser.add_subparsers(required=True, metavar="evaluate", prog=parser.prog).add_parser(
        "evaluate",
        help="attack a model and report what stands",
        description="Attack a model with an ensemble of attacks, and print the report.",
    )
    what = command.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "model",
        nargs="?",
        metavar="package.module:function",
        help="images [N, H, W, C] in [0, 1] to logits [N, K]",
    )
    what.add_argument("--recipe", metavar="NAME", help='a model of the book, such as "PGD"')
    command.add_argument("--data", metavar="FILE.npz", help="arrays `images` and `labels`")
    command.add_argument("--dataset", default="mnist", help="of the recipe (default: mnist)")
    command.add_argument("--threat", choices=THREATS, default="linf", help="(default: linf)")
    command.add_argument(
        "--epsilon",
        type=float,
        help="in pixel units, such as 0.03; may be left out with --recipe in linf",
    )
    command.add_argument("--attacks", default="standard", help="standard (default) or quick")
    command.add_argument("--examples", type=int, metavar="N", help="evenly spread; all if left out")
    command.add_argument("--seed", type=int, default=0, help="of the attacks (default: 0)")
    command.add_argument("--json", action="store_true", help="print JSON in place of a table")
    command.add_argument("--quiet", action="store_true", help="show no progress")
    return parser


def _what(given):
    """Return the model, the images and epsilon that a command line names."""
    if given.recipe:
        data = robustlib.load_dataset(given.dataset)
        chosen = robustlib.recipe(given.recipe, given.dataset)
        trained = robustlib.fit_or_load(chosen, progress=not given.quiet)
        logits_fn, split = robustlib.logits_fn(trained.state), data.test
        epsilon = data.epsilon if given.epsilon is None else given.epsilon
    else:
        logits_fn, split, epsilon = _function(given.model), _arrays(given.data), given.epsilon
    return logits_fn, _spread(split, given.examples), epsilon


def _function(name: str):
    """Return `package.module:function`, found from the current folder too."""
    module, colon, function = name.partition(":")
    if not (module and colon and function):
        raise ValueError(
            f"the model must be package.module:function, but is {name!r}: add a colon."
        )
    sys.path.insert(0, str(Path.cwd()))
    try:
        return getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise ValueError(
            f"the model {name!r} cannot be imported ({error}): check its name."
        ) from error


def _arrays(path: str):
    if not zipfile.is_zipfile(path):
        Path(path).stat()  # there is no such file: say so
        raise ValueError(
            f"{path} is no .npz file: write it with numpy.savez(file, images=..., ...)."
        )
    with np.load(path, allow_pickle=False) as arrays:
        missing = {"images", "labels"} - set(arrays.files)
        if missing:
            raise ValueError(
                f"{path} must hold the arrays 'images' and 'labels', but holds "
                f"{', '.join(arrays.files) or 'none'}: save them with numpy.savez."
            )
        return SimpleNamespace(images=arrays["images"], labels=arrays["labels"])


def _spread(split, n: int | None):
    if n is None:
        return split
    total = len(split.labels)
    if not 1 <= n <= total:
        raise ValueError(f"--examples must lie in 1 ... {total}, but is {n}: there are no more.")
    index = np.arange(n) * total // n
    return SimpleNamespace(images=split.images[index], labels=split.labels[index])


if __name__ == "__main__":
    sys.exit(main())
