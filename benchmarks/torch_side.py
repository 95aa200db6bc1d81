"""PyTorch's side: the same network, the same weights, the same steps and attacks.

Runs as a process of its own, since the settings of malloc belong to a process:
`python -m benchmarks.torch_side INPUTS DEVICE`, asked by `timing.Worker`.
"""

import sys
import time

import foolbox
import numpy as np
import torch
import torchattacks
from art.attacks.evasion import AutoProjectedGradientDescent, ProjectedGradientDescentPyTorch
from art.estimators.classification import PyTorchClassifier
from torch import nn
from torch.nn.functional import cross_entropy

from benchmarks.timing import serve

INPUTS = np.load(sys.argv[1])
DEVICE = torch.device(sys.argv[2])
EPSILON, STEP_SIZE, STEPS = (float(INPUTS["epsilon"]), 0.01, 40)
AUTO_STEPS, TARGETS, QUERIES = 100, 9, 5000  # of the standard ensemble

images = torch.tensor(INPUTS["images"].transpose(0, 3, 1, 2), device=DEVICE).contiguous()
labels = torch.tensor(INPUTS["labels"], device=DEVICE).long()


def network() -> nn.Module:
    """Return robustlib's SmallCNN with the weights of INPUTS; its images are [N, C, H, W]."""
    model = nn.Sequential(
        nn.Conv2d(1, 16, 4, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 32, 4, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(7 * 7 * 32, 100),
        nn.ReLU(),
        nn.Linear(100, 10),
    )
    kernels = [INPUTS[f"{name}/kernel"] for name in ("Conv_0", "Conv_1", "Dense_0", "Dense_1")]
    # Flax flattens [7, 7, 32], PyTorch [32, 7, 7].
    kernels[2] = kernels[2].reshape(7, 7, 32, 100).transpose(2, 0, 1, 3).reshape(-1, 100)
    layers = [layer for layer in model if hasattr(layer, "weight")]
    for layer, name, kernel in zip(
        layers, ("Conv_0", "Conv_1", "Dense_0", "Dense_1"), kernels, strict=True
    ):
        axes = (3, 2, 0, 1) if kernel.ndim == 4 else (1, 0)
        layer.weight.data = torch.tensor(kernel.transpose(axes)).contiguous()
        layer.bias.data = torch.tensor(INPUTS[f"{name}/bias"])
    return model.to(DEVICE)


def logits() -> list[list[float]]:
    """Return the logits of all images, to be compared with robustlib's."""
    with torch.no_grad():
        return model(images).tolist()


# ---- training steps ------------------------------------------------------------------------------


def standard_step(images, labels):
    optimizer.zero_grad()
    cross_entropy(trained(images), labels).backward()
    optimizer.step()


def textbook_step(images, labels):
    """Three passes: for the attack, for the clean loss, for the adversarial loss."""
    points = images.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(cross_entropy(trained(points), labels), points)
    adversarial = torch.clamp(images + EPSILON * gradient.sign(), 0, 1)
    optimizer.zero_grad()
    clean_loss = cross_entropy(trained(images), labels)
    adversarial_loss = cross_entropy(trained(adversarial), labels)
    (0.5 * clean_loss + 0.5 * adversarial_loss).backward()
    optimizer.step()


def fused_step(images, labels):
    """Two passes: the clean one yields the attack's gradient too."""
    points = images.clone().requires_grad_()
    optimizer.zero_grad()
    (0.5 * cross_entropy(trained(points), labels)).backward()
    adversarial = torch.clamp(images + EPSILON * points.grad.sign(), 0, 1)
    (0.5 * cross_entropy(trained(adversarial), labels)).backward()
    optimizer.step()


STEP = {"standard": standard_step, "textbook": textbook_step, "fused": fused_step}


def train(step: str, batch_size: int, steps: int) -> float:
    """Return the seconds that a number of steps takes."""
    starts = [i * batch_size % (len(images) - batch_size + 1) for i in range(steps)]
    batches = [(images[s : s + batch_size], labels[s : s + batch_size]) for s in starts]
    return seconds(lambda: [STEP[step](*batch) for batch in batches])


# ---- attacks -------------------------------------------------------------------------------------


def by_hand(images, labels):
    points = images + torch.empty_like(images).uniform_(-EPSILON, EPSILON)
    points = points.clamp(0, 1)
    lower, upper = (images - EPSILON).clamp(min=0), (images + EPSILON).clamp(max=1)
    for _ in range(STEPS):
        points.requires_grad_()
        loss = cross_entropy(model(points), labels, reduction="sum")
        (gradient,) = torch.autograd.grad(loss, points)
        points = (points.detach() + STEP_SIZE * gradient.sign()).clamp(lower, upper)
    return points


def by_torchattacks(images, labels):
    return torchattacks.PGD(model, eps=EPSILON, alpha=STEP_SIZE, steps=STEPS)(images, labels)


def by_foolbox(images, labels):
    attack = foolbox.attacks.LinfPGD(abs_stepsize=STEP_SIZE, steps=STEPS)
    target = foolbox.PyTorchModel(model, bounds=(0, 1), device=DEVICE)
    return attack(target, images, labels, epsilons=EPSILON)[1]


def by_art(images, labels):
    attack = ProjectedGradientDescentPyTorch(
        art_target(),
        eps=EPSILON,
        eps_step=STEP_SIZE,
        max_iter=STEPS,
        num_random_init=1,
        batch_size=len(images),
        verbose=False,
    )
    return torch.tensor(attack.generate(images.cpu().numpy(), labels.cpu().numpy()), device=DEVICE)


def art_target():
    return PyTorchClassifier(
        model,
        nn.CrossEntropyLoss(),
        input_shape=(1, 28, 28),
        nb_classes=10,
        clip_values=(0, 1),
        device_type="cpu" if DEVICE.type == "cpu" else "gpu",
    )


def auto_by_art(images, labels):
    attack = AutoProjectedGradientDescent(
        art_target(),
        eps=EPSILON,
        eps_step=2 * EPSILON,
        max_iter=AUTO_STEPS,
        nb_random_init=1,
        batch_size=len(images),
        loss_type="cross_entropy",
        verbose=False,
    )
    return torch.tensor(attack.generate(images.cpu().numpy(), labels.cpu().numpy()), device=DEVICE)


def fgsm_by_foolbox(images, labels):
    target = foolbox.PyTorchModel(model, bounds=(0, 1), device=DEVICE)
    return foolbox.attacks.LinfFastGradientAttack()(target, images, labels, epsilons=EPSILON)[1]


def of_torchattacks(attack, **how):
    return lambda images, labels: attack(model, eps=EPSILON, **how)(images, labels)


PGD = {"by hand": by_hand, "torchattacks": by_torchattacks, "Foolbox": by_foolbox, "ART": by_art}
AUTO_PGD = {
    "torchattacks": of_torchattacks(torchattacks.APGD, steps=AUTO_STEPS),
    "ART": auto_by_art,
}
ATTACKS = {
    "FGSM": {"torchattacks": of_torchattacks(torchattacks.FGSM), "Foolbox": fgsm_by_foolbox},
    "PGD": PGD,
    "Auto-PGD": AUTO_PGD,
    "targeted Auto-PGD": {
        "torchattacks": of_torchattacks(torchattacks.APGDT, steps=AUTO_STEPS, n_classes=TARGETS + 1)
    },
    "Square": {"torchattacks": of_torchattacks(torchattacks.Square, n_queries=QUERIES)},
}


def attack_seconds(attack: str, library: str, batch_size: int) -> float:
    """Return the seconds that an attack on the first images takes."""
    return seconds(lambda: ATTACKS[attack][library](images[:batch_size], labels[:batch_size]))


def standing(attack: str, library: str) -> list[bool]:
    """Return, for each image, whether the attack did not break it inside ball and box."""
    points = ATTACKS[attack][library](images, labels)
    with torch.no_grad():
        correct = model(points).argmax(1) == labels
    outside = (points - images).abs().amax((1, 2, 3)) > EPSILON + 1e-6
    outside |= (points.amin((1, 2, 3)) < 0) | (points.amax((1, 2, 3)) > 1)
    return (correct | outside).tolist()


def seconds(work) -> float:
    start = time.perf_counter()
    work()
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


if __name__ == "__main__":
    model, trained = network().eval(), network()
    model.requires_grad_(False)  # an attack needs no gradient for the weights
    optimizer = torch.optim.Adam(trained.parameters(), lr=1e-3)
    serve(
        {
            "logits": logits,
            "train": train,
            "attack_seconds": attack_seconds,
            "standing": standing,
        }
    )
