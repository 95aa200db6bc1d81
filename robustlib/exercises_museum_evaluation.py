"""Checkers for the bug museum's evaluations, exhibits 6 to 10: see `robustlib.exercises`."""

import numpy as np

from robustlib.verdicts import array_of, call, checker, expect


def _apart(*numbers):
    """Return whether no two of these numbers could be taken for one another."""
    return np.diff(np.sort(numbers)).min() > 0.004


@checker(right="an image survives if no attempt fools it, whoever shares its batch.")
def check_survivors(answer, rng):
    """Check who survives, bool [N], of fooled, bool [R, N], and the batch of each image [N]."""
    batches, best = rng.permutation(80) // 16, [4]
    while best[0] == 4 or len(set(best)) < 3:  # the last is not the best, nor one best everywhere
        fooled = rng.random((5, 80)) < rng.choice([0, 0.3, 0.7], 80)
        fooled |= (batches % 4 == np.arange(5)[:, None]) & (rng.random(80) < 0.4)
        fooled[:, :2] = True, False  # one image falls to all, one to none
        in_batches = [fooled, *(fooled[:, batches == b] for b in range(5))]
        best = [part.sum(axis=1).argmax() for part in in_batches]
    found = array_of(call(answer, fooled, batches), (80,))
    expect(np.isin(found, (0, 1)).all(), "these are no truth values: True for who survives.")
    expect(np.ptp(found) > 0, "the answer is the same for every image.")
    for mistake, sentence in (
        (
            ~fooled[np.array(best)[1 + batches], range(80)],
            "each batch keeps one attempt: let each image.",
        ),
        (~fooled[best[0]], "one attempt is kept for all: let each image."),
        (~fooled[-1], "only the last attempt counts: look at all of them."),
        (~fooled.all(axis=0), "one attempt that fools is enough: it need not be all."),
        (fooled.any(axis=0), "these are the fallen: return who survives."),
    ):
        expect(not np.array_equal(found, mistake), sentence)
    n = int((found != ~fooled.any(axis=0)).sum())
    expect(n == 0, f"for {n} of 80 images another verdict was expected.")


@checker(right="an image counts while no attack has broken it.")
def check_worst_case(answer, rng):
    """Check the robust accuracy, of correct, bool [N], and functions from indices to broken."""
    numbers, n = [0, 0], rng.integers(1000, 5000)  # so that no two calls have one answer
    while not _apart(*numbers):
        correct = rng.random(n) < 0.9
        broken = rng.random((4, n)) < rng.uniform(0.1, 0.4, (4, 1))
        left, fallen = correct & ~broken, broken.any(axis=0)  # [4, n], [n]
        each, right = left.mean(axis=1), (correct & ~fallen).mean()
        numbers = [right, each.mean(), each.min(), each[-1], left.any(axis=0).mean()]
        numbers += [1 - fallen.mean(), right / correct.mean(), correct.mean() - right]
    attacks = [lambda index, row=row: row[np.asarray(index)] for row in broken]
    found = array_of(call(answer, correct, attacks), ())
    expect(0 <= found <= 1, f"{found:.2f} is no share: divide by the number of images.")
    for mistake, sentence in zip(
        numbers[1:],
        (
            "this is the average over the attacks: an adversary picks the best one.",
            "this is the strongest attack: another may break images that it leaves.",
            "only the last attack counts: take all of them.",
            "surviving one attack is not enough: all of them.",
            "misread images count as robust: begin with correct.",
            "this is a share of the images read correctly: divide by all.",
            "these are the broken: count who is left.",
        ),
        strict=True,
    ):
        expect(not np.isclose(found, mistake), sentence)
    expect(np.isclose(found, right), f"{found:.3f} was given, where {right:.3f} was expected.")


