"""The face renderer: the public BFM tools' picture, signs, gradients, primitives, textures."""

from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import torch
from torch import Tensor

from models.morphable import FaceParameters
from models.morphable.procedural import procedural_model
from renderers.camera import PerspectiveCamera
from renderers.errors import InputError
from renderers.face_renderer import FaceRenderer
from renderers.shading import directional_light

DATA = Path(__file__).parent / "data"


@dataclass(frozen=True)
class LinearFace:
    """The least that conforms to the renderer's protocol."""

    mean_shape: Tensor
    identity_basis: Tensor
    expression_basis: Tensor
    mean_albedo: Tensor
    reflectance_basis: Tensor
    faces: Tensor
    landmark_indices: Tensor

    def vertices(self, identity: Tensor, expression: Tensor) -> Tensor:
        offset = torch.einsum("vcn,bn->bvc", self.identity_basis, identity)
        return self.mean_shape + offset + torch.einsum("vcn,bn->bvc", self.expression_basis, expression)

    def albedo(self, reflectance: Tensor) -> Tensor:
        return self.mean_albedo + torch.einsum("vcn,bn->bvc", self.reflectance_basis, reflectance)


@dataclass(frozen=True)
class TexturedFace(LinearFace):
    uv: Tensor


@dataclass(frozen=True)
class Parameters:
    identity: Tensor
    expression: Tensor
    reflectance: Tensor
    rotation: Tensor
    illumination: Tensor
    translation: Tensor


def unpack(vector: Tensor) -> Parameters:
    return Parameters(*vector.split((80, 64, 80, 3, 27, 3), dim=1))


@pytest.fixture(scope="module")
def bfm() -> LinearFace:
    """The BFM tools' model file, read as those tools do: shapes are recentred by the mean of `meanshape`."""
    mat = scipy.io.loadmat(DATA / "bfm_tools_model.mat")

    def tensor(name: str, *shape: int) -> Tensor:
        return torch.from_numpy(mat[name].astype(np.float32)).reshape(shape)

    mean = tensor("meanshape", -1, 3)
    return LinearFace(
        mean_shape=mean - mean.mean(dim=0),
        identity_basis=tensor("idBase", -1, 3, 80),
        expression_basis=tensor("exBase", -1, 3, 64),
        mean_albedo=tensor("meantex", -1, 3) / 255,
        reflectance_basis=tensor("texBase", -1, 3, 80) / 255,
        faces=torch.from_numpy(mat["tri"].astype(np.int64)) - 1,
        landmark_indices=torch.from_numpy(mat["keypoints"].astype(np.int64)).flatten() - 1,
    )


@pytest.fixture(scope="module")
def reference() -> dict[str, Tensor]:
    with np.load(DATA / "bfm_tools_render_224px.npz") as file:
        return {name: torch.from_numpy(file[name]) for name in file}


BFM_CAMERA = PerspectiveCamera(focal_length=1015 / 224, distance=10.0)


def test_reproduces_the_bfm_tools(bfm: LinearFace, reference: dict[str, Tensor]) -> None:
    render = FaceRenderer(bfm, BFM_CAMERA, 224)(unpack(reference["coefficients"]))
    assert (render.landmarks - reference["landmarks"]).abs().max() < 0.01
    covered = render.mask[:, 0] > 0
    assert (covered == reference["mask"]).float().mean() > 0.999
    for image, target, inside in zip(
        render.image.permute(0, 2, 3, 1), reference["image"].float() / 255, covered & reference["mask"], strict=True
    ):
        psnr = -10 * (image - target)[inside].square().mean().log10()
        assert psnr > 60


