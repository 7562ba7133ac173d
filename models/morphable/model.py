"""Linear 3D morphable face model: shape and albedo as mean plus basis times coefficients (Blanz & Vetter 1999)."""

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from models.morphable.parameters import ParameterSizes
from renderers.errors import InputError

_REGION_PREFIX = "region_"


class MorphableModel(nn.Module):
    """A mesh whose vertices and colours are linear in identity, expression and reflectance coefficients.

    Lengths are decimetres, albedo is linear RGB in [0, 1] for the mean (combinations may leave the range slightly;
    `albedo` does not clamp, so that gradients survive). All tensors are non-persistent buffers: they follow `.to()`
    but stay out of checkpoints of whatever module holds the model.

    Args:
        mean_shape: vertices of the mean face (V, 3).
        identity_basis: (V, 3, I), per standard deviation.
        expression_basis: (V, 3, E), per unit coefficient (the full shape where expressions are named shapes).
        mean_albedo: (V, 3).
        reflectance_basis: (V, 3, R), per standard deviation.
        faces: (F, 3) vertex indices, counter-clockwise seen from outside.
        uv: (V, 2) texture coordinates in [0, 1], u right and v up in the texture.
        landmark_indices: vertex of each of the landmarks, (68) for the usual set; -1 where a submesh lacks one.
        regions: named vertex masks (V).
        expression_names: name of each expression coefficient, E of them.

    Raises:
        InputError: shapes that do not fit, indices out of range, values that are not finite.
    """

    mean_shape: Tensor
    identity_basis: Tensor
    expression_basis: Tensor
    mean_albedo: Tensor
    reflectance_basis: Tensor
    faces: Tensor
    uv: Tensor
    landmark_indices: Tensor

    def __init__(
        self,
        *,
        mean_shape: Float[Tensor, "vertices 3"],
        identity_basis: Float[Tensor, "vertices 3 identity"],
        expression_basis: Float[Tensor, "vertices 3 expression"],
        mean_albedo: Float[Tensor, "vertices 3"],
        reflectance_basis: Float[Tensor, "vertices 3 reflectance"],
        faces: Int[Tensor, "faces 3"],
        uv: Float[Tensor, "vertices 2"],
        landmark_indices: Int[Tensor, " landmarks"],
        regions: Mapping[str, Bool[Tensor, " vertices"]],
        expression_names: Sequence[str],
    ) -> None:
        super().__init__()
        tensors = {
            "mean_shape": mean_shape,
            "identity_basis": identity_basis,
            "expression_basis": expression_basis,
            "mean_albedo": mean_albedo,
            "reflectance_basis": reflectance_basis,
            "uv": uv,
        }
        check_shapes({**tensors, "faces": faces, "landmark_indices": landmark_indices})
        count = mean_shape.shape[0]
        for name, tensor in tensors.items():
            if not bool(torch.isfinite(tensor).all()):
                raise InputError(f"expected finite {name}, got NaN or infinite values; check the file it came from")
        _check_indices("faces", faces, count, lowest=0)
        _check_indices("landmark_indices", landmark_indices, count, lowest=-1)
        if len(expression_names) != expression_basis.shape[2]:
            raise InputError(
                f"expected {expression_basis.shape[2]} expression names, got {len(expression_names)}; name every column"
            )
        for name, tensor in tensors.items():
            self.register_buffer(name, tensor, persistent=False)
        self.register_buffer("faces", faces.to(torch.int64), persistent=False)
        self.register_buffer("landmark_indices", landmark_indices.to(torch.int64), persistent=False)
        self.expression_names = tuple(expression_names)
        self.region_names = tuple(regions)
        for name, mask in regions.items():
            if mask.shape != (count,):
                raise InputError(f"expected region {name} of shape ({count},), got {tuple(mask.shape)}; check the mask")
            self.register_buffer(_REGION_PREFIX + name, mask, persistent=False)

    @property
    def regions(self) -> dict[str, Tensor]:
        """Boolean vertex masks (V) by name."""
        return {name: getattr(self, _REGION_PREFIX + name) for name in self.region_names}

    @property
    def sizes(self) -> ParameterSizes:
        return ParameterSizes(
            self.identity_basis.shape[2], self.expression_basis.shape[2], self.reflectance_basis.shape[2]
        )

    @property
    def vertex_count(self) -> int:
        return self.mean_shape.shape[0]

    def vertices(
        self, identity: Float[Tensor, "batch identity"], expression: Float[Tensor, "batch expression"]
    ) -> Float[Tensor, "batch vertices 3"]:
        """Vertices in the object frame, decimetres."""
        _check_width("identity", identity, self.sizes.identity)
        _check_width("expression", expression, self.sizes.expression)
        offset = identity @ self.identity_basis.flatten(0, 1).T + expression @ self.expression_basis.flatten(0, 1).T
        return self.mean_shape + offset.unflatten(1, (-1, 3))

    def albedo(self, reflectance: Float[Tensor, "batch reflectance"]) -> Float[Tensor, "batch vertices 3"]:
        """Vertex albedo, RGB about [0, 1], not clamped."""
        _check_width("reflectance", reflectance, self.sizes.reflectance)
        return self.mean_albedo + (reflectance @ self.reflectance_basis.flatten(0, 1).T).unflatten(1, (-1, 3))

    def landmarks(self, vertices: Float[Tensor, "batch vertices 3"]) -> Float[Tensor, "batch landmarks 3"]:
        """The landmark vertices, in the frame of `vertices`."""
        if bool((self.landmark_indices < 0).any()):
            missing = int((self.landmark_indices < 0).sum())
            raise InputError(f"expected a mesh with all landmarks, got one that lacks {missing}; use the whole model")
        return vertices[:, self.landmark_indices]

    def region(self, name: str) -> "MorphableModel":
        """The submesh of a region: its vertices and the faces that lie wholly in it; landmarks outside become -1."""
        if name not in self.region_names:
            raise InputError(f"expected a region among {', '.join(self.region_names)}, got '{name}'; rename it")
        keep = self.regions[name]
        index = torch.full((self.vertex_count,), -1, dtype=torch.int64, device=keep.device)
        index[keep] = torch.arange(int(keep.sum()), device=keep.device)
        faces = index[self.faces]
        landmarks = torch.where(self.landmark_indices < 0, -1, index[self.landmark_indices.clamp_min(0)])
        return MorphableModel(
            mean_shape=self.mean_shape[keep],
            identity_basis=self.identity_basis[keep],
            expression_basis=self.expression_basis[keep],
            mean_albedo=self.mean_albedo[keep],
            reflectance_basis=self.reflectance_basis[keep],
            faces=faces[(faces >= 0).all(dim=1)],
            uv=self.uv[keep],
            landmark_indices=landmarks,
            regions={other: mask[keep] for other, mask in self.regions.items()},
            expression_names=self.expression_names,
        )

    def tensors(self) -> dict[str, Tensor]:
        """Every tensor by name, regions with the prefix `region_`; `from_tensors` takes them back."""
        return dict(self.named_buffers())

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], expression_names: Sequence[str]) -> "MorphableModel":
        """Rebuild a model from `tensors()`."""
        regions = {n.removeprefix(_REGION_PREFIX): t for n, t in tensors.items() if n.startswith(_REGION_PREFIX)}
        plain = {n: t for n, t in tensors.items() if not n.startswith(_REGION_PREFIX)}
        required = set(cls.__annotations__)
        if set(plain) != required:
            raise InputError(
                f"expected the tensors {', '.join(sorted(required))}, got {', '.join(sorted(plain))}; "
                "give a file written from a face model"
            )
        return cls(
            mean_shape=plain["mean_shape"],
            identity_basis=plain["identity_basis"],
            expression_basis=plain["expression_basis"],
            mean_albedo=plain["mean_albedo"],
            reflectance_basis=plain["reflectance_basis"],
            faces=plain["faces"],
            uv=plain["uv"],
            landmark_indices=plain["landmark_indices"],
            regions=regions,
            expression_names=expression_names,
        )


