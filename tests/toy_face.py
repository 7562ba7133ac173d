"""A face model of a few hundred vertices, for tests."""

import torch

from models.morphable import FaceParameters, MorphableModel, ParameterSizes

SIZES = ParameterSizes(identity=3, expression=2, reflectance=2)


def toy_face_model(rows: int = 14, columns: int = 12, seed: int = 0) -> MorphableModel:
    """The front of an ellipsoid about 2 high, with smooth random bases and 68 landmarks spread over it."""
    rng = torch.Generator().manual_seed(seed)
    v, u = torch.meshgrid(torch.linspace(-1, 1, rows), torch.linspace(-1, 1, columns), indexing="ij")
    x, y = 0.75 * torch.sin(u * 1.3), torch.sin(v * 1.4) * (1 - 0.1 * u**2)
    z = 0.8 * torch.cos(u * 1.3) * torch.cos(v * 1.1) + 0.35 * torch.exp(-8 * (u**2 + v**2))
    shape = torch.stack([x, y, z], dim=2).reshape(-1, 3)
    index = torch.arange(rows * columns).reshape(rows, columns)
    a, b, c, d = (part.flatten() for part in (index[:-1, :-1], index[:-1, 1:], index[1:, :-1], index[1:, 1:]))
    faces = torch.cat([torch.stack([a, b, d], dim=1), torch.stack([a, d, c], dim=1)])

    def basis(number: int, scale: float) -> torch.Tensor:
        waves = torch.stack([torch.sin(u * i + v * j + i) for i in (1, 2) for j in (-1, 1)], dim=2).reshape(-1, 4)
        return scale * (waves @ torch.randn(4, 3 * number, generator=rng)).reshape(-1, 3, number)

    landmarks = torch.linspace(0, rows * columns - 1, 68).long()
    colour = 0.5 + 0.25 * torch.stack([torch.sin(5 * u), torch.cos(4 * v), torch.sin(3 * u * v)], dim=2).reshape(-1, 3)
    return MorphableModel(
        mean_shape=shape,
        identity_basis=basis(SIZES.identity, 0.03),
        expression_basis=basis(SIZES.expression, 0.03),
        mean_albedo=colour,
        reflectance_basis=basis(SIZES.reflectance, 0.02),
        faces=faces,
        uv=torch.stack([(u + 1) / 2, (v + 1) / 2], dim=2).reshape(-1, 2),
        landmark_indices=landmarks,
        regions={"face": torch.ones(rows * columns, dtype=torch.bool)},
        expression_names=["first", "second"],
    )


def toy_parameters(batch: int, seed: int = 0, spread: float = 1.0) -> FaceParameters:
    """Random faces in plausible poses."""
    rng = torch.Generator().manual_seed(seed)
    scales = {
        "identity": 1.0,
        "expression": 1.0,
        "reflectance": 1.0,
        "rotation": 0.25,
        "illumination": 0.1,
        "translation": 0.1,
    }
    return FaceParameters(
        **{
            name: spread * scale * torch.randn(batch, getattr(SIZES, name), generator=rng)
            for name, scale in scales.items()
        }
    )
