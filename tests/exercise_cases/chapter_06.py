"""Plausible wrong answers to the exercises of chapter 6."""

import jax
import jax.numpy as jnp
import numpy as np


def average(clean, misread):
    return (clean & ~misread).mean()


def strongest(clean, misread):
    return (clean & ~misread).mean(axis=1).min()


def best_of_each_batch(clean, misread):
    n = len(clean) // 50 * 50
    standing = (clean & ~misread)[:, :n].reshape(len(misread), -1, 50).sum(axis=2)
    return standing.min(axis=0).sum() / n


def without_clean(clean, misread):
    return (~misread).all(axis=0).mean()


def survives_one(clean, misread):
    return (clean & ~misread).any(axis=0).mean()


def fallen(clean, misread):
    return 1 - (clean & ~misread).all(axis=0).mean()


def broken(clean, misread):
    return (clean & misread.any(axis=0)).mean()


def of_the_clean(clean, misread):
    return (clean & ~misread).all(axis=0).sum() / clean.sum()


def count(clean, misread):
    return (clean & ~misread).all(axis=0).sum()


def lead(logits, labels):
    others = jnp.where(jax.nn.one_hot(labels, logits.shape[1]) > 0, -jnp.inf, logits)
    return others.max(axis=1) - logits[jnp.arange(len(labels)), labels]


def spread(logits, rank=3):
    ordered = jnp.sort(logits, axis=1)
    return ordered[:, -1] - ordered[:, -rank] + 1e-12


def by_rank(rank):
    """Return an answer that takes the class of this rank for the best other one."""

    def answer(logits, labels):
        own = logits[jnp.arange(len(labels)), labels]
        return (jnp.sort(logits, axis=1)[:, -rank] - own) / spread(logits)

    return answer


def of_probabilities(logits, labels):
    p = jax.nn.softmax(logits)
    return lead(p, labels) / spread(p)


def guarded_too_much(logits, labels):
    return lead(logits, labels) / (spread(logits) + 1e-3)


def unguarded(logits, labels):
    ordered = jnp.sort(logits, axis=1)
    return lead(logits, labels) / (ordered[:, -1] - ordered[:, -3])


def hundredths(less=3, least=6):
    before, interval, positions = 0, 22, []
    while before + interval <= 100 and interval > 0:
        before += interval
        positions.append(before)
        interval = max(interval - less, least)
    return positions


def rounded(positions, up=True):
    return lambda steps: [-(-p * steps // 100) if up else p * steps // 100 for p in positions]


def with_the_start(steps):
    return [0, *rounded(hundredths())(steps)]


def distances(steps):
    return np.diff(with_the_start(steps)).tolist()


def in_decimals(steps):
    before, now, ends = 0.0, 0.22, []
    while now <= 1:
        ends.append(int(np.ceil(now * steps)))
        before, now = now, now + max(now - before - 0.03, 0.06)
    return ends


WRONG = {
    "check_robust_share": {
        "average of the attacks": average,
        "strongest attack alone": strongest,
        "best of each batch": best_of_each_batch,
        "clean errors forgotten": without_clean,
        "one survived attack is enough": survives_one,
        "clean accuracy": lambda clean, misread: clean.mean(),
        "share that falls": fallen,
        "share that is broken": broken,
        "divided by the clean ones": of_the_clean,
        "a number of images": count,
    },
    "check_dlr": {
        "margin": lead,
        "sign turned": lambda logits, labels: -lead(logits, labels) / spread(logits),
        "second below": lambda logits, labels: lead(logits, labels) / spread(logits, 2),
        "last below": lambda logits, labels: lead(logits, labels) / spread(logits, logits.shape[1]),
        "fourth below": lambda logits, labels: lead(logits, labels) / spread(logits, 4),
        "largest above": by_rank(1),
        "second above": by_rank(2),
        "probabilities": of_probabilities,
        "equal logits": unguarded,
        "too large a number below": guarded_too_much,
    },
    "check_checkpoints": {
        "with the start": with_the_start,
        "rounded down": rounded(hundredths(), up=False),
        "distances": distances,
        "no shortest interval": rounded(hundredths(least=0)),
        "equal intervals": rounded(hundredths(less=0, least=22)),
        "longer and longer": rounded(hundredths(less=-3)),
        "hundredths": lambda steps: hundredths(),
        "decimals": in_decimals,
    },
}