def head(dtype: torch.dtype = torch.float32, rows: int = 40) -> TexturedFace:
    """An egg-shaped head with a nose at landmark 30, small random bases and a UV grid (the face looks along +z)."""
    generator = torch.Generator().manual_seed(0)
    columns = 2 * rows
    v, u = torch.meshgrid(torch.linspace(0.02, 0.98, rows), torch.linspace(0, 1, columns), indexing="ij")
    elevation, azimuth = (v - 0.5) * torch.pi, (u - 0.5) * 2 * torch.pi
    shape = torch.stack(
        (0.7 * elevation.cos() * azimuth.sin(), elevation.sin(), 0.8 * elevation.cos() * azimuth.cos()), dim=-1
    ).reshape(-1, 3)
    nose = torch.exp(-(shape[:, :2].square().sum(dim=1)) / 0.01) * (shape[:, 2] > 0)
    shape[:, 2] += 0.25 * nose
    index = torch.arange(rows * columns).reshape(rows, columns)
    a, b, c, d = index[:-1, :-1], index[:-1, 1:], index[1:, :-1], index[1:, 1:]
    count = len(shape)
    front = (shape[:, 2] > 0.3).nonzero().squeeze(1)
    landmarks = front[torch.randperm(len(front), generator=generator)[:68]]
    landmarks[30] = shape[:, 2].argmax()

    def basis(size: int, scale: float) -> Tensor:
        return (torch.randn(count, 3, size, generator=generator) * scale).to(dtype)

    return TexturedFace(
        mean_shape=shape.to(dtype),
        identity_basis=basis(80, 0.002),
        expression_basis=basis(64, 0.002),
        mean_albedo=torch.full((count, 3), 0.6, dtype=dtype),
        reflectance_basis=basis(80, 0.01),
        faces=torch.cat([torch.stack(t, dim=-1).reshape(-1, 3) for t in ((a, b, c), (b, d, c))]),
        landmark_indices=landmarks,
        uv=torch.stack((u, v), dim=-1).reshape(-1, 2).to(dtype),
    )


def parameters(batch: int = 1, dtype: torch.dtype = torch.float32, spread: float = 0.0, seed: int = 0) -> Parameters:
    generator = torch.Generator().manual_seed(seed)
    vector = torch.randn(batch, 257, generator=generator, dtype=torch.float64)
    scale = torch.tensor([1.0] * 224 + [0.1] * 3 + [0.1] * 27 + [0.02] * 3, dtype=torch.float64)
    return unpack((vector * scale * spread).to(dtype))


@pytest.fixture(scope="module")
def face() -> TexturedFace:
    return head()


def nose_tip(face: LinearFace, **changes: float) -> Tensor:
    """Where the nose tip moves, in pixels right and down, for a change of one component."""
    rotation = torch.tensor([[changes.get(name, 0.0) for name in ("pitch", "yaw", "roll")]])
    renderer = FaceRenderer(face, PerspectiveCamera(), 64)
    still = parameters()
    return (renderer(replace(still, rotation=rotation)).landmarks - renderer(still).landmarks)[0, 30]


def test_positive_yaw_turns_the_nose_to_the_right(face: TexturedFace) -> None:
    right, down = nose_tip(face, yaw=0.3)
    assert right > 5 and down.abs() < 1


def test_positive_pitch_turns_the_nose_down(face: TexturedFace) -> None:
    right, down = nose_tip(face, pitch=0.3)
    assert down > 5 and right.abs() < 1


def test_positive_roll_turns_counter_clockwise(face: TexturedFace) -> None:
    top = face.mean_shape[:, 1].argmax()
    crowned = replace(face, landmark_indices=top.expand(68).clone())
    still = parameters()
    turned = replace(still, rotation=torch.tensor([[0.0, 0.0, 0.3]]))
    renderer = FaceRenderer(crowned, PerspectiveCamera(), 64)
    right, _ = (renderer.project_landmarks(turned) - renderer.project_landmarks(still))[0, 0]
    assert right < -5


@pytest.mark.parametrize("primitive", ["triangles", "points"])
def test_light_from_the_right_brightens_the_right(face: TexturedFace, primitive: str) -> None:
    light = directional_light(*(torch.tensor([value]) for value in (1.2, 0.0, 0.8, 0.3)))
    image = FaceRenderer(face, PerspectiveCamera(), 64, primitive)(replace(parameters(), illumination=light)).image
    assert image[0, :, :, 38:44].mean() > 1.3 * image[0, :, :, 20:26].mean()


