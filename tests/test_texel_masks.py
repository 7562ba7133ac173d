"""Texel masks against their definition: the texels that a render has a gradient to."""

import pytest
import torch
from torch import Tensor

from models.morphable import FaceParameters, MorphableModel
from models.morphable.procedural import procedural_model
from models.stylefaceuv.texel_masks import SHARED_WEIGHT, TextureSampling, read_texels, texel_masks, view_weights
from models.stylefaceuv.texture_frame import TextureFrame
from renderers.camera import PerspectiveCamera
from renderers.errors import InputError
from renderers.face_renderer import FaceRender, FaceRenderer
from tests.toy_face import toy_face_model, toy_parameters

SIZE = (24, 40)
SAMPLINGS: tuple[TextureSampling, ...] = ("pixel", "vertex")


def views(face: MorphableModel, batch: int = 2, image_size: int = 48) -> tuple[FaceRender, FaceRender, FaceParameters]:
    """Faces turned to one side and to the other, in a soft light that no colour leaves [0, 1] under; and the first parameters."""
    renderer = FaceRenderer(face, PerspectiveCamera(), image_size)
    given = toy_parameters(batch).replace(illumination=torch.zeros(batch, 27))
    turned = given.rotation.clone()
    turned[:, 1] = 0.6
    original = given.replace(rotation=turned)
    symmetric = given.replace(rotation=turned * torch.tensor([1.0, -1.0, 1.0]))
    return renderer(original), renderer(symmetric), original


def gradient_mask(face: MorphableModel, parameters: FaceParameters, sampling: TextureSampling) -> Tensor:
    """The definition of section 3.3: 1 where the render has a gradient to the texel."""
    texture = torch.full((parameters.rotation.shape[0], 3, *SIZE), 0.5, requires_grad=True)
    FaceRenderer(face, PerspectiveCamera(), 48)(parameters, texture, sampling).image.sum().backward()
    assert texture.grad is not None
    return (texture.grad.abs().sum(dim=1, keepdim=True) > 0).float()


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_texels_read_are_those_with_a_gradient(sampling: TextureSampling) -> None:
    face = toy_face_model()
    original, _, parameters = views(face)
    expected = gradient_mask(face, parameters, sampling)
    assert 0.05 < expected.mean() < 0.95
    assert torch.equal(read_texels(face, original, SIZE, sampling), expected)


def test_texels_at_the_border_are_read() -> None:
    """Coordinates at 0 and 1 read the edge texels alone."""
    face = toy_face_model()
    renderer = FaceRenderer(face, PerspectiveCamera(focal_length=3.0), 64)
    mask = read_texels(face, renderer(toy_parameters(1, spread=0.0)), (6, 6))
    assert mask.shape == (1, 1, 6, 6) and mask.min() == 1


def test_a_shared_texel_counts_half_in_the_symmetric_view() -> None:
    face = toy_face_model(30, 30)
    original, symmetric, _ = views(face)
    first, second = (read_texels(face, view, SIZE) for view in (original, symmetric))
    masks = texel_masks(face, original, symmetric, SIZE)
    assert torch.equal(masks.original, first)
    assert (masks.symmetric[(first > 0) & (second > 0)] == SHARED_WEIGHT).all()
    assert (masks.symmetric[(first == 0) & (second > 0)] == 1).all() and (masks.symmetric[second == 0] == 0).all()
    assert set(masks.symmetric.unique().tolist()) == {0.0, 0.5, 1.0}


def test_batches_do_not_mix() -> None:
    face = toy_face_model()
    renderer = FaceRenderer(face, PerspectiveCamera(), 32)
    given = toy_parameters(3)
    together = read_texels(face, renderer(given), SIZE)
    for index in range(3):
        alone = renderer(FaceParameters.unpack(given.pack()[index, None], face.sizes))
        assert torch.equal(read_texels(face, alone, SIZE), together[index, None])


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_weights_in_the_views(sampling: TextureSampling) -> None:
    face = toy_face_model(30, 30)
    original, symmetric, _ = views(face)
    masks = texel_masks(face, original, symmetric, SIZE, sampling)
    torch.testing.assert_close(view_weights(face, original, masks.original, sampling), original.mask)
    weights = view_weights(face, symmetric, masks.symmetric, sampling)
    assert weights.shape == symmetric.mask.shape and (weights[symmetric.mask == 0] == 0).all()
    inside = weights[symmetric.mask > 0]
    assert inside.min() >= SHARED_WEIGHT - 1e-6 and inside.max() <= 1 + 1e-6
    assert (inside > 0.99).any() and (inside < 0.51).any()


def test_turned_heads_read_their_own_sides() -> None:
    """On the shipped face, positive yaw turns the nose to the image's right and shows the half of the texture at the image's left."""
    coarse = procedural_model("coarse")
    region = coarse.region("face")
    face = TextureFrame.around(region).apply(region)
    renderer = FaceRenderer(face, PerspectiveCamera(), 64, landmark_model=coarse)
    given = FaceParameters.zeros(1, coarse.sizes)
    right, left = (renderer(given.replace(rotation=torch.tensor([[0.0, yaw, 0.0]]))) for yaw in (0.6, -0.6))
    masks = texel_masks(face, right, left, (32, 32))
    new = masks.symmetric[0, 0] == 1
    assert masks.original[..., :16].mean() > 1.2 * masks.original[..., 16:].mean()
    assert new[:, 16:].sum() > 5 * new[:, :16].sum()


def test_views_of_points_are_refused() -> None:
    face = toy_face_model()
    view = FaceRenderer(face, PerspectiveCamera(), 32, "points")(toy_parameters(1))
    with pytest.raises(InputError, match="drawn as triangles"):
        read_texels(face, view, SIZE)
    with pytest.raises(InputError, match="drawn as triangles"):
        view_weights(face, view, torch.ones(1, 1, *SIZE))
