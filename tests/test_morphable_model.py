"""The linear face model: shapes, linearity, regions and refusals."""

import pytest
import torch

from models.morphable.model import MorphableModel, check_shapes
from renderers.errors import InputError


def parts(dtype: torch.dtype = torch.float64) -> dict:
    generator = torch.Generator().manual_seed(0)

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=dtype)

    return {
        "mean_shape": random(6, 3),
        "identity_basis": random(6, 3, 4),
        "expression_basis": random(6, 3, 2),
        "mean_albedo": torch.full((6, 3), 0.5, dtype=dtype),
        "reflectance_basis": 0.1 * random(6, 3, 3),
        "faces": torch.tensor([[0, 1, 2], [2, 1, 3], [3, 4, 5]]),
        "uv": torch.rand(6, 2, generator=generator, dtype=dtype),
        "landmark_indices": torch.tensor([0, 4]),
        "regions": {"face": torch.tensor([True, True, True, True, False, False])},
        "expression_names": ("smile", "blink"),
    }


def test_zero_coefficients_give_the_mean() -> None:
    model = MorphableModel(**parts())
    zeros = torch.zeros(2, 4, dtype=torch.float64), torch.zeros(2, 2, dtype=torch.float64)
    assert torch.equal(model.vertices(*zeros), model.mean_shape.expand(2, 6, 3))
    assert torch.equal(model.albedo(torch.zeros(1, 3, dtype=torch.float64))[0], model.mean_albedo)


@pytest.mark.parametrize("batch", [1, 4])
def test_matches_the_sum_written_out(batch: int) -> None:
    model = MorphableModel(**parts())
    identity, expression = torch.randn(batch, 4, dtype=torch.float64), torch.randn(batch, 2, dtype=torch.float64)
    expected = (
        model.mean_shape
        + torch.einsum("vci,bi->bvc", model.identity_basis, identity)
        + torch.einsum("vce,be->bvc", model.expression_basis, expression)
    )
    vertices = model.vertices(identity, expression)
    assert torch.allclose(vertices, expected)
    assert torch.equal(model.landmarks(vertices), vertices[:, [0, 4]])


def test_gradients() -> None:
    model = MorphableModel(**parts())
    identity = torch.randn(2, 4, dtype=torch.float64, requires_grad=True)
    expression = torch.randn(2, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(model.vertices, (identity, expression))
    assert torch.autograd.gradcheck(model.albedo, (torch.randn(2, 3, dtype=torch.float64, requires_grad=True),))


def test_region_is_a_submesh() -> None:
    model = MorphableModel(**parts())
    face = model.region("face")
    assert face.vertex_count == 4
    assert face.faces.tolist() == [[0, 1, 2], [2, 1, 3]]
    assert face.landmark_indices.tolist() == [0, -1]
    assert torch.equal(face.identity_basis, model.identity_basis[:4])
    assert face.sizes == model.sizes
    with pytest.raises(InputError, match="lacks 1"):
        face.landmarks(face.mean_shape[None])
    with pytest.raises(InputError, match="got 'nose'"):
        model.region("nose")


def test_tensors_round_trip() -> None:
    model = MorphableModel(**parts())
    again = MorphableModel.from_tensors(model.tensors(), model.expression_names)
    assert set(again.tensors()) == set(model.tensors())
    assert all(torch.equal(tensor, again.tensors()[name]) for name, tensor in model.tensors().items())
    assert again.region_names == ("face",)
    missing = {name: tensor for name, tensor in model.tensors().items() if name != "uv"}
    with pytest.raises(InputError, match="uv"):
        MorphableModel.from_tensors(missing, model.expression_names)


def test_stays_out_of_checkpoints_but_follows_the_dtype() -> None:
    model = MorphableModel(**parts())
    assert model.state_dict() == {}
    assert model.float().mean_shape.dtype == torch.float32
    assert model.faces.dtype == torch.int64


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("faces", torch.tensor([[0, 1, 6]]), "faces in"),
        ("faces", torch.tensor([[0, 1, -1]]), "faces in"),
        ("landmark_indices", torch.tensor([9]), "landmark_indices in"),
        ("expression_names", ("smile",), "expression names"),
        ("mean_shape", torch.full((6, 3), torch.nan, dtype=torch.float64), "finite mean_shape"),
    ],
)
def test_refuses_what_does_not_fit(name: str, value: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        MorphableModel(**(parts() | {name: value}))


# The check itself is called, since the shapes in signatures, which are verified under pytest, come before it.
@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("mean_shape", (6,), r"mean_shape of shape \(6, 3\), got \(6,\)"),
        ("mean_shape", (), r"mean_shape"),
        ("mean_shape", (5, 3), r"identity_basis of shape \(5, 3, n\), got \(6, 3, 4\)"),
        ("identity_basis", (6, 2, 4), r"identity_basis of shape \(6, 3, n\)"),
        ("expression_basis", (6, 3), "expression_basis"),
        ("reflectance_basis", (18, 3), "reflectance_basis"),
        ("mean_albedo", (6, 4), "mean_albedo"),
        ("faces", (3, 4), r"faces of shape \(n, 3\), got \(3, 4\)"),
        ("uv", (6, 3), r"uv of shape \(6, 2\)"),
        ("landmark_indices", (2, 1), "landmark_indices"),
    ],
)
def test_refuses_other_shapes(name: str, shape: tuple[int, ...], message: str) -> None:
    tensors = MorphableModel(**parts()).tensors()
    check_shapes(tensors)
    with pytest.raises(InputError, match=message) as error:
        check_shapes(tensors | {name: torch.zeros(shape)})
    assert "\n" not in str(error.value)


def test_refuses_wrong_coefficient_widths() -> None:
    model = MorphableModel(**parts())
    with pytest.raises(InputError, match=r"\(batch, 4\)"):
        model.vertices(torch.zeros(1, 5, dtype=torch.float64), torch.zeros(1, 2, dtype=torch.float64))
