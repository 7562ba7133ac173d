"""Eyes and mouth of a face model's region closed by patches, for faces whose colours come from a map of the whole face."""

import torch
from jaxtyping import Int64
from torch import Tensor

from models.morphable.model import MorphableModel
from renderers.displacement import coincident_vertices

# Rings of a patch between its rim and its middle; enough for a map to shape it, few enough to stay below the mesh's own density.
_RINGS = 2


def close_holes(model: MorphableModel) -> MorphableModel:
    """The same mesh with every hole closed by a patch; the outline, its longest rim, stays open.

    A patch is spanned by its rim: each of its vertices is a fixed mean of rim vertices in shape, bases, albedo and texture
    coordinates alike, so that it moves with lids and lips. Patches belong to no region.

    Models cut from scans, as the Basel model, hold eyes and mouth as part of their skin; those made of several meshes leave
    holes where eyeballs and teeth would be.

    Args:
        model: Usually a region. Vertices of a texture seam count as one; where a rim crosses a seam, its patch takes the texture
            coordinates of the first of them.

    Returns:
        The model itself if it has no holes.
    """
    welded = coincident_vertices(model.mean_shape, model.identity_basis, model.expression_basis)
    rims = boundary_loops(welded[model.faces])
    if len(rims) < 2:
        return model
    lengths = [_length(model.mean_shape[rim]) for rim in rims]
    outline = lengths.index(max(lengths))
    tensors = model.tensors()
    own = {name: [value] for name, value in tensors.items() if name not in ("faces", "landmark_indices")}
    faces, count = [model.faces], model.vertex_count
    for rim in (rim for index, rim in enumerate(rims) if index != outline):
        weights, patch = _patch(len(rim))
        weights = weights.to(model.mean_shape)
        for parts in own.values():
            rows = parts[0][rim]
            if rows.dtype == torch.bool:
                parts.append(rows.new_zeros(len(weights)))
            else:
                parts.append((weights @ rows.flatten(1)).unflatten(1, rows.shape[1:]))
        places = torch.cat([rim, torch.arange(count, count + len(weights), device=rim.device)])
        faces.append(places[patch.to(rim.device)])
        count += len(weights)
    closed = {name: torch.cat(parts) for name, parts in own.items()}
    closed |= {"faces": torch.cat(faces), "landmark_indices": tensors["landmark_indices"]}
    return MorphableModel.from_tensors(closed, model.expression_names)


def boundary_loops(faces: Int64[Tensor, "faces 3"]) -> list[Int64[Tensor, " rim"]]:
    """The rims of a mesh: vertices in the order in which the faces beside them run; each rim once.

    Args:
        faces: (F, 3), oriented alike. Where rims touch in a vertex they come apart there or as one, in no promised way.
    """
    edges = torch.cat([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]).tolist()
    directed = {(start, end) for start, end in edges}
    after: dict[int, list[int]] = {}
    for start, end in edges:
        if (end, start) not in directed:
            after.setdefault(start, []).append(end)
    rims = []
    while after:
        first = next(iter(after))
        rim = [first]
        while rim[-1] in after:
            ends = after[rim[-1]]
            following = ends.pop()
            if not ends:
                del after[rim[-1]]
            if following == first:
                break
            rim.append(following)
        rims.append(torch.tensor(rim, dtype=torch.int64, device=faces.device))
    return rims


def _length(points: Tensor) -> float:
    return float((points - points.roll(1, dims=0)).norm(dim=1).sum())


def _patch(rim: int) -> tuple[Tensor, Tensor]:
    """Weights (P, rim) of a patch's own vertices over its rim, and its faces over rim and own vertices, in that order."""
    ring = torch.eye(rim)
    middle = torch.full((1, rim), 1 / rim)
    inner = [ring.lerp(middle.expand(rim, -1), (k + 1) / (_RINGS + 1)) for k in range(_RINGS)]
    here = torch.arange(rim)
    beside = here.roll(-1)
    faces = []
    for k in range(_RINGS):
        outer, within = k * rim, (k + 1) * rim
        # Against the rim's own direction: neighbouring faces run along a shared edge to opposite sides.
        faces.append(torch.stack([outer + beside, outer + here, within + here], dim=1))
        faces.append(torch.stack([outer + beside, within + here, within + beside], dim=1))
    last = _RINGS * rim
    faces.append(torch.stack([last + beside, last + here, torch.full((rim,), last + rim)], dim=1))
    return torch.cat([*inner, middle]), torch.cat(faces)
