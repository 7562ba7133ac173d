"""Files of single faces that ``lightning lift`` writes: sheets, the table, maps, meshes and styles."""

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from commands.lift_files import SHEET, STYLE, MeshFormat, write_maps, write_mesh, write_table
from evaluation.lifted_gan.stills import Stills, cell_size
from evaluation.lifted_gan.style import style_sheet
from evaluation.lifted_gan.subjects import LiftSubjects
from evaluation.lifted_gan.views import LiftedViews
from evaluation.moving_views import thumbnail
from evaluation.report import picture_grid
from models.lifted_gan.meshes import MeshPart, lifted_mesh

_SHEET_CODES = 16
_STYLES = 8


@dataclass(frozen=True)
class CodeFiles:
    """What is written of each code.

    Attributes:
        folder: Where to.
        ends: All endings, for the table.
        maps: Whether its maps are.
        mesh: Format of its mesh.
        mesh_part: As of `lifted_mesh`.
        posed: Whether meshes have the view that is asked, or the code's own.
    """

    folder: Path
    ends: tuple[str, ...]
    maps: bool
    mesh: MeshFormat
    mesh_part: MeshPart
    posed: bool


def draw_codes(views: LiftedViews, subjects: LiftSubjects, stills: Stills, files: CodeFiles, batch_size: int) -> None:
    """NAME.png of each code with its maps and mesh, the sheet of the first, and the table."""
    columns: defaultdict[str, list[float]] = defaultdict(list)
    for part in subjects.w.split(batch_size):
        for column, values in views.readings(views.read(part)).items():
            columns[column] += values.tolist()
    # First, so that a later call knows these files wherever this one is interrupted.
    write_table(files.folder, subjects.names, columns, files.ends)
    sheet: list[list[Image.Image | None]] = []
    labels: list[str] = []
    for start in range(0, len(subjects), batch_size):
        batch = slice(start, start + batch_size)
        names, lifted = subjects.names[batch], views.read(subjects.w[batch])
        portraits = None if subjects.portraits is None else subjects.portraits[batch].to(lifted.codes.device)
        for name, picture in zip(names, stills.draw(views, lifted, portraits), strict=True):
            picture.save(files.folder / f"{name}.png")
        if len(sheet) < _SHEET_CODES:
            labels, rows = stills.parts(views, lifted, portraits)
            sheet += [[None if each is None else thumbnail(each) for each in row] for row in rows]
        if files.maps:
            write_maps(files.folder, names, views, lifted)
        if files.mesh != "none":
            asked, _ = views.asked(lifted, stills.sliders)
            for row, name in enumerate(names):
                view = asked[row : row + 1] if files.posed else None
                mesh = lifted_mesh(views.model, lifted.output, row, name, files.mesh_part, view)
                write_mesh(files.folder, mesh, files.mesh)
    shown = sheet[:_SHEET_CODES]
    picture_grid(shown, subjects.names[: len(shown)], labels).save(files.folder / SHEET)


def draw_styles(
    views: LiftedViews, subjects: LiftSubjects, styles: LiftSubjects, stills: Stills, first: int | None, folder: Path
) -> None:
    """NAME.style.png of each code: the face from all sides in the styles of the first codes of `styles`."""
    steps = stills.steps.get("yaw", [("own yaw", ())])
    given = views.read(styles.w[:_STYLES])
    size = cell_size(views.model.generator.resolution)
    for row, name in enumerate(subjects.names):
        lifted = views.read(subjects.w[row : row + 1])
        labels, asked = zip(*steps, strict=True)
        picture = style_sheet(
            views,
            lifted,
            given,
            styles.w_plus[:_STYLES],
            styles.names[:_STYLES],
            asked,
            labels,
            stills.sliders,
            first,
            size,
        )
        picture.save(folder / f"{name}{STYLE}")
