"""`python -m robustlib evaluate ...`: the report on a model, from a shell."""

import argparse
import dataclasses
import importlib
import json
import sys
import traceback
import zipfile
import zlib
from contextlib import redirect_stdout
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np

import robustlib
from robustlib import checks
from robustlib.ensemble import ENSEMBLES
from robustlib.evaluation import INTERRUPTED

THREATS = {"linf": robustlib.Linf, "l2": robustlib.L2}


class ModelRaised(Exception):
    """The function that was named raised an error of its own."""


def main(arguments: list[str] | None = None) -> int:
    """Run a command line, and return its exit status.

    0: done; 1: something given cannot be used; 130: interrupted. A command line that makes no sense
    ends in `SystemExit` with status 2, as argparse does it.
    """
    given = _given(arguments)
    try:
        with redirect_stdout(sys.stderr):  # only the report may go where it is read by programs
            report = _report(given)
    except (ValueError, TypeError, OSError, ImportError, RuntimeError) as error:
        print(f"robustlib evaluate: {error}", file=sys.stderr)
        return 1
    except ModelRaised as error:
        traceback.print_exception(error.__cause__)
        print(f"robustlib evaluate: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("robustlib evaluate: interrupted before there was a result.", file=sys.stderr)
        return 130
    print(json.dumps(_plain(report), indent=1) if given.json else report)
    return 130 if _is_interrupted(report) else 0


def _is_interrupted(report):
    return report.partial or INTERRUPTED in report.flags


def _report(given):
    """Return the report, beside that on the baseline if there is one.

    All that can be wrong is looked at before anything takes time: names, images, then models.
    """
    names = [name for name in (given.baseline, given.recipe or given.model) if name]
    if given.recipe:
        models = [robustlib.recipe(name, given.dataset or "mnist") for name in names]
    else:
        models = [_function(name) for name in names]
    split, epsilon = _split_and_epsilon(given)
    threat = THREATS[given.threat](epsilon)
    checks.check_threat(threat, split.images.shape)
    if not given.recipe:
        for name, model in zip(names, models, strict=True):
            _check_model(name, model, split)
    evaluate = partial(
        robustlib.evaluate_robustness,
        split=split,
        threat=threat,
        key=jax.random.key(given.seed),
        attacks=given.attacks,
        progress=not given.quiet,
    )
    if given.recipe:
        models = [_trained(recipe, progress=not given.quiet) for recipe in models]
    *undefended, model = models
    baseline = evaluate(*undefended) if undefended else None
    if baseline is not None and _is_interrupted(baseline):
        raise KeyboardInterrupt
    return evaluate(model, baseline=baseline)


def _plain(report):
    """Return what the report holds and, for programs that do not count, its shares."""
    low, high = robustlib.wilson_interval(report.robust_correct, report.examples)
    shares = {"clean_accuracy": report.clean_accuracy, "robust_accuracy": report.robust_accuracy}
    return dataclasses.asdict(report) | shares | {"robust_accuracy_95": [low, high]}


def _given(arguments):
    """Return the parsed command line; what contradicts itself is refused."""
    parser = _parser()
    given = parser.parse_args(arguments)
    if given.recipe and given.data:
        parser.error("--data goes with a model of your own, --dataset with --recipe.")
    if given.recipe and given.threat != "linf" and given.epsilon is None:
        parser.error(f"--threat {given.threat} needs --epsilon: a data set's own is for linf.")
    if given.model and given.dataset:
        parser.error("--dataset goes with --recipe, --data with a model of your own.")
    if not 0 <= given.seed < 2**32:
        parser.error(f"--seed must lie in 0 ... 2^32 - 1, but is {given.seed}.")
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
    command.add_argument("--dataset", metavar="NAME", help="of the recipe (default: mnist)")
    command.add_argument("--threat", choices=THREATS, default="linf", help="(default: linf)")
    command.add_argument(
        "--epsilon",
        type=float,
        help="in pixel units, such as 0.03; may be left out with --recipe in linf",
    )
    command.add_argument(
        "--baseline",
        metavar="MODEL",
        help="an undefended model, named as the other is, to be attacked in the same way",
    )
    command.add_argument(
        "--attacks", choices=ENSEMBLES, default="standard", help="(default: standard)"
    )
    command.add_argument("--examples", type=int, metavar="N", help="evenly spread; all if left out")
    command.add_argument("--seed", type=int, default=0, help="of the attacks (default: 0)")
    command.add_argument("--json", action="store_true", help="print JSON in place of a table")
    command.add_argument("--quiet", action="store_true", help="show no progress")
    return parser


def _split_and_epsilon(given):
    """Return the images and the epsilon that a command line names."""
    if not given.recipe:
        return _spread(_arrays(given.data), given.examples), given.epsilon
    data = robustlib.load_dataset(given.dataset or "mnist")
    epsilon = data.epsilon if given.epsilon is None else given.epsilon
    return _spread(data.test, given.examples), epsilon


def _trained(recipe, progress):
    """Return images -> logits of a recipe."""
    trained = robustlib.fit_or_load(recipe, progress=progress)
    if trained.interrupted:
        raise KeyboardInterrupt
    return robustlib.logits_fn(trained.state)


def _function(name: str):
    """Return `package.module:function`, found from the current folder too."""
    module, colon, function = name.partition(":")
    if not (module and colon and function):
        raise ValueError(
            f"the model must be package.module:function, but is {name!r}: add a colon."
        )
    sys.path.insert(0, str(Path.cwd()))
    try:
        model = getattr(importlib.import_module(module), function)
    except Exception as error:  # a module can raise anything while it is imported
        raise ValueError(
            f"the model {name!r} cannot be imported ({type(error).__name__}: {error}): check its "
            "name, and that `python -c 'import ...'` works."
        ) from error

    def named(images):
        try:
            return model(images)
        except Exception as error:  # as can a model; its traceback is what its author needs
            what = f"{type(error).__name__}: {error}"
            raise ModelRaised(f"the model {name!r} raised {what}.") from error

    return named if callable(model) else model


def _check_model(name: str, model, split):
    """Raise unless a model has logits for these images and their labels."""
    try:
        classes = checks.check_logits(robustlib.logits_fn(model), split.images)
        checks.check_labels(split.labels, split.images, classes=classes)
    except (TypeError, ValueError) as error:
        raise ValueError(f"the model {name!r} does not suit the data: {error}") from error


def _arrays(path: str):
    with open(path, "rb") as file:
        if not zipfile.is_zipfile(file):
            raise ValueError(
                f"{path} is no .npz file: write it with numpy.savez(file, images=..., ...)."
            )
        file.seek(0)
        try:
            arrays = np.load(file, allow_pickle=False)
            if not {"images", "labels"} <= set(arrays.files):
                raise ValueError(
                    f"{path} must hold the arrays 'images' and 'labels', but holds "
                    f"{', '.join(arrays.files) or 'none'}: save them with numpy.savez."
                )
            return SimpleNamespace(images=arrays["images"], labels=arrays["labels"])
        except (zipfile.BadZipFile, zlib.error, EOFError) as error:
            raise ValueError(f"{path} is damaged ({error}): write it again.") from error


def _spread(split, n: int | None):
    checks.check_images(split.images)
    checks.check_labels(split.labels, split.images)
    if n is None:
        return split
    total = len(split.labels)
    if not 1 <= n <= total:
        raise ValueError(f"--examples must lie in 1 ... {total}, but is {n}: choose among those.")
    index = np.arange(n) * total // n
    return SimpleNamespace(images=split.images[index], labels=split.labels[index])


if __name__ == "__main__":
    sys.exit(main())
