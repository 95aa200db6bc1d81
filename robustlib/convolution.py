"""A convolution whose gradient stays fast inside compiled loops, on a CPU.

Why it exists. An attack is a loop, and XLA on the CPU rewrites a convolution into its fast form
only outside loop bodies (google/jax#12868). The forward pass of `nn.Conv` does not suffer; its
gradient, which JAX derives as convolutions in another layout, becomes several times slower in
`lax.fori_loop` or `lax.scan`. So this file writes the two derivatives down by hand, already in the
layout that is fast: images [N, H, W, C], kernels [h, w, in, out].

What it is. `convolve` has the signature that `flax.linen.Conv(conv_general_dilated=...)` expects.
Parameters, their initial values and the result stay those of `nn.Conv`. To go back, leave the
argument out: `SmallCNN(fast=False)`. It does not do groups or dilation, and says so; nor forward
mode (`jax.jvp`, `jax.hessian`), which JAX refuses for any function with a `custom_vjp`.

The network of this book has kernels 4x4 with stride 2 and padding 1, and for those there is a
shorter way. Cut the padded image into tiles of 2x2 pixels and make each tile one pixel with four
times the channels ("space to depth"): the convolution turns into one with a 2x2 kernel and
stride 1. With few channels (the first layer) that in turn is one matrix product.
"""

import jax
import jax.numpy as jnp
from jax import lax

_NHWC = ("NHWC", "HWIO", "NHWC")
# On two cores, batch 128, the matrix product was faster at 1 and 3 channels (grey and coloured
# images), slower at 8 and 16, and at 4 the two came close.
_FEW_CHANNELS = 4
# With 16 and 32 channels, PGD ran 10 % faster at 128 images when the image gradient was one matrix
# product whose results are added up, equally fast at 256, and 8 % slower at 512 and at 1,000.
_FEW_IMAGES = 256
# The kernel's gradient turns the batch into channels, and many of those do not stay in the cache:
# in pieces of 64, 512 images took 5 ms in place of 13. Each piece is compiled, hence a limit.
_IMAGES_AT_A_TIME, _MOST_TIMES = 64, 8


def convolve(
    images: jax.Array,
    kernel: jax.Array,
    window_strides,
    padding,
    *,
    lhs_dilation=None,
    rhs_dilation=None,
    dimension_numbers=None,
    feature_group_count: int = 1,
    precision=None,
) -> jax.Array:
    """Return the convolution of images with kernel, as `lax.conv_general_dilated` does.

    Args:
        images: float [N, H, W, C].
        kernel: float [h, w, C, O].
        window_strides: two whole numbers.
        padding: two pairs (low, high), or "SAME" or "VALID".
        lhs_dilation: must be 1.
        rhs_dilation: must be 1.
        dimension_numbers: must mean NHWC, HWIO, NHWC, as it does in `nn.Conv`.
        feature_group_count: must be 1.
        precision: must be left out.

    Returns:
        float [N, H', W', O].

    Raises:
        NotImplementedError: something is asked for that this convolution does not do.
    """
    expected = lax.conv_dimension_numbers(images.shape, kernel.shape, _NHWC)
    if dimension_numbers not in (None, _NHWC, expected):
        raise NotImplementedError(
            f"the fast convolution works on images [N, H, W, C], but was given the layout "
            f"{dimension_numbers}: use SmallCNN(fast=False) or nn.Conv without it."
        )
    dilated = any(d not in (None, 1, (1, 1), [1, 1]) for d in (lhs_dilation, rhs_dilation))
    if dilated or feature_group_count != 1 or precision is not None:
        raise NotImplementedError(
            "the fast convolution knows no groups, dilation or precision, but was asked for "
            f"groups {feature_group_count}, dilation {lhs_dilation} and {rhs_dilation}, precision "
            f"{precision}: use nn.Conv without conv_general_dilated."
        )
    strides = tuple(window_strides)
    if isinstance(padding, str):
        padding = lax.padtype_to_pads(images.shape[1:3], kernel.shape[:2], strides, padding)
    padding = tuple((int(low), int(high)) for low, high in padding)
    halves = kernel.shape[:2] == (4, 4) and strides == (2, 2) and padding == ((1, 1), (1, 1))
    if halves and images.shape[1] % 2 == images.shape[2] % 2 == 0:
        few = images.shape[3] <= _FEW_CHANNELS
        return (_halve_few_channels if few else _halve)(images, kernel)
    return _general(images, kernel, strides, padding)


def _conv(images, kernel, strides, padding, **dilation):
    return lax.conv_general_dilated(
        images, kernel, strides, padding, dimension_numbers=_NHWC, **dilation
    )


# ---- any kernel, stride and padding -------------------------------------------------------------


def _general_forward(images, kernel, strides, padding):
    return _conv(images, kernel, strides, padding), (images, kernel)


def _general_backward(strides, padding, saved, gradient):
    images, kernel = saved
    return (
        _general_image_gradient(images.shape, kernel, gradient, strides, padding),
        _general_kernel_gradient(images, kernel.shape, gradient, strides, padding),
    )


def _general_image_gradient(image_shape, kernel, gradient, strides, padding):
    """Spread the gradient out by the stride, and convolve it with the turned kernel."""
    pads = [
        (kernel_size - 1 - low, size + low - ((out - 1) * stride + 1))
        for size, kernel_size, out, stride, (low, _) in _sizes(
            image_shape, kernel.shape, gradient, strides, padding
        )
    ]
    return _conv(gradient, _turned(kernel), (1, 1), pads, lhs_dilation=strides)