def test_translation_follows_rotation(face: TexturedFace) -> None:
    moved = replace(parameters(), rotation=torch.tensor([[0.0, 0.0, 1.0]]), translation=torch.tensor([[0.5, 0.0, 1.0]]))
    render = FaceRenderer(face, PerspectiveCamera(), 64)(moved)
    torch.testing.assert_close(render.vertices.mean(dim=1)[0, 0], torch.tensor(0.5), atol=0.02, rtol=0)
    still = FaceRenderer(face, PerspectiveCamera(), 64)(parameters())
    torch.testing.assert_close(still.depth.min() - render.depth.min(), torch.tensor(1.0), atol=0.1, rtol=0)


@pytest.mark.parametrize("primitive", ["triangles", "points"])
@pytest.mark.parametrize("image_size", [32, (24, 40)])
def test_shapes_and_ranges(face: TexturedFace, primitive: str, image_size: int | tuple[int, int]) -> None:
    render = FaceRenderer(face, PerspectiveCamera(), image_size, primitive)(parameters(3, spread=0.5))
    height, width = (image_size, image_size) if isinstance(image_size, int) else image_size
    assert render.image.shape == (3, 3, height, width) and render.landmarks.shape == (3, 68, 2)
    assert render.image.min() >= 0 and render.image.max() <= 1
    assert set(render.mask.unique().tolist()) == {0.0, 1.0}
    assert torch.equal(render.depth.isfinite(), render.mask > 0)
    assert (render.image * (1 - render.mask) == 0).all()


def test_batches_do_not_mix(face: TexturedFace) -> None:
    renderer = FaceRenderer(face, PerspectiveCamera(), 32)
    many = parameters(3, spread=0.5)
    together = renderer(many)
    for index in range(3):
        one = Parameters(*(getattr(many, field.name)[index, None] for field in fields(many)))
        torch.testing.assert_close(renderer(one).image, together.image[index, None], atol=1e-4, rtol=0)


def test_points_agree_with_triangles() -> None:
    dense = head(rows=120)
    given = replace(parameters(2), rotation=torch.tensor([[0.1, 0.5, 0.1], [-0.2, -0.3, 0.0]]))
    light = directional_light(*torch.tensor([[1.0, -0.5], [0.3, 0.2], [0.6, 0.5], [0.4, 0.5]]))
    given = replace(given, illumination=light)
    triangles = FaceRenderer(dense, PerspectiveCamera(), 64)(given)
    points = FaceRenderer(dense, PerspectiveCamera(), 64, "points")(given)
    inside = (triangles.mask > 0).expand_as(triangles.image)
    assert (points.mask[triangles.mask > 0] == 1).all()
    assert points.mask.sum() < 1.15 * triangles.mask.sum()
    assert (points.image - triangles.image)[inside].abs().mean() < 0.01


def test_points_close_the_surface_of_a_coarse_mesh(face: TexturedFace) -> None:
    given = replace(parameters(2), rotation=torch.tensor([[0.0, 0.6, 0.0], [0.3, -0.3, 0.2]]))
    triangles = FaceRenderer(face, PerspectiveCamera(), 96)(given)
    points = FaceRenderer(face, PerspectiveCamera(), 96, "points")(given)
    assert (points.mask[triangles.mask > 0] == 1).all()
    # Nothing shines through: no depth lies behind the front surface by more than a disc's slope.
    assert (points.depth - triangles.depth)[triangles.mask > 0].max() < 0.2


@pytest.mark.parametrize("nearer", [0.0, 1.0, 3.0])
def test_points_close_the_surface_of_a_near_face(face: TexturedFace, nearer: float) -> None:
    """Perspective enlarges the gaps between vertices: up to `nearer` decimetres towards the camera at 10."""
    given = replace(
        parameters(2),
        rotation=torch.tensor([[0.0, 0.6, 0.0], [0.3, -0.3, 0.2]]),
        translation=torch.tensor([[0.0, 0.0, nearer]]).expand(2, 3),
    )
    triangles = FaceRenderer(face, PerspectiveCamera(), 96)(given)
    points = FaceRenderer(face, PerspectiveCamera(), 96, "points")(given)
    assert (points.mask[triangles.mask > 0] == 1).all()
    assert (points.depth - triangles.depth)[triangles.mask > 0].max() < 0.2
    # And no more than that: the silhouette of a far face does not grow by the discs of a near one.
    assert points.mask.sum() < 1.35 * triangles.mask.sum()


