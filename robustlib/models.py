"""Two networks, small enough for two CPU cores, that fit every data set of the book.

They are written in Flax Linen, not the newer NNX, because a Linen network is a pure function of
its parameters and its input, and everything in this book is a derivative of that function with
respect to one or the other. There is no dropout and no batch statistic, so a network treats every
image alike, alone or in a batch, in training or in evaluation.
"""

import jax
from flax import linen as nn

from robustlib.convolution import convolve


class MLP(nn.Module):
    """A multilayer perceptron: dense layers with ReLU between them.

    Attributes:
        classes: the number of outputs, K.
        hidden: the widths of the hidden layers.
    """

    classes: int = 10
    hidden: tuple[int, ...] = (128,)

    @nn.compact
    def __call__(self, images: jax.Array) -> jax.Array:
        """Map images [N, H, W, C] in [0, 1] to logits [N, K]."""
        x = images.reshape(images.shape[0], -1)
        for width in self.hidden:
            x = nn.relu(nn.Dense(width)(x))
        return nn.Dense(self.classes)(x)


class SmallCNN(nn.Module):
    """The small network of Wong, Rice and Kolter (2020), "Fast is better than free", for MNIST.

    Two convolutions (4x4, stride 2, padding 1) and two dense layers, with ReLU between them.

    Attributes:
        classes: the number of outputs, K.
        channels: of the two convolutions; the paper's are 16 and 32.
        hidden: the width of the first dense layer; the paper's is 100.
        fast: use the convolution of `robustlib.convolution` in place of Flax's own; both have the
            same parameters and the same values. Left out: on a CPU, where it pays.
    """

    classes: int = 10
    channels: tuple[int, int] = (16, 32)
    hidden: int = 100
    fast: bool | None = None

    @nn.compact
    def __call__(self, images: jax.Array) -> jax.Array:
        """Map images [N, H, W, C] in [0, 1] to logits [N, K]."""
        fast = jax.default_backend() == "cpu" if self.fast is None else self.fast
        x = images
        for channels in self.channels:
            conv = nn.Conv(
                channels,
                kernel_size=(4, 4),
                strides=2,
                padding=1,
                conv_general_dilated=convolve if fast else None,
            )
            x = nn.relu(conv(x))
        x = x.reshape(x.shape[0], -1)
        x = nn.relu(nn.Dense(self.hidden)(x))
        return nn.Dense(self.classes)(x)
