"""``lightning views``: detailed faces of codes from all sides, with other expressions and in other light, as pictures and videos."""

import csv
import io
from pathlib import Path
from typing import Literal

from PIL import Image

from commands.devices import choose_device, repeatable_convolutions
from commands.edit_options import slider_sweeps, sliders_of
from commands.views_files import SHEET, SWEEP, TABLE, TURNTABLE, earlier_files
from commands.warning_filters import warnings_as_lines
from evaluation.edit_subjects import load_subjects
from evaluation.edit_sweep import sweep_steps
from evaluation.moving_views import thumbnail, turntable
from evaluation.report import picture_grid, write_text
from evaluation.stylefaceuv.views import DetailedViews, ViewedCodes, ViewGrid, view_frames
from evaluation.video import check_gif_rate, video_codec, write_video
from models.latent_codes import LatentCodes
from models.stylefaceuv import StepSize
from models.stylefaceuv.loading import load_yaw_step
from models.stylefaceuv.opening import DetailedFaces, open_detailed_faces
from models.stylegan2.digest import generator_digest
from models.stylegan2.sampling import codes_of_seeds, parse_seeds
from models.stylerig.sliders import FIXED_SLIDERS, read_slider, unit_of
from renderers.errors import InputError

_SHEET_CODES = 16


def views(
    output: Path,
    codes: Path | None = None,
    seeds: str | None = None,
    uv_generator: Path = Path("assets/demo_uv_generator.safetensors"),
    names: tuple[str, ...] = (),
    yaws_deg: tuple[float, ...] = (-60.0, -30.0, -15.0, 0.0, 15.0, 30.0, 60.0),
    pitches_deg: tuple[float, ...] = (),
    expression: tuple[str, ...] = (),
    expression_by: tuple[str, ...] = (),
    light: tuple[str, ...] = (),
    light_by: tuple[str, ...] = (),
    identity: tuple[str, ...] = (),
    identity_by: tuple[str, ...] = (),
    turntable_deg: float | None = None,
    turntable_frames: int = 72,
    sweep: tuple[str, ...] = (),
    there_and_back: bool = False,
    video_codes: int = 16,
    fps: float = 25.0,
    step_size: Path | None = None,
    background: Literal["auto", "own", "none"] = "auto",
    seam: Literal["soft", "hard"] = "soft",
    image_size: int | None = None,
    truncation: float = 1.0,
    noise: Literal["const", "none"] = "const",
    generator: Path | None = None,
    coefficients: Path | None = None,
    face_model: str | None = None,
    batch_size: int = 16,
    device: str = "auto",
    overwrite: bool = False,
) -> None:
    """Show codes as the detailed faces of StyleFaceUV: `lightning views --codes out/codes.safetensors --output views`.

    Writes NAME.png of each code (its picture, the face as it was read, as it is asked, and turned to each yaw, a row for each pitch),
    views.png of the first 16 one below another, and views.csv: of each code the pose and light that were read, and how near the face
    comes to the picture, in decibels. Turned faces keep the code's own pitch and roll unless a pitch is asked for, or, over a picture
    turned by --step-size, have those of that picture. Expressions, light and shape are asked as of `lightning edit`: absolute, or with
    `by` relative to what was read; they hold in all views but the face as it was read.

    Args:
        output: folder to write to, another than that of the codes.
        codes: file of codes, as `lightning generate` writes it; an embedding, or a folder of embeddings.
        seeds: such as 0-7 or 3,7: codes of these seeds, in place of a file.
        uv_generator: weights of a UV generator.
        names: of the codes to show; by default all.
        yaws_deg: degrees, positive turns the nose to the image's right; by default those of the paper's Fig. 4. [] for none.
        pitches_deg: degrees, positive turns the nose down; by default each code's own.
        expression: NAME=STRENGTH, such as smile=0.8 jaw_open=0.3. smile and other composites, or any expression of the face model.
        expression_by: likewise, added to what is there.
        light: azimuth-deg=40 (positive from the image's right), elevation-deg=20 (positive from above), strength=0.6 (share of directed
            light), brightness=0.7, warmth=0.2 (log2 of red over blue).
        light_by: likewise, added to what is there.
        identity: NUMBER=VALUE of identity coefficients, in standard deviations, such as 0=1.5.
        identity_by: likewise, added to what is there.
        turntable_deg: writes turntable.mp4 and turntable.gif: heads swing from the front to this yaw, to the other side and back.
        turntable_frames: frames of that loop.
        sweep: NAME=FROM:TO:FRAMES, such as yaw-deg=-60:60:49, pitch-deg=-20:20:25, light-azimuth-deg=-90:90:49 or smile=0:1:25: writes
            sweep.mp4 and sweep.gif; several run together.
        there_and_back: let the sweep return to its start.
        video_codes: so many codes are shown in videos, the first ones, side by side.
        fps: frames a second of videos, at most 50.
        step_size: weights of Fyaw, by which the picture behind a head that is turned in yaw alone is turned; they belong to the same
            generator.
        background: auto pastes the face over the code's picture while its pose is the code's own, over the picture turned by
            --step-size where yaw alone is asked, and shows it on black otherwise; own always pastes over the code's picture; none
            never pastes.
        seam: soft lets the face fade into the picture, hard pastes it as the paper's figures do.
        image_size: pixels of a view; by default the generator's. Faces show more detail in larger ones, pictures are enlarged.
        truncation: of --seeds: 1 leaves codes alone, smaller values pull them towards the mean of W.
        noise: the generator's stored pictures of noise, or none.
        generator: StyleGAN2 file, where it is not where the UV generator says.
        coefficients: weights that read parameters of codes, likewise.
        face_model: face model, likewise.
        batch_size: views drawn together.
        device: auto, cpu, cuda, cuda:1, mps.
        overwrite: write into a folder that holds views already; those are deleted.
    """
    if (codes is None) == (seeds is None):
        raise InputError("expected --codes or --seeds, got both or neither; give one of them")
    sliders = sliders_of([], expression, expression_by, light, light_by, identity, identity_by)
    sweeps = slider_sweeps(sweep, sliders, "a pose, light, expression or shape")
    swings = [] if turntable_deg is None else turntable(turntable_deg, turntable_frames)
    grid = ViewGrid(tuple(sliders), yaws_deg, pitches_deg)
    grid.views()
    if min(batch_size, video_codes) < 1:
        raise InputError(
            f"expected --batch-size and --video-codes of 1 or more, got {batch_size} and {video_codes}; raise them"
        )
    if sweeps or swings:
        check_gif_rate(fps)
        video_codec()
    subjects = None if codes is None else load_subjects(codes)
    numbers = [] if seeds is None else parse_seeds(seeds)
    chosen = None if subjects is None else (subjects.select(names) if names else subjects).codes
    shown = tuple(f"seed{number:04d}" for number in numbers) if chosen is None else chosen.names
    if seeds is not None and names:
        raise InputError("expected --names with --codes, got it with --seeds; name the seeds alone")
    if codes is not None and truncation != 1:
        raise InputError(
            f"expected --truncation with --seeds, got {truncation:g} for codes that are at hand; leave it out"
        )
    if step_size is not None and background != "auto":
        raise InputError(f"expected --background auto with --step-size, got {background}; leave out one of them")
    if there_and_back and not sweeps:
        raise InputError("expected --sweep with --there-and-back, got none; add one, or leave it out")
    earlier = earlier_files(output, codes, shown, overwrite)
    with warnings_as_lines():
        faces = open_detailed_faces(uv_generator, generator, coefficients, face_model).to(choose_device(device))
    step = None if step_size is None else _step(step_size, faces)
    viewer = DetailedViews(faces, image_size, step, background, seam, noise)
    with repeatable_convolutions():
        if chosen is None:
            w_plus = faces.generator.broadcast(codes_of_seeds(faces.generator, numbers, truncation))
            chosen = LatentCodes(w_plus, shown, generator_digest(faces.generator), truncation=truncation)
        chosen.require(faces.generator)
        moving = {SWEEP: sweep_steps(sweeps, there_and_back), TURNTABLE: swings}
        # Whatever is wrong with what is asked shows before anything is written.
        first = viewer.read(chosen.w_plus[:1])
        for asked in (sliders, *([*sliders, *steps[0]] for steps in moving.values() if steps)):
            viewer.parameters(first, asked)
        for path in earlier:
            path.unlink(missing_ok=True)
        output.mkdir(parents=True, exist_ok=True)
        _draw_stills(viewer, chosen, grid, batch_size, output)
        written = [f"views of {len(chosen)} code{'s' * (len(chosen) != 1)}"]
        for stem, steps in moving.items():
            if steps:
                frames = view_frames(viewer, chosen.w_plus[:video_codes], sliders, steps, batch_size)
                written.append(f"{stem} of {write_video(output / stem, frames, fps)} frames")
    print(f"{', '.join(written)}: {output}")


