"""The rasterizer against pictures that PyTorch3D 0.7.9 drew."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from renderers.rasterizer import Fragments, rasterize

PYTORCH3D_96PX = Path(__file__).parent / "data" / "rasterizer_pytorch3d_96px.npz"


def draw(data: dict[str, np.ndarray], suffix: str) -> tuple[Fragments, Tensor]:
    """Our picture, and PyTorch3D's face index within the mesh."""
    expected = torch.from_numpy(data["pix_to_face" + suffix].astype(np.int64))
    fragments = rasterize(
        torch.from_numpy(data["verts_ndc"]),
        torch.from_numpy(data["faces"].astype(np.int64)),
        tuple(expected.shape[1:]),
        perspective_correct=suffix != "",
    )
    return fragments, expected


@pytest.mark.parametrize("suffix", ["", "_perspective"])
def test_equals_pytorch3d(suffix: str) -> None:
    data = dict(np.load(PYTORCH3D_96PX))
    fragments, expected = draw(data, suffix)
    assert torch.equal(fragments.face_index, expected)
    visible = expected >= 0
    barycentric = torch.from_numpy(data["bary" + suffix])
    assert torch.allclose(fragments.barycentric[visible], barycentric[visible], atol=3e-4)
    if suffix == "":
        assert torch.allclose(fragments.depth[visible], torch.from_numpy(data["zbuf"])[visible], atol=5e-4)


def test_equals_pytorch3d_on_a_scanned_head() -> None:
    path = Path(__file__).resolve().parents[1].parent / "shared" / "data" / "rasterizer_pytorch3d_ict_128px.npz"
    if not path.is_file():
        pytest.skip(f"no reference picture at {path}")
    data = dict(np.load(path))
    fragments, expected = draw(data, "")
    same = fragments.face_index == expected
    assert same.float().mean() > 0.995
    assert same[expected >= 0].float().mean() > 0.995
    # PyTorch3D adds 1e-8 to areas, so its weights of faces far smaller than a pixel sum to less than one, which moves
    # their depth and, in some pixels, which of two faces is the nearest.
    visible = same & (expected >= 0)
    assert torch.allclose(fragments.depth[visible], torch.from_numpy(data["zbuf"])[visible], atol=1e-2)
