"""Pictures, quads and faces for the tests of photographs."""

import math
import struct
import zlib

import numpy as np
import torch
from PIL import Image

from datamodules.photos import FaceTransform, crop_quad
from models.face_crops import crop_to_photo


def smooth_photo(width: int, height: int) -> Image.Image:
    """Colours that vary over tens of pixels, none of them the same in two corners."""
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    waves = [np.sin(x / 31 + y / 53), np.cos(x / 47 - y / 29), np.sin((x + 2 * y) / 67)]
    return Image.fromarray((np.stack(waves, -1) * 100 + 128).astype(np.uint8))


def square(centre: tuple[float, float], side: float, degrees: float = 0.0) -> torch.Tensor:
    """A quad: top left, bottom left, bottom right, top right; positive degrees turn clockwise on the screen."""
    turn = math.radians(degrees)
    right = torch.tensor([math.cos(turn), math.sin(turn)], dtype=torch.float64) * side / 2
    down = torch.stack([-right[1], right[0]])
    middle = torch.tensor(centre, dtype=torch.float64)
    return torch.stack([middle - right - down, middle - right + down, middle + right + down, middle + right - down])


def decibels(first: Image.Image | np.ndarray, second: Image.Image | np.ndarray) -> float:
    difference = np.asarray(first, dtype=np.float64) - np.asarray(second, dtype=np.float64)
    return 10 * math.log10(255**2 / max(float((difference**2).mean()), 1e-9))


def transform_of(photo: Image.Image, quad: torch.Tensor, size: int) -> tuple[Image.Image, FaceTransform]:
    crop = crop_quad(photo, quad, size)
    points = [[0.0, 0.0]] * 5
    return crop.image, FaceTransform("crop.png", size, quad.tolist(), crop.padding, photo.size, 1.0, points, None)


def bomb() -> bytes:
    """A PNG of 20,000 x 20,000 pixels in a few bytes."""
    header = struct.pack(">IIBBBBB", 20000, 20000, 8, 2, 0, 0, 0)
    chunks = b""
    for name, data in ((b"IHDR", header), (b"IDAT", zlib.compress(b"")), (b"IEND", b"")):
        chunks += struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
    return b"\x89PNG\r\n\x1a\n" + chunks


def linear_profile() -> bytes:
    """An ICC profile (ICC.1:2001-04) of RGB whose values are proportional to light, with sRGB's primaries adapted to D50."""
    numbers = {
        b"wtpt": (0.9642, 1.0, 0.8249),
        b"rXYZ": (0.4361, 0.2225, 0.0139),
        b"gXYZ": (0.3851, 0.7169, 0.0971),
        b"bXYZ": (0.1431, 0.0606, 0.7141),
    }
    tags = {
        name: b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(65536 * value) for value in values))
        for name, values in numbers.items()
    }
    # A curve of no entries is the identity.
    tags |= {name: b"curv\0\0\0\0" + bytes(4) for name in (b"rTRC", b"gTRC", b"bTRC")}
    table, data, start = b"", b"", 128 + 4 + 12 * len(tags)
    for name, content in tags.items():
        table += struct.pack(">4sII", name, start + len(data), len(content))
        data += content
    header = struct.pack(">I4sI4s4s4s", start + len(data), b"\0\0\0\0", 0x02100000, b"mntr", b"RGB ", b"XYZ ")
    header += bytes(12) + b"acsp" + bytes(28) + struct.pack(">3i", 63190, 65536, 54061)
    return header.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + data


def five_points(quad: torch.Tensor) -> torch.Tensor:
    """Points of a face whose crop is this quad."""
    shares = torch.tensor([[0.375, 0.475], [0.625, 0.475], [0.5, 0.6], [0.4, 0.725], [0.6, 0.725]], dtype=torch.float64)
    return crop_to_photo(shares[None], quad[None], 1)[0]
