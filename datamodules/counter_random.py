"""Counter-based random numbers: the numbers of a sample follow from its index alone, on any device and in any batch.

A generator with a state gives sample i other numbers when the batch size, the number of workers or ranks, or the point of
resumption changes. Here every number is a hash of (seed, stream, index, position), computed in vectorised 64-bit integers:

- ``mix`` is the finaliser of SplitMix64 (Stafford's variant 13 of the MurmurHash3 finaliser; Steele, Lea and Flood, "Fast
  splittable pseudorandom number generators", OOPSLA 2014), a bijection of 64-bit words.
- The key of a sample is ``mix(mix(seed) + stream * 2^48 + index)``: under one seed, two samples never share a key, be they of
  one stream or of two, as long as the index stays below 2^48.
- Word j of a sample is ``mix(key + mix((j + 1) * golden))``, with the golden-ratio increment of SplitMix64. Mixing the position
  first keeps the words of one sample from being a shifted copy of another's.
- Uniform numbers take the upper 32 bits; normal numbers turn both halves of a word into a pair by Box and Muller's transform.

The integers are the same on every device. Logarithm, sine and cosine may differ by a unit in the last place between devices.
"""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

from renderers.errors import InputError

_STREAM_BITS = 48
_MULTIPLIER_1 = 0xBF58476D1CE4E5B9
_MULTIPLIER_2 = 0x94D049BB133111EB
_GOLDEN = 0x9E3779B97F4A7C15
_HALF_MASK = (1 << 32) - 1


def mix(words: Int[Tensor, "*shape"]) -> Int[Tensor, "*shape"]:
    """Hash 64-bit words, a bijection.

    Args:
        words: int64, any value.

    Returns:
        int64 of the same shape; a change of any bit changes each bit of the result with probability about one half.
    """
    words = (words ^ _shift_right(words, 30)) * _signed(_MULTIPLIER_1)
    words = (words ^ _shift_right(words, 27)) * _signed(_MULTIPLIER_2)
    return words ^ _shift_right(words, 31)


def sample_keys(seed: int, stream: int, indices: Int[Tensor, "*batch"]) -> Int[Tensor, "*batch"]:
    """Keys of samples, from which all of their numbers follow.

    Args:
        seed: Any integer below 2^63 in magnitude.
        stream: Which sequence of samples, for instance a split; 0 or more, below 2^15.
        indices: int64, index of each sample in its stream, from 0 to 2^48 - 1.

    Raises:
        InputError: for a seed or stream out of range.
    """
    if not -(1 << 63) < seed < 1 << 63:
        raise InputError(f"expected a seed below 2^63 in magnitude, got {seed}; choose a smaller one")
    if not 0 <= stream < 1 << (63 - _STREAM_BITS):
        raise InputError(
            f"expected a stream from 0 to {(1 << (63 - _STREAM_BITS)) - 1}, got {stream}; number the streams from 0"
        )
    base = mix(torch.tensor(seed, dtype=torch.int64, device=indices.device))
    return mix(base + (stream << _STREAM_BITS) + indices)


def subkeys(keys: Int[Tensor, "*batch"], purpose: int) -> Int[Tensor, "*batch"]:
    """Keys for a second, independent set of numbers of the same samples; `purpose` numbers the sets from 1."""
    return mix(keys ^ mix(torch.tensor(-purpose, dtype=torch.int64, device=keys.device)))


def random_words(keys: Int[Tensor, "*batch"], count: int) -> Int[Tensor, "*batch {count}"]:
    """`count` uniformly distributed 64-bit words per key."""
    positions = torch.arange(1, count + 1, dtype=torch.int64, device=keys.device)
    return mix(keys[..., None] + mix(positions * _signed(_GOLDEN)))


def uniform(keys: Int[Tensor, "*batch"], count: int) -> Float[Tensor, "*batch {count}"]:
    """`count` float32 numbers per key, uniform in [0, 1]; each is the centre of one of 2^32 equal intervals, rounded."""
    return _to_unit(_shift_right(random_words(keys, count), 32))


def normal(keys: Int[Tensor, "*batch"], count: int) -> Float[Tensor, "*batch {count}"]:
    """`count` float32 standard normal numbers per key, by Box and Muller's transform; none is beyond 6.8 in magnitude."""
    words = random_words(keys, (count + 1) // 2)
    radius = torch.sqrt(-2 * torch.log(_to_unit(_shift_right(words, 32))))
    angle = _to_unit(words & _HALF_MASK) * (2 * math.pi)
    return torch.cat([radius * torch.cos(angle), radius * torch.sin(angle)], dim=-1)[..., :count]


def _to_unit(halves: Int[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    return (halves.to(torch.float32) + 0.5) * 2.0**-32


def _shift_right(words: Int[Tensor, "*shape"], bits: int) -> Int[Tensor, "*shape"]:
    # `>>` copies the sign into the upper bits; the hash is defined on unsigned words.
    return (words >> bits) & ((1 << (64 - bits)) - 1)


def _signed(word: int) -> int:
    return word - (1 << 64) if word >= 1 << 63 else word