@pytest.mark.parametrize("nearer", [1.0, 2.0])
def test_points_close_the_shipped_head(nearer: float) -> None:
    coarse = procedural_model("coarse")
    given = FaceParameters.zeros(2, coarse.sizes)
    given = given.replace(
        rotation=torch.tensor([[0.0, 0.5, 0.0], [0.3, -0.5, 0.0]]),
        translation=torch.tensor([[0.0, 0.0, nearer]]).expand(2, 3),
    )
    face = coarse.region("face")
    triangles = FaceRenderer(face, PerspectiveCamera(), 128, landmark_model=coarse)(given)
    points = FaceRenderer(face, PerspectiveCamera(), 128, "points", landmark_model=coarse)(given)
    assert (points.mask[triangles.mask > 0] == 1).all()


def test_landmarks_alone_are_those_of_the_whole(face: TexturedFace) -> None:
    given = parameters(2, spread=1.0)
    renderer = FaceRenderer(face, PerspectiveCamera(), (48, 64))
    render = renderer(given)
    expected = renderer.camera.to_pixels(render.vertices[:, face.landmark_indices], (48, 64))
    torch.testing.assert_close(renderer.project_landmarks(given), expected, atol=1e-4, rtol=0)
    torch.testing.assert_close(render.landmarks, expected, atol=1e-4, rtol=0)


def test_a_region_takes_its_landmarks_from_the_whole_model(face: TexturedFace) -> None:
    region = replace(face, landmark_indices=torch.where(torch.arange(68) < 17, -1, face.landmark_indices))
    with pytest.raises(InputError, match="lacks 17"):
        FaceRenderer(region, PerspectiveCamera(), 64)
    renderer = FaceRenderer(region, PerspectiveCamera(), 64, landmark_model=face)
    whole = FaceRenderer(face, PerspectiveCamera(), 64)
    torch.testing.assert_close(renderer(parameters()).landmarks, whole.project_landmarks(parameters()))


def test_gradient_of_the_landmarks() -> None:
    renderer = FaceRenderer(head(torch.float64, rows=20), PerspectiveCamera(), 64)
    given = parameters(2, torch.float64, spread=1.0)
    names = ("identity", "expression", "rotation", "translation")
    values = [getattr(given, name).clone().requires_grad_() for name in names]

    def landmarks(*values: Tensor) -> Tensor:
        return renderer.project_landmarks(replace(given, **dict(zip(names, values, strict=True))))

    assert torch.autograd.gradcheck(landmarks, values, fast_mode=True)


