"""Plausible wrong answers to the exercises of chapter 3."""

import jax
import numpy as np


def repainting(signs_of=lambda labels: 2 * labels - 1, price=None, share=None, sign=-1):
    """Return an answer to the first exercise with one thing done otherwise."""

    def answer(weights, bias, images, labels, count):
        signs = signs_of(labels)
        signed = np.outer(signs, weights)
        taken = np.where(signed > 0, signed * images, -signed * (1 - images))
        if price is not None:
            taken = price(signed, images)
        count = count if share is None else share(taken, count)
        margins = signs * (images @ weights + bias)
        return margins + sign * np.sort(taken, axis=1)[:, taken.shape[1] - count :].sum(axis=1)

    return answer


def painted_black(signed, images):
    return np.maximum(signed, 0) * images


def gradient_at_clean_images(loss, attack, params, images, labels):
    return jax.grad(lambda params: loss(params, images, labels).mean())(params)


def gradient_through_the_attack(loss, attack, params, images, labels):
    def adversarial(params):
        return loss(params, attack(params, images, labels), labels).mean()

    return jax.grad(adversarial)(params)


def gradient_of_the_sum(loss, attack, params, images, labels):
    attacked = attack(params, images, labels)
    return jax.grad(lambda params: loss(params, attacked, labels).sum())(params)


def gradient_of_the_images(loss, attack, params, images, labels):
    attacked = attack(params, images, labels)
    return jax.grad(lambda images: loss(params, images, labels).mean())(attacked)


WRONG = {
    "check_margin_after_repainting": {
        "box ignored": repainting(price=lambda signed, images: np.abs(signed) + 0 * images),
        "all pixels": repainting(share=lambda taken, count: taken.shape[1]),
        "no pixel": repainting(share=lambda taken, count: 0),
        "margin raised": repainting(sign=1),
        "labels ignored": repainting(signs_of=np.ones_like),
        "only painted black": repainting(price=painted_black),
        "all pixels if none may be": repainting(share=lambda taken, count: count or taken.shape[1]),
    },
    "check_robust_gradient": {
        "clean images": gradient_at_clean_images,
        "through the attack": gradient_through_the_attack,
        "sum": gradient_of_the_sum,
        "with respect to the images": gradient_of_the_images,
    },
}
