"""Faces turned in yaw and pitch by the mesh and by M (Fig. 3, 4 and 12 to 15 of LiftedGAN), and what a judge reads of them."""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from evaluation.figures import Cell, Figure
from evaluation.lifted_gan.controls import rotated_view
from evaluation.lifted_gan.published import PITCHES_DEG, YAWS_DEG
from evaluation.lifted_gan.side_view import side_view
from evaluation.lifted_gan.stills import cell_size
from evaluation.lifted_gan.turning import MANIPULATED, RENDERED
from evaluation.lifted_gan.under_test import LiftedUnderTest
from evaluation.lifted_gan.views import LiftedCodes
from evaluation.report import picture_grid, to_picture
from lightning_modules.image_error import masked_psnr
from models.lifted_gan import pose_of_view
from renderers.images import to_unit

PAIRS, ROTATION = "lifted_gan_manipulated_and_rendered", "lifted_gan_rotation"
TURNS = {"yaw": "lifted_gan_yaw", "pitch": "lifted_gan_pitch"}
TURN_COLUMNS = (
    "method",
    "asked_deg",
    "faces",
    "read_deg",
    "read_spread_deg",
    "error_deg",
    "similarity_to_picture",
)
# Yaw and pitch of Fig. 3's columns, within what faces are perturbed by in training; the paper's are random.
_PERTURBED_DEG = ((-40.0, 0.0), (-25.0, 8.0), (-10.0, -8.0), (10.0, 8.0), (25.0, -8.0), (40.0, 0.0))
_FIG_4_YAWS_DEG = (-60.0, -40.0, -20.0, 0.0, 20.0, 40.0, 60.0)
_ANGLES = {"yaw": (1, YAWS_DEG, "Fig. 12 and 14, our rows"), "pitch": (0, PITCHES_DEG, "Fig. 13 and 15, our rows")}