def check_shapes(tensors: Mapping[str, Tensor]) -> None:
    """Raise InputError unless the tensors of a model, by name, have the shapes that `MorphableModel` asks for."""
    count = tensors["mean_shape"].shape[0] if tensors["mean_shape"].ndim else 0
    # None stands for any size.
    wanted: dict[str, tuple[int | None, ...]] = {
        "mean_shape": (count, 3),
        "identity_basis": (count, 3, None),
        "expression_basis": (count, 3, None),
        "mean_albedo": (count, 3),
        "reflectance_basis": (count, 3, None),
        "faces": (None, 3),
        "uv": (count, 2),
        "landmark_indices": (None,),
    }
    for name, shape in wanted.items():
        given = tuple(tensors[name].shape)
        if len(given) != len(shape) or any(size not in (None, got) for size, got in zip(shape, given, strict=True)):
            described = ", ".join("n" if size is None else str(size) for size in shape)
            raise InputError(f"expected {name} of shape ({described}), got {given}; check the mesh")


def _check_indices(name: str, indices: Tensor, count: int, lowest: int) -> None:
    if indices.numel() and (int(indices.min()) < lowest or int(indices.max()) >= count):
        raise InputError(
            f"expected {name} in [{lowest}, {count - 1}], got [{int(indices.min())}, {int(indices.max())}]; "
            "check the mesh"
        )


def _check_width(name: str, coefficients: Tensor, width: int) -> None:
    if coefficients.ndim != 2 or coefficients.shape[1] != width:
        raise InputError(
            f"expected {name} coefficients of shape (batch, {width}), got {tuple(coefficients.shape)}; "
            "use the sizes of this face model"
        )
