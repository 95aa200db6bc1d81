"""One attack on many examples: a batch that is always full, whoever falls.

An example that is finished leaves its place in the batch, and the next one takes it. So nothing is
spent on the fallen, and the attack compiles once, for one size of batch.
"""

from collections.abc import Iterator
from itertools import islice
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from robustlib import checks
from robustlib.auto_pgd import choose
from robustlib.batches import Verdict, judge

# The smallest of these that holds all examples is used, or else the largest.
BATCH_SIZES = (16, 64, 128, 200, 256)


class Problem(NamedTuple):
    """What is attacked: a model, and examples inside their threat model."""

    logits_fn: Any
    images: np.ndarray  # [N, H, W, C]
    labels: np.ndarray  # int [N]
    threat: Any
    logits: np.ndarray  # [N, K], of the images themselves


class Search:
    """One member at work: a batch whose places are filled again as soon as an example is finished.

    Attributes:
        found: adversarial images by the index of their example.
        passes: gradients or queries so far, over all examples.
        left: passes still to come, at most: the fallen are taken out as their runs come up.
    """

    def __init__(self, member: Any, problem: Problem, standing, key):
        self.member, self.problem = member, problem
        self.found, self.passes = {}, 0
        self._key, self._todo = key, np.flatnonzero(standing)
        self.runs = member.runs(problem.logits.shape[1])
        self.left = len(self._todo) * self.runs * member.passes

    def _work(self) -> Iterator[tuple[int, int]]:
        """Yield (example, run): the first run of all, then the second of those that stand, ..."""
        for run in range(self.runs):
            for example in self._todo:
                if example in self.found:
                    self.left -= self.member.passes
                else:
                    yield example, run

    @property
    def standing(self) -> int:
        """How many examples have not fallen."""
        return len(self._todo) - len(self.found)

    def confirmed(self) -> tuple[np.ndarray, Verdict]:
        """Return the indices of who fell, and what a second look says of them."""
        logits_fn, images, labels, threat, _ = self.problem
        fell = np.array(sorted(self.found), int)
        if not len(fell):
            return nothing_found()
        adversarial = np.array([self.found[i] for i in fell])
        return fell, judge(logits_fn, images[fell], labels[fell], threat, adversarial)

    def segments(self) -> Iterator[None]:
        """Work until all is done, and yield after every segment."""
        member, (logits_fn, images, labels, threat, logits) = self.member, self.problem
        aims, all_keys = member.aims(logits, labels), checks.example_keys(self._key, len(labels))
        work, n = self._work(), len(self._todo)
        size = next((size for size in BATCH_SIZES if size >= n), BATCH_SIZES[-1])
        example, run, state = np.full(size, -1), np.zeros(size, int), None
        while True:
            vacant = np.flatnonzero(example < 0)
            taken = list(islice(work, len(vacant)))
            fresh = np.isin(np.arange(size), vacant[: len(taken)])
            if taken:
                example[fresh], run[fresh] = np.transpose(taken)
            empty = example < 0
            if empty.all():
                return
            rows = np.maximum(example, 0)
            keys = _fold_in_both(all_keys[rows], run)
            started = member.start(images[rows], threat, keys)
            state = started if state is None else choose(fresh, started, state)
            state = state._replace(fooled=jnp.asarray(np.asarray(state.fooled) | empty))
            steps = np.asarray(state.step)
            where = (logits_fn, images[rows], labels[rows], aims[rows, run], threat, keys)
            state, finished = member.advance(*where, state)
            self._note(state, np.asarray(finished), example, np.asarray(state.step) - steps)
            yield

    def _note(self, state, finished, example, passes):
        """Write down who fell, and vacate their places, and those of runs that are finished."""
        fooled, occupied = np.asarray(state.fooled), example >= 0
        fell = np.flatnonzero(fooled & occupied)
        # Several runs of one example may be under way; all end with it.
        gone = occupied & np.isin(example, example[fell])
        if len(fell):
            best = np.asarray(state.best)
            self.found |= {int(example[place]): best[place] for place in fell}
        self.passes += int(passes[occupied].sum())
        self.left -= int(passes[occupied].sum())
        self.left -= int((self.member.passes - np.asarray(state.step))[gone].sum())
        example[finished | gone] = -1


def nothing_found() -> tuple[np.ndarray, Verdict]:
    """Return the indices of nobody, and no verdict."""
    return np.zeros(0, int), Verdict(*np.zeros((3, 0), bool))


_fold_in_both = jax.jit(jax.vmap(jax.random.fold_in))