@torch.no_grad()
def pairs_figure(tested: LiftedUnderTest, people: int, shown: int) -> Figure:
    """Fig. 3: for each face and view what the 2D generator makes of M's code, above the mesh in that view.

    Args:
        tested: The lifted generator.
        people: Unseen codes that numbers are over.
        shown: Faces in the picture.
    """
    model, size = tested.model, cell_size(tested.size)
    agreement: list[list[Tensor]] = [[] for _ in _PERTURBED_DEG]
    rows: list[list[Image.Image | None]] = []
    for codes in tested.batches(people):
        lifted = tested.views.read(codes)
        drawn = [_both(tested, lifted, {1: yaw, 0: pitch}) for yaw, pitch in _PERTURBED_DEG]
        for found, (picture, render, mask) in zip(agreement, drawn, strict=True):
            found.append(masked_psnr(to_unit(render), to_unit(picture), mask))
        for face in range(min(len(codes), shown) if not rows else 0):
            for kind in (0, 1):
                first = lifted.pictures[face] if kind == 0 else model.render(lifted.output).image[face].clamp(-1, 1)
                rows.append([to_picture(first, size), *(to_picture(each[kind][face], size) for each in drawn)])
    labels = ["own", *(f"{yaw:+g}, {pitch:+g}" for yaw, pitch in _PERTURBED_DEG)]
    table: list[tuple[Cell, ...]] = [
        (yaw, pitch, people, float(torch.cat(found).mean()))
        for (yaw, pitch), found in zip(_PERTURBED_DEG, agreement, strict=True)
    ]
    return Figure(
        PAIRS,
        "Pictures of M's codes, which supervise the views, and renders (Fig. 3)",
        f"Above: the 2D generator's picture of the code and of M's codes; below: the mesh. Columns: yaw and pitch in degrees. PSNR of one "
        f"against the other where the mesh is seen, mean of {people} unseen codes.",
        ("yaw_deg", "pitch_deg", "faces", "psnr_db"),
        tuple(table),
        picture_grid(rows, ["M", "3D"] * (len(rows) // 2), labels),
    )


@torch.no_grad()
def rotation_figure(tested: LiftedUnderTest, shown: int) -> Figure:
    """Fig. 4: M, the mesh, and the mesh as it turns seen from the side, with the transformation map and without.

    Args:
        tested: The lifted generator.
        shown: Faces.
    """
    model, size = tested.model, cell_size(tested.size)
    lifted = tested.views.read(tested.unseen_codes(shown))
    output, moving = lifted.output, torch.ones_like(lifted.output.transformation)
    columns: list[list[Tensor]] = []
    rows: list[tuple[Cell, ...]] = []
    for yaw in _FIG_4_YAWS_DEG:
        picture, render, _ = _both(tested, lifted, {1: yaw})
        view = _view(tested, lifted, {1: yaw})
        with_map, border = side_view(model, output, view, output.transformation)
        without, free = side_view(model, output, view, moving)
        columns.append([picture, render, with_map, without])
        for face in range(shown):
            rows.append((face, yaw, float(border[face]), float(free[face])))
    names = [MANIPULATED, RENDERED, "side view", "side, T = 1"]
    cells: list[list[Image.Image | None]] = [
        [to_picture(column[kind][face], size) for column in columns]
        for face in range(shown)
        for kind in range(len(names))
    ]
    return Figure(
        ROTATION,
        "Rotation of faces (Fig. 4)",
        "For each face: pictures of M's codes, renders, and the turning mesh from a camera at its side, first moved as far as the "
        "transformation map lets it, then as a whole. Numbers: how far the outermost pixels move, as a part of the picture's width at the "
        "pivot, with the map and without.",
        ("face", "yaw_deg", "border_moves", "border_moves_without_map"),
        tuple(rows),
        picture_grid(cells, names * shown, [f"{yaw:+g}" if yaw else "0" for yaw in _FIG_4_YAWS_DEG]),
    )


@torch.no_grad()
def turns_figure(tested: LiftedUnderTest, angle: str, people: int, shown: int) -> Figure:
    """Our rows of Fig. 12 and 14 (yaw) or 13 and 15 (pitch), with what was reached and who is left.

    Args:
        tested: The lifted generator.
        angle: "yaw" or "pitch".
        people: Unseen codes that numbers are over.
        shown: Faces in the picture.
    """
    place, asked, figure = _ANGLES[angle]
    size = cell_size(tested.size)
    read: dict[str, list[list[Tensor]]] = {name: [[] for _ in asked] for name in (MANIPULATED, RENDERED)}
    alike: dict[str, list[list[Tensor]]] = {name: [[] for _ in asked] for name in read}
    rows: list[list[Image.Image | None]] = []
    for codes in tested.batches(people):
        lifted = tested.views.read(codes)
        own = tested.embedder(lifted.pictures)
        drawn = [_both(tested, lifted, {place: degrees})[:2] for degrees in asked]
        for column, images in enumerate(drawn):
            for name, image in zip(read, images, strict=True):
                alike[name][column].append((tested.embedder(image) * own).sum(dim=1))
                if tested.judge is not None:
                    read[name][column].append(tested.judge(image).rotation[:, place].rad2deg())
        for face in range(min(len(codes), shown) if not rows else 0):
            rows += [[to_picture(images[kind][face], size) for images in drawn] for kind in (0, 1)]
    table = [
        _turn_row(name, degrees, read[name][column], alike[name][column])
        for name in read
        for column, degrees in enumerate(asked)
    ]
    reader = "the judge's readings with their spread and mean absolute error, and " if tested.judge is not None else ""
    return Figure(
        TURNS[angle],
        f"{angle.capitalize()} from one side to the other ({figure})",
        f"For each face the 2D generator's pictures of M's codes, below them renders, at the same absolute {angle}s. Numbers over {people} "
        f"unseen codes: {reader}cosines of identity vectors with the face's own picture. Identity is "
        f"read by {type(tested.embedder).__name__}, which L_idt trains against where it is the training's.",
        TURN_COLUMNS,
        tuple(table),
        picture_grid(rows, ["M", "3D"] * (len(rows) // 2), [f"{degrees:+g}" if degrees else "0" for degrees in asked]),
    )


def _turn_row(name: str, degrees: float, read: Sequence[Tensor], alike: Sequence[Tensor]) -> tuple[Cell, ...]:
    similarity = torch.cat(list(alike))
    if not read:
        return (name, degrees, len(similarity), math.nan, math.nan, math.nan, float(similarity.mean()))
    angles = torch.cat(list(read))
    spread = float(angles.std()) if len(angles) > 1 else math.nan
    error = float((angles - degrees).abs().mean())
    return (name, degrees, len(angles), float(angles.mean()), spread, error, float(similarity.mean()))


def _view(tested: LiftedUnderTest, lifted: LiftedCodes, degrees: dict[int, float]) -> Float[Tensor, "batch 6"]:
    """Views at angles by their places in the rotation; else the faces' own."""
    settings = tested.model.settings
    rotation = pose_of_view(lifted.output.view, settings).rotation.clone()
    for place, value in degrees.items():
        rotation[:, place] = math.radians(value)
    return rotated_view(lifted.output.view, settings, rotation)


def _both(
    tested: LiftedUnderTest, lifted: LiftedCodes, degrees: dict[int, float]
) -> tuple[Float[Tensor, "batch 3 size size"], Float[Tensor, "batch 3 size size"], Float[Tensor, "batch 1 size size"]]:
    """Pictures of M's codes and renders in a view, both in [-1, 1], and where the mesh is seen."""
    model, output = tested.model, lifted.output
    view = _view(tested, lifted, degrees)
    picture = model.picture(model.manipulate(lifted.codes, view, output.light)).clamp(-1, 1)
    render = model.render(output, view, output.light)
    return picture, render.image.clamp(-1, 1), render.mask