def _step(path: Path, faces: DetailedFaces) -> StepSize:
    step = load_yaw_step(path, faces.provenance)
    if not isinstance(step, StepSize):
        raise InputError(
            f"expected a {StepSize.kind} file, which takes any yaw, {path} knows the mirrored yaw alone; name another, or leave it out"
        )
    return step.to(faces.generator.mean_w.device)


def _draw_stills(views: DetailedViews, codes: LatentCodes, grid: ViewGrid, batch_size: int, folder: Path) -> None:
    """NAME.png of each code, the sheet of the first, and the table."""
    sheet: list[list[Image.Image | None]] = []
    labels: list[str] = []
    table: list[list[str]] = []
    header: list[str] = []
    rows_of_code = list(grid.row_labels)
    for start in range(0, len(codes), batch_size):
        names = codes.names[start : start + batch_size]
        viewed = views.read(codes.w_plus[start : start + batch_size])
        readings = _readings(views, viewed)
        header = list(readings)
        table += [[name, *values] for name, *values in zip(names, *readings.values(), strict=True)]
        for name, rows in zip(names, grid.draw(views, viewed), strict=True):
            picture_grid(rows, rows_of_code if grid.pitches else (), grid.labels).save(folder / f"{name}.png")
            if len(labels) < _SHEET_CODES * len(rows):
                sheet += [[None if each is None else thumbnail(each) for each in row] for row in rows]
                labels += [f"{name} {label}".strip() for label in rows_of_code]
    picture_grid(sheet, labels, grid.labels).save(folder / SHEET)
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([["name", *header], *table])
    write_text(folder / TABLE, text.getvalue())


def _readings(views: DetailedViews, viewed: ViewedCodes) -> dict[str, list[str]]:
    """Columns of the table: what was read, and the decibels of the face in its own pose against the picture."""
    columns = {}
    for name in FIXED_SLIDERS:
        label = f"{name}_deg" if unit_of(name) == "degrees" else name
        columns[label] = read_slider(viewed.parameters, name, views.faces.face_model)
    columns["psnr_db"] = views.fidelity(viewed)
    return {name: [f"{value:.4f}" for value in values.tolist()] for name, values in columns.items()}
