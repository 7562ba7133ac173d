"""The StyleGAN2 networks: shapes, invariants, the modulation identity, codes, precision and errors."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from models.stylegan2 import Discriminator, Generator
from models.stylegan2.discriminator import minibatch_deviation
from models.stylegan2.latents import code_statistics, mix, random_crossovers, truncate
from models.stylegan2.layers import (
    EqualizedConvolution,
    EqualizedLinear,
    StyledConvolution,
    ToRGB,
    depthwise,
    low_pass_kernel,
    upsample,
)
from renderers.errors import InputError


@pytest.fixture
def generator() -> Generator:
    torch.manual_seed(0)
    generator = Generator([8, 8, 6], z_dim=5, w_dim=7, mapping_layers=2)
    for parameter in generator.parameters():
        if parameter.dim() < 2:
            torch.nn.init.normal_(parameter, std=0.3)
    return generator


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("batch", [1, 2, 3])
@pytest.mark.parametrize("channels", [[4], [6, 4], [8, 6, 5, 4]])
def test_sizes(batch, channels):
    generator = Generator(channels, z_dim=3, w_dim=5, mapping_layers=1)
    size = 4 * 2 ** (len(channels) - 1)
    assert (generator.resolution, generator.num_layers) == (size, 2 * len(channels))
    codes = generator.mapping(torch.randn(batch, 3))
    assert codes.shape == (batch, 5)
    assert generator.broadcast(codes).shape == (batch, 2 * len(channels), 5)
    images = generator.synthesis(generator.broadcast(codes))
    assert images.shape == (batch, 3, size, size)
    assert Discriminator(channels)(images).shape == (batch,)


def test_modulated_convolution_is_the_papers():
    """Scaling inputs and outputs equals modulating and demodulating the weights of each sample (equations 1 to 3)."""
    torch.manual_seed(0)
    layer = StyledConvolution(5, 4, 7, 8, up=False, blur_kernel=[1.0, 3.0, 3.0, 1.0], conv_clamp=None).double()
    torch.nn.init.normal_(layer.bias)
    torch.nn.init.constant_(layer.noise_strength, 0.7)
    x, code = torch.randn(3, 5, 8, 8).double(), torch.randn(3, 7).double()
    weight = layer.weight[None] * layer.affine(code)[:, None, :, None, None]
    weight = weight * torch.rsqrt(weight.square().sum(dim=(2, 3, 4), keepdim=True) + 1e-8)
    plain = torch.cat([F.conv2d(x[i : i + 1], weight[i], padding=1) for i in range(3)])
    plain = plain + 0.7 * layer.noise_const.double() + layer.bias[:, None, None]
    expected = F.leaky_relu(plain, 0.2) * math.sqrt(2)
    torch.testing.assert_close(layer(x, *layer.modulation(code), layer.noise_const[None, None]), expected)


def test_upsampling_convolution_is_zero_insertion_convolution_and_filter():
    torch.manual_seed(0)
    layer = StyledConvolution(3, 2, 4, 8, up=True, blur_kernel=[1.0, 3.0, 3.0, 1.0], conv_clamp=None).double()
    x, code = torch.randn(2, 3, 4, 4).double(), torch.randn(2, 4).double()
    style, demodulation = layer.modulation(code)
    spread = torch.zeros(2, 3, 8, 8, dtype=torch.float64)
    spread[:, :, ::2, ::2] = x * style
    # A transposed convolution is a convolution of the spread image with the flipped kernel; the last row and column are zeros anyway.
    full = F.conv2d(F.pad(spread, (2, 2, 2, 2)), layer.weight.flip(2, 3))[:, :, :9, :9]
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0]).double()
    blur = (torch.outer(taps, taps) / 16).expand(2, 1, 4, 4)
    filtered = F.conv2d(full, blur, padding=1, groups=2) * demodulation
    expected = F.leaky_relu(filtered, 0.2) * math.sqrt(2)
    torch.testing.assert_close(layer(x, style, demodulation, None), expected)


def test_clamp_bounds_features():
    layer = StyledConvolution(3, 2, 4, 4, up=False, blur_kernel=[1.0, 1.0], conv_clamp=0.5)
    out = layer(torch.randn(2, 3, 4, 4) * 10, *layer.modulation(torch.randn(2, 4)), None)
    assert out.abs().max() == 0.5
    to_rgb = ToRGB(3, 4, conv_clamp=0.25)
    assert to_rgb(torch.randn(2, 3, 4, 4) * 10, to_rgb.modulated_weight(torch.randn(2, 4))).abs().max() == 0.25


def test_filters_keep_brightness():
    kernel = low_pass_kernel([1.0, 3.0, 3.0, 1.0])
    ones = torch.ones(1, 2, 8, 8)
    torch.testing.assert_close(upsample(ones, kernel)[:, :, 2:-2, 2:-2], torch.ones(1, 2, 12, 12))
    torch.testing.assert_close(depthwise(ones, kernel, 2)[:, :, 2:-2, 2:-2], torch.ones(1, 2, 5, 5))


def test_depthwise_gradients():
    kernel = low_pass_kernel([1.0, 3.0, 3.0, 1.0]).double()
    x = torch.randn(1, 2, 4, 5, dtype=torch.float64, requires_grad=True)
    for padding in (0, 1, 2, 3):
        assert torch.autograd.gradcheck(lambda x, padding=padding: depthwise(x, kernel, padding), x)
        assert torch.autograd.gradgradcheck(lambda x, padding=padding: depthwise(x, kernel, padding), x)


def test_equalised_layers():
    linear = EqualizedLinear(3, 2, bias_init=0.5, lr_multiplier=0.01)
    x = torch.randn(4, 3)
    expected = x @ (linear.weight * 0.01 / math.sqrt(3)).T + 0.5
    torch.testing.assert_close(linear(x), expected)
    layer = EqualizedConvolution(3, 2, 3, gain=0.5, conv_clamp=10.0)
    torch.nn.init.normal_(layer.bias)
    image = torch.randn(2, 3, 5, 5)
    plain = F.conv2d(image, layer.weight / math.sqrt(27), layer.bias, padding=1)
    torch.testing.assert_close(layer(image), F.leaky_relu(plain, 0.2) * math.sqrt(2) * 0.5)


@pytest.mark.parametrize("kernel_size, halo", [(3, 2), (1, 1)])
def test_downsampling_filters_before_it_strides(kernel_size, halo):
    layer = EqualizedConvolution(2, 3, kernel_size, down=True, bias=False, activate=False)
    image = torch.randn(2, 2, 8, 8)
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0])
    blurred = F.conv2d(image, (torch.outer(taps, taps) / 64).expand(2, 1, 4, 4), padding=halo, groups=2)
    expected = F.conv2d(blurred, layer.weight / math.sqrt(2 * kernel_size**2), stride=2)
    assert expected.shape == (2, 3, 4, 4)
    torch.testing.assert_close(layer(image), expected)


def test_float64_gradients():
    torch.manual_seed(0)
    generator = Generator([4, 3], z_dim=2, w_dim=3).double()
    codes = torch.randn(1, 4, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda codes: generator.synthesis(codes).flatten()[::19], codes)
    discriminator = Discriminator([3]).double()
    images = torch.randn(2, 3, 4, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(discriminator, images)


def test_samples_do_not_influence_each_other(generator):
    codes = torch.randn(3, 6, 7)
    whole = generator.synthesis(codes)
    parts = torch.cat([generator.synthesis(code[None]) for code in codes])
    torch.testing.assert_close(whole, parts, atol=1e-5, rtol=1e-5)


def test_layers_read_their_own_codes(generator):
    """Every layer matters, and the last one changes the image only through colours."""
    codes = torch.randn(1, 6, 7)
    before = generator.synthesis(codes)
    for layer in range(6):
        changed = codes.clone()
        changed[:, layer] += 1
        assert (generator.synthesis(changed) - before).abs().max() > 1e-4


def test_noise_modes(generator):
    codes = torch.randn(2, 6, 7)
    assert torch.equal(generator.synthesis(codes), generator.synthesis(codes))
    a, b, c = (generator.synthesis(codes, "random", rng(seed)) for seed in (1, 1, 2))
    assert torch.equal(a, b) and not torch.equal(a, c)
    for layer in generator.convolutions:
        torch.nn.init.zeros_(layer.noise_strength)
    torch.testing.assert_close(generator.synthesis(codes, "none"), generator.synthesis(codes, "random"))


def test_latents_are_normalised_only_when_asked():
    z = torch.randn(2, 4)
    torch.manual_seed(0)
    normalised = Generator([4], z_dim=4, w_dim=4, mapping_layers=1)
    torch.manual_seed(0)
    plain = Generator([4], z_dim=4, w_dim=4, mapping_layers=1, normalize_z=False)
    torch.testing.assert_close(normalised.mapping(z), normalised.mapping(3 * z))
    torch.testing.assert_close(normalised.mapping(z), plain.mapping(z / z.square().mean(dim=1, keepdim=True).sqrt()))


@pytest.mark.parametrize("dtype", [torch.bfloat16])
def test_low_precision_stays_close(generator, dtype):
    codes = generator.broadcast(generator.mapping(torch.randn(4, 5)))
    discriminator = Discriminator([8, 8, 6])
    with torch.no_grad():
        exact = generator.synthesis(codes)
        with torch.autocast("cpu", dtype):
            assert generator.mapping(torch.randn(2, 5)).dtype == torch.float32
            close = generator.synthesis(codes)
            logits = discriminator(exact)
        assert close.dtype == logits.dtype == torch.float32
        assert (close - exact).abs().mean() < 0.02 * exact.abs().mean()
        assert (logits - discriminator(exact)).abs().max() < 0.1


def test_minibatch_deviation():
    x = torch.randn(6, 3, 2, 2)
    expected = x.numpy().reshape(3, 2, 3, 2, 2)
    deviation = np.sqrt(expected.var(axis=0) + 1e-8).mean(axis=(1, 2, 3))
    found = minibatch_deviation(x, 3)
    assert found.shape == (6, 1, 2, 2)
    np.testing.assert_allclose(found[:, 0, 0, 0].numpy(), np.tile(deviation, 3), rtol=1e-5)
    assert minibatch_deviation(x[:1].expand(4, -1, -1, -1), 4).max() < 1.1e-4
    assert minibatch_deviation(x[:2], 4).shape == (2, 1, 2, 2)
    with pytest.raises(InputError, match="multiple of 4"):
        minibatch_deviation(x, 4)


def test_truncation():
    codes, mean = torch.randn(2, 6, 7), torch.randn(7)
    assert torch.equal(truncate(codes, mean, 1.0), codes)
    torch.testing.assert_close(truncate(codes, mean, 0.0), mean.expand(2, 6, 7))
    torch.testing.assert_close(truncate(codes[:, 0], mean, 0.5), (codes[:, 0] + mean) / 2)
    partial = truncate(codes, mean, 0.0, layers=2)
    torch.testing.assert_close(partial[:, :2], mean.expand(2, 2, 7))
    assert torch.equal(partial[:, 2:], codes[:, 2:])
    with pytest.raises(InputError):
        truncate(codes[:, 0], mean, 0.5, layers=2)


def test_code_statistics():
    mean, deviation = code_statistics(lambda z: 3 * z[:, :2] + 1, 4, samples=5000)
    z = torch.cat([torch.randn(1000, 4, generator=g) for g in [rng(0)] for _ in range(5)])
    torch.testing.assert_close(mean, (3 * z[:, :2] + 1).mean(dim=0), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(deviation, (3 * z[:, :2]).std(dim=0, unbiased=False), atol=1e-4, rtol=1e-4)
    again, _ = code_statistics(lambda z: 3 * z[:, :2] + 1, 4, samples=5000)
    assert torch.equal(mean, again)


def test_mixing():
    codes = torch.arange(3.0)[None, :, None].expand(2, 3, 4)
    mixed = mix(codes, torch.tensor([[2, 4], [5, 1]]), 6)
    assert mixed[:, :, 0].tolist() == [[0, 0, 1, 1, 2, 2], [0, 1, 1, 1, 1, 2]]
    assert mix(codes, torch.tensor([[6, 6], [0, 0]]), 6)[:, :, 0].tolist() == [[0] * 6, [2] * 6]
    assert torch.equal(mix(codes[:, :1], torch.zeros(2, 0, dtype=torch.int64), 6), codes[:, :1].expand(-1, 6, -1))
    with pytest.raises(InputError):
        mix(codes, torch.zeros(2, 1, dtype=torch.int64), 6)


def test_random_crossovers():
    cuts = random_crossovers(4000, 10, 0.9, rng())
    assert cuts.shape == (4000, 1) and cuts.min() == 1 and cuts.max() == 10
    assert abs((cuts < 10).float().mean() - 0.9) < 0.02
    assert (random_crossovers(50, 10, 0.0, rng()) == 10).all()
    assert torch.equal(random_crossovers(9, 10, 0.9, rng(3)), random_crossovers(9, 10, 0.9, rng(3)))


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda g: g.mapping(torch.randn(2, 6)), "5 numbers"),
        (lambda g: g.synthesis(torch.randn(2, 5, 7)), "(batch, 6, 7)"),
        (lambda g: g.synthesis(torch.randn(2, 6, 8)), "(batch, 6, 7)"),
        (lambda g: Generator([]), "channels"),
        (lambda g: Generator([8, 0]), "channels"),
        (lambda g: Generator([8], blur_kernel=[1.0, 2.0, 1.0]), "even length"),
        (lambda g: Discriminator([8], blur_kernel=[1.0, 2.0]), "symmetric"),
        (lambda g: Discriminator([8, 8])(torch.randn(2, 3, 16, 16)), "(batch, 3, 8, 8)"),
    ],
)
def test_bad_input_is_one_clear_line(generator, call, words):
    with pytest.raises(InputError) as error:
        call(generator)
    assert words in str(error.value) and "\n" not in str(error.value)