@pytest.mark.parametrize("primitive", ["triangles", "points"])
@pytest.mark.parametrize("component", ["reflectance", "illumination", "rotation", "identity", "translation"])
def test_gradient_of_the_picture(primitive: str, component: str) -> None:
    """Against central differences, away from silhouettes: which pixel sees which face has no derivative."""
    renderer = FaceRenderer(head(torch.float64), PerspectiveCamera(focal_length=14.0), 16, primitive)
    given = parameters(1, torch.float64, spread=0.2, seed=3)
    weights = torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(1), dtype=torch.float64)

    def value(change: Tensor) -> Tensor:
        render = renderer(replace(given, **{component: getattr(given, component) + change}))
        assert render.mask.all()
        return (render.image * weights).sum()

    change = torch.zeros_like(getattr(given, component), requires_grad=True)
    (gradient,) = torch.autograd.grad(value(change), change)
    direction = torch.randn(change.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    step = 1e-7 * direction
    expected = (value(step) - value(-step)) / 2e-7
    torch.testing.assert_close((gradient * direction).sum(), expected, rtol=1e-4, atol=1e-5)


def test_yaw_is_recovered_from_landmarks(face: TexturedFace) -> None:
    renderer = FaceRenderer(face, PerspectiveCamera(), 64)
    target = renderer.project_landmarks(replace(parameters(), rotation=torch.tensor([[0.1, 0.5, -0.2]])))
    rotation = torch.zeros(1, 3, requires_grad=True)
    optimizer = torch.optim.Adam([rotation], lr=0.05)
    for _ in range(100):
        loss = (renderer.project_landmarks(replace(parameters(), rotation=rotation)) - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    torch.testing.assert_close(rotation.detach(), torch.tensor([[0.1, 0.5, -0.2]]), atol=0.01, rtol=0)


def test_illumination_is_recovered_from_the_picture(face: TexturedFace) -> None:
    renderer = FaceRenderer(face, PerspectiveCamera(), 32)
    light = directional_light(*(torch.tensor([value]) for value in (0.8, 0.4, 0.5, 0.4)))
    target = renderer(replace(parameters(), illumination=light))
    illumination = torch.zeros(1, 27, requires_grad=True)
    optimizer = torch.optim.Adam([illumination], lr=0.05)
    for _ in range(150):
        found = renderer(replace(parameters(), illumination=illumination))
        loss = (found.image - target.image).square().sum() / target.mask.sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 1e-4


@pytest.mark.parametrize("primitive", ["triangles", "points"])
def test_an_even_texture_is_the_mean_albedo(face: TexturedFace, primitive: str) -> None:
    renderer = FaceRenderer(face, PerspectiveCamera(), 48, primitive)
    plain = renderer(parameters(2)).image
    textured = renderer(parameters(2), torch.full((2, 3, 8, 8), 0.6), "vertex").image
    torch.testing.assert_close(textured, plain)


def test_texture_per_pixel_keeps_more_detail_than_per_vertex(face: TexturedFace) -> None:
    texture = torch.rand(1, 3, 256, 256, generator=torch.Generator().manual_seed(0))
    renderer = FaceRenderer(face, PerspectiveCamera(focal_length=10.0), 96)
    pixel = renderer(parameters(), texture).image
    vertex = renderer(parameters(), texture, "vertex").image
    even = renderer(parameters(), torch.full_like(texture, 0.6)).image
    torch.testing.assert_close(even, renderer(parameters()).image, atol=0.01, rtol=0)
    rough_pixel, rough_vertex = ((image[..., 1:] - image[..., :-1]).abs().mean() for image in (pixel, vertex))
    assert rough_pixel > 1.5 * rough_vertex


def test_texture_is_upright_and_its_gradient_reaches_the_seen_texels(face: TexturedFace) -> None:
    texture = torch.zeros(1, 3, 32, 32)
    texture[:, :, :16] = 0.9  # the upper half, v > 0.5
    texture.requires_grad_()
    image = FaceRenderer(face, PerspectiveCamera(), 64)(parameters(), texture).image
    assert image[0, :, 20].mean() > 0.05 and image[0, :, 44].max() == 0
    image.sum().backward()
    assert texture.grad is not None
    assert texture.grad[0, 0, 8, 16] > 0 and texture.grad[0, 0, 8, 0] == 0  # column 0 is the back of the head


def test_rejects_bad_input(face: TexturedFace, bfm: LinearFace) -> None:
    camera = PerspectiveCamera()
    with pytest.raises(InputError, match="image size of whole pixels"):
        FaceRenderer(face, camera, 0)
    texture = torch.zeros(1, 3, 4, 4)
    with pytest.raises(InputError, match="uv coordinates"):
        FaceRenderer(bfm, camera, 32)(parameters(), texture)
    with pytest.raises(InputError, match="per-pixel texture"):
        FaceRenderer(face, camera, 32, "points")(parameters(), texture)


def test_the_buffers_stay_out_of_checkpoints(face: TexturedFace) -> None:
    assert not FaceRenderer(face, PerspectiveCamera(), 32).state_dict()