def _general_kernel_gradient(images, kernel_shape, gradient, strides, padding):
    """Add up the gradients of a few images at a time."""
    few = max(_IMAGES_AT_A_TIME, -(-len(images) // _MOST_TIMES))
    return sum(
        _correlation(images[i : i + few], kernel_shape, gradient[i : i + few], strides, padding)
        for i in range(0, len(images), few)
    )


def _correlation(images, kernel_shape, gradient, strides, padding):
    """Correlate images with the gradient: the batch is summed over, as channels usually are."""
    pads = [
        (low, kernel_size + (out - 1) * stride - size - low)
        for size, kernel_size, out, stride, (low, _) in _sizes(
            images.shape, kernel_shape, gradient, strides, padding
        )
    ]
    images = images.transpose(3, 1, 2, 0)  # [C, H, W, N]
    gradient = gradient.transpose(1, 2, 0, 3)  # [H', W', N, O]
    return _conv(images, gradient, (1, 1), pads, rhs_dilation=strides).transpose(1, 2, 0, 3)


def _sizes(image_shape, kernel_shape, gradient, strides, padding):
    """Return input, kernel and output size, stride and padding, of height and of width."""
    return zip(
        image_shape[1:3], kernel_shape[:2], gradient.shape[1:3], strides, padding, strict=True
    )


_general = jax.custom_vjp(lambda *args: _general_forward(*args)[0], nondiff_argnums=(2, 3))
_general.defvjp(_general_forward, _general_backward)


def _turned(kernel):
    """Return the kernel turned by 180 degrees, inputs and outputs exchanged."""
    return kernel[::-1, ::-1].swapaxes(2, 3)


# ---- 4x4 kernel, stride 2, padding 1: height and width are halved -------------------------------


def _tiles(images):
    """Pad by one pixel, then make each 2x2 tile a pixel: [N, H / 2 + 1, W / 2 + 1, 4 C]."""
    n, height, width, channels = images.shape
    padded = jnp.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)))
    tiles = padded.reshape(n, height // 2 + 1, 2, width // 2 + 1, 2, channels)
    return tiles.transpose(0, 1, 3, 2, 4, 5).reshape(*tiles.shape[:2], width // 2 + 1, -1)


def _untiled(tiles):
    """Undo `_tiles`: from [N, H / 2 + 1, W / 2 + 1, 4 C] to [N, H, W, C]."""
    n, rows, columns, depth = tiles.shape
    pixels = tiles.reshape(n, rows, columns, 2, 2, depth // 4).transpose(0, 1, 3, 2, 4, 5)
    return pixels.reshape(n, 2 * rows, 2 * columns, depth // 4)[:, 1:-1, 1:-1]


def _tile_kernel(kernel):
    """Return the kernel that works on tiles: from [4, 4, C, O] to [2, 2, 4 C, O]."""
    _, _, channels, outputs = kernel.shape
    split = kernel.reshape(2, 2, 2, 2, channels, outputs)
    return split.transpose(0, 2, 1, 3, 4, 5).reshape(2, 2, 4 * channels, outputs)


def _halve_forward(images, kernel):
    return _conv(images, kernel, (2, 2), ((1, 1), (1, 1))), (images, kernel)


def _halve_backward(saved, gradient):
    images, kernel = saved
    strides, padding = (2, 2), ((1, 1), (1, 1))
    kernel_gradient = _general_kernel_gradient(images, kernel.shape, gradient, strides, padding)
    if images.shape[0] <= _FEW_IMAGES:
        return _products_added_up(kernel, gradient), kernel_gradient
    tiles = _conv(gradient, _turned(_tile_kernel(kernel)), (1, 1), ((1, 1), (1, 1)))
    return _untiled(tiles), kernel_gradient


def _products_added_up(kernel, gradient):
    """Multiply each pixel's gradient by the kernel, and add the products up where they overlap."""
    n, rows, columns, outputs = gradient.shape
    matrix = _tile_kernel(kernel).reshape(-1, outputs)
    corners = (gradient.reshape(-1, outputs) @ matrix.T).reshape(n, rows, columns, 2, 2, -1)
    tiles = sum(
        jnp.pad(corners[:, :, :, i, j], ((0, 0), (i, 1 - i), (j, 1 - j), (0, 0)))
        for i in (0, 1)
        for j in (0, 1)
    )
    return _untiled(tiles)


_halve = jax.custom_vjp(lambda *args: _halve_forward(*args)[0])
_halve.defvjp(_halve_forward, _halve_backward)


def _patches(images):
    """Return the 4x4 window under each output pixel: [N, H / 2, W / 2, 16 C]."""
    tiles = _tiles(images)
    rows, columns = tiles.shape[1] - 1, tiles.shape[2] - 1
    corners = [tiles[:, i : i + rows, j : j + columns] for i in (0, 1) for j in (0, 1)]
    return jnp.concatenate(corners, axis=-1)


def _few_forward(images, kernel):
    matrix = _tile_kernel(kernel).reshape(-1, kernel.shape[3])  # [16 C, O]
    return _patches(images) @ matrix, (images, kernel)


def _few_backward(saved, gradient):
    images, kernel = saved
    outputs = kernel.shape[3]
    patches = _patches(images).reshape(-1, 16 * kernel.shape[2])
    products = patches.T @ gradient.reshape(-1, outputs)
    split = products.reshape(2, 2, 2, 2, kernel.shape[2], outputs)
    kernel_gradient = split.transpose(0, 2, 1, 3, 4, 5).reshape(kernel.shape)
    return _products_added_up(kernel, gradient), kernel_gradient


_halve_few_channels = jax.custom_vjp(lambda *args: _few_forward(*args)[0])
_halve_few_channels.defvjp(_few_forward, _few_backward)