@checker(right="what is stored decides, and an image is treated alike in any company.")
def check_evaluation_mode(answer, rng):
    """Check a normalisation layer in use, of features [N, D] and its stored numbers [D]."""
    features, small = rng.normal(rng.normal(size=6), 2, (9, 6)), 0.1
    mean, shift = rng.normal(size=(2, 6))
    variance, scale = rng.uniform(0.02, 2, 6), rng.uniform(0.5, 2, 6)

    def layer(mean=mean, variance=variance, small=small, scale=scale, shift=shift):
        return scale * (features - mean) / np.sqrt(variance + small) + shift

    found = array_of(call(answer, features, mean, variance, scale, shift, small), (9, 6))
    expect(np.ptp(found) > 0, f"every feature is {found[0, 0]:.2f}.")
    own = features.mean(axis=0), features.var(axis=0)
    for mistake, sentence in (
        (features, "these are the features that were given: normalise them."),
        (layer(*own), "mean and variance are those of the batch: in use, take what is stored."),
        (layer(own[0]), "the mean is that of the batch: take what is stored."),
        (layer(variance=own[1]), "the variance is that of the batch: take what is stored."),
        (
            layer(features.mean(1, keepdims=True), features.var(1, keepdims=True)),
            "these are each image's own mean and variance: take what is stored.",
        ),
        (layer(variance=(variance + small) ** 2, small=0), "divide by the root of the variance."),
        (layer(small=0), "small belongs to the variance, before the root."),
        (
            layer(variance=(np.sqrt(variance) + small) ** 2, small=0),
            "small belongs under the root.",
        ),
        (layer(scale=1, shift=0), "scale and shift are missing."),
        (layer(shift=0), "the shift is missing."),
        (layer(scale=1), "the scale is missing."),
    ):
        expect(not np.allclose(found, mistake, rtol=1e-3, atol=1e-3), sentence)
    sentence = f"the first is {found[0, 0]:.3f}, where {layer()[0, 0]:.3f} was expected."
    expect(np.allclose(found, layer(), rtol=1e-3, atol=1e-3), sentence)


@checker(right="each network is attacked, and read, on its own images.")
def check_own_attack(answer, rng):
    """Check accuracies [M] of networks, from attack(network) and reads(network, points)."""
    table = np.zeros((3, 3))  # [who was attacked, who reads]
    while not (_apart(*table.diagonal()) and all(_apart(*column) for column in table.T)):
        images, networks = rng.normal(size=(400, 6)), list(rng.normal(size=(3, 6, 4)))
        labels, size = (images @ sum(networks)).argmax(axis=1), rng.uniform(0.1, 0.4)

        def attack(network, images=images, labels=labels, size=size):
            return images - size * np.sign(network.T[labels] - network.mean(axis=1))

        def reads(network, points, labels=labels):
            return (np.asarray(points) @ network).argmax(axis=1) == labels

        table = np.array([[reads(n, attack(by)).mean() for n in networks] for by in networks])
    found = array_of(call(answer, networks, attack, reads), (3,))
    for mistake, sentence in (
        (table[0], "all were read on images made for the first network: attack each one."),
        (table[-1], "all were read on images made for the last network: attack each one."),
        (table[:, 0], "the first network reads them all: each reads its own images."),
        (1 - table.diagonal(), "these are the shares of the misread."),
        (np.full(3, table.diagonal().mean()), "this is one number for all: one a network."),
        (table.mean(axis=0), "this is an average over images made for others: take its own."),
    ):
        expect(not np.allclose(found, mistake), sentence)
    i = np.abs(found - table.diagonal()).argmax()
    sentence = f"network {i} has {found[i]:.3f}, where {table[i, i]:.3f} was expected."
    expect(np.allclose(found, table.diagonal()), sentence)


@checker(right="what a defence is worth is what it adds to the undefended network.")
def check_gain(answer, rng):
    """Check what a defence adds, of four bool [N]: defended and not, each before and after."""
    numbers, n = [0, 0], rng.integers(1000, 5000)  # so that no two calls have one answer
    while not _apart(*numbers):
        before = rng.random((2, n)) < [[0.93], [0.97]]
        after = rng.random((2, n)) < [[rng.uniform(0.6, 0.8)], [rng.uniform(0.3, 0.5)]]
        after[0] |= ~before[0] & (rng.random(n) < 0.5)  # an attack mends some mistakes
        (defended, undefended), shares = before & after, before.mean(axis=1)
        a, b = defended.mean(), undefended.mean()
        numbers = [a - b, a, after[0].mean() - after[1].mean(), b - a]
        numbers += [(shares[1] - b) - (shares[0] - a), a / b, (defended & ~undefended).mean()]
    found = array_of(call(answer, before[0], after[0], before[1], after[1]), ())
    for mistake, sentence in zip(
        numbers[1:],
        (
            "this is what the defended network keeps: how much of it without the defence?",
            "an image counts if it is read before and after.",
            "the sign is turned round: what the defence adds, minus what it costs.",
            "these are the falls: compare what is kept.",
            "this is a ratio: subtract.",
            "images that only the undefended network keeps count too, against the defence.",
        ),
        strict=True,
    ):
        expect(not np.isclose(found, mistake), sentence)
    expect(np.isclose(found, a - b), f"{found:.3f} was given, where {a - b:.3f} was expected.")
