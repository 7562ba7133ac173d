"""How large an edit is, and means over edits of about the same size (StyleRig, supplement, section 2)."""

from collections.abc import Mapping
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from evaluation.figures import Cell
from models.morphable import FaceParameters
from renderers.errors import InputError
from renderers.protocols import FaceModel
from renderers.rotation import rotation_distance

EDIT_SIZE_UNITS = {
    "rotation": "rotation, degrees",
    "expression": "deformation, decimetres (root mean square over vertices)",
    "identity": "deformation, decimetres (root mean square over vertices)",
    "illumination": "l2 of SH coefficients",
}


def edit_size(
    component: str, own: FaceParameters, requested: FaceParameters, face_model: FaceModel
) -> Float[Tensor, " batch"]:
    """How far a component is to be moved.

    Rotation: the angle of the one rotation between both (axis-angle magnitude), in degrees. Expression, and identity likewise: l2
    difference of the mesh's deformations; the root mean square over vertices, so that it does not grow with their number, in the
    unit of the face model (decimetres). Illumination, for which the supplement plots none: l2 difference of the coefficients.

    Args:
        component: rotation, expression, illumination or identity.
        own: Of the codes that are edited.
        requested: Of those that the component is taken from.
        face_model: Mesh whose vertices count.
    """
    if component == "rotation":
        return rotation_distance(own.rotation, requested.rotation).rad2deg()
    difference: Tensor = getattr(requested, component) - getattr(own, component)
    if component == "illumination":
        return difference.norm(dim=1)
    basis = {"expression": face_model.expression_basis, "identity": face_model.identity_basis}[component]
    # |B d|^2 = d' (B' B) d: the deformations of many edits of a fine mesh would not fit into memory.
    flat = basis.flatten(0, 1)
    squared = torch.einsum("bi,ij,bj->b", difference, flat.T @ flat, difference)
    return (squared.clamp_min(0) / len(basis)).sqrt()


class Bins:
    """Edits in bins of equally many (to within one), from the smallest to the largest.

    Args:
        sizes: Of the edits.
        count: Number of bins.

    Raises:
        InputError: for fewer than 2 edits per bin.
    """

    COLUMNS: ClassVar[tuple[str, ...]] = ("bin", "edits", "size_from", "size_to", "size_mean")

    def __init__(self, sizes: Float[Tensor, " edits"], count: int) -> None:
        if count < 1 or len(sizes) < 2 * count:
            raise InputError(
                f"expected at least 2 edits for each bin, got {len(sizes)} for {count}; ask for more edits or fewer bins"
            )
        self._sizes = sizes
        self._members = sizes.argsort(stable=True).tensor_split(count)

    def mean(self, values: Float[Tensor, " edits"]) -> list[float]:
        """Mean of each bin."""
        return [float(values[members].mean()) for members in self._members]

    def standard_error(self, values: Float[Tensor, " edits"]) -> list[float]:
        """Standard error of each bin's mean."""
        return [float(values[members].std() / len(members) ** 0.5) for members in self._members]

    def band(self, values: Float[Tensor, " edits"]) -> tuple[list[float], list[float]]:
        """Lower and upper ends of one standard error about each bin's mean."""
        pairs = list(zip(self.mean(values), self.standard_error(values), strict=True))
        return [mean - error for mean, error in pairs], [mean + error for mean, error in pairs]

    def rows(self, columns: Mapping[str, list[float]]) -> tuple[tuple[Cell, ...], ...]:
        """A table's rows: the cells under `COLUMNS`, where bins count from 1, and then one number of each further column."""
        rows: list[tuple[Cell, ...]] = []
        for index, members in enumerate(self._members):
            sizes = self._sizes[members]
            limits = (float(sizes.min()), float(sizes.max()), float(sizes.mean()))
            rows.append((index + 1, len(sizes), *limits, *(values[index] for values in columns.values())))
        return tuple(rows)
