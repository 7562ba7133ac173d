"""``lightning lift``: faces of codes and photos in three dimensions by LiftedGAN: views, light, maps, meshes, styles, videos."""

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import torch

from commands.devices import choose_device, repeatable_convolutions
from commands.edit_options import slider_sweeps, sliders_of
from commands.lift_codes import asked_codes, asked_styles
from commands.lift_files import INTERPOLATION, SWEEP, TURNTABLE, earlier_files, endings
from commands.lift_pictures import CodeFiles, draw_codes, draw_styles
from commands.warning_filters import warnings_as_lines
from evaluation.edit_sweep import sweep_steps
from evaluation.lifted_gan.controls import replaced
from evaluation.lifted_gan.stills import Stills, interpolation_sheet
from evaluation.lifted_gan.style import style_layer
from evaluation.lifted_gan.subjects import LiftSubjects
from evaluation.lifted_gan.views import LiftedViews, interpolated, interpolation_frames, view_frames
from evaluation.moving_views import MOST_FRAMES, turntable
from evaluation.video import check_gif_rate, video_codec, write_video
from models.lifted_gan.meshes import lifted_mesh
from models.lifted_gan.opening import open_lifted
from renderers.errors import InputError

# Of a row of the sheet of interpolations.
_INTERPOLATION_COLUMNS = 7
_NUMBER = r"[+-]?\d+(?:\.\d*)?"


def lift(
    output: Path,
    codes: Path | None = None,
    photos: Path | None = None,
    seeds: str | None = None,
    lifted: Path = Path("assets/demo_lifted_gan.safetensors"),
    generator: Path = Path("assets/demo_generator.safetensors"),
    code_encoder: Path = Path("assets/demo_code_encoder.safetensors"),
    names: tuple[str, ...] = (),
    yaw_deg: float | None = None,
    pitch_deg: float | None = None,
    roll_deg: float | None = None,
    light: tuple[str, ...] = (),
    light_by: tuple[str, ...] = (),
    yaws_deg: tuple[float, ...] = (-45.0, -30.0, -15.0, 0.0, 15.0, 30.0, 45.0),
    pitches_deg: tuple[float, ...] = (-15.0, 0.0, 15.0),
    lights_deg: tuple[str, ...] = ("-60:0", "60:0", "0:60", "0:-60"),
    manipulated: bool = False,
    turntable_deg: float | None = None,
    turntable_frames: int = 72,
    sweep: tuple[str, ...] = (),
    there_and_back: bool = False,
    interpolate: int = 0,
    style: Path | None = None,
    style_from_layer: int | None = None,
    videos: Literal["render", "generator"] = "render",
    video_codes: int = 16,
    fps: float = 25.0,
    maps: bool = False,
    mesh: Literal["none", "glb", "obj", "ply"] = "none",
    mesh_part: Literal["foreground", "whole"] = "foreground",
    posed: bool = False,
    truncation: float | None = None,
    batch_size: int = 16,
    device: str = "auto",
    overwrite: bool = False,
) -> None:
    """Show codes or photos as the lifted faces of LiftedGAN: `lightning lift --codes out/codes.safetensors --output lifted`.

    Writes NAME.png of each code (its picture, its render, albedo, normals, depth and map of what moves with the face, then rows of
    yaw, pitch and light), lift.png of the first 16, and lift.csv: of each code the pose and light that were read, and how near the
    render comes to the picture, in decibels. A lifted generator takes codes of W: those of W+ are replaced by the mean over their
    layers, embeddings by the code of W of their first stage where they have one.

    Args:
        output: folder to write to, another than that of the codes or photos.
        codes: file of codes, as `lightning generate` writes it; an embedding, or a folder of embeddings.
        photos: folder of aligned square photos (`lightning align`), whose codes the code encoder reads.
        seeds: such as 0-7 or 3,7: codes of these seeds.
        lifted: weights of a lifted generator, or a .pth of LiftedGAN's authors.
        generator: the StyleGAN2 file that it was trained for.
        code_encoder: weights of the network that reads photos' codes of this generator.
        names: of the codes or photos to show; by default all.
        yaw_deg: degrees, positive turns the nose to the image's right; holds in all views that ask for no other.
        pitch_deg: degrees, positive turns the nose down.
        roll_deg: degrees, positive turns the head counter-clockwise.
        light: azimuth-deg=40 (positive from the image's right), elevation-deg=20 (positive from above), strength=0.6 (share of directed
            light, 0 to 1), brightness=0.7.
        light_by: likewise, added to what is there.
        yaws_deg: one view each; [] for none.
        pitches_deg: one view each; [] for none.
        lights_deg: AZIMUTH:ELEVATION, one view each, with the shading map; by default from four sides. [] for none.
        manipulated: below views of yaw and pitch show what the 2D generator makes of the codes that M moves.
        turntable_deg: writes turntable.mp4 and turntable.gif: heads swing from the front to this yaw, to the other side and back.
        turntable_frames: frames of that loop.
        sweep: NAME=FROM:TO:FRAMES, such as yaw-deg=-45:45:49, pitch-deg=-15:15:25 or light-azimuth-deg=-60:60:49: writes sweep.mp4 and
            sweep.gif; several run together.
        there_and_back: let the sweep return to its start.
        interpolate: so many frames from each code to the next and from the last to the first: writes interpolation.mp4, .gif and .png.
        style: file of codes, embeddings, or a folder of photos: writes NAME.style.png, the face in the styles of the first 8 of them,
            from all sides of --yaws-deg; its depth is kept.
        style_from_layer: first layer of the generator that the style gives; by default the middle one.
        videos: show renders of the mesh, or what the 2D generator makes of the codes that M moves.
        video_codes: so many codes are shown in turntables and sweeps, the first ones, side by side.
        fps: frames a second of videos, at most 50.
        maps: also write NAME.albedo.png, .normals.png, .depth.png (16 bits) and .map.png, and all as numbers in NAME.npz.
        mesh: also write a textured mesh of each code: glb, obj or ply.
        mesh_part: foreground leaves the background out of meshes.
        posed: meshes are turned and placed as --yaw-deg and its like ask, or as in the picture; by default as in the depth map.
        truncation: of --seeds, 0 to 1; by default 0.7, which lifted generators are trained with.
        batch_size: views drawn together.
        device: auto, cpu, cuda, cuda:1, mps.
        overwrite: write into a folder that holds lifted faces already; those are deleted.
    """
    angles = [("yaw", yaw_deg, False), ("pitch", pitch_deg, False), ("roll", roll_deg, False)]
    sliders = sliders_of(angles, (), (), light, light_by)
    sweeps = slider_sweeps(sweep, sliders, "a pose or light")
    swings = [] if turntable_deg is None else turntable(turntable_deg, turntable_frames)
    stills = Stills(tuple(sliders), yaws_deg, pitches_deg, _directions(lights_deg), manipulated)
    _check_numbers(batch_size, video_codes, interpolate)
    _check_pairs(
        ("--there-and-back", there_and_back, "--sweep", bool(sweep)),
        ("--style-from-layer", style_from_layer is not None, "--style", style is not None),
        ("--posed", posed, "--mesh", mesh != "none"),
        ("--mesh-part whole", mesh_part == "whole", "--mesh", mesh != "none"),
    )
    if sweeps or swings or interpolate:
        check_gif_rate(fps)
        video_codec()
    asked = asked_codes(codes, photos, seeds, truncation, names)
    style_of = None if style is None else asked_styles(style)
    ends = endings(maps, mesh, style is not None)
    # Whatever is wrong with the folder shows before networks are read, so far as it is known.
    earlier_files(output, codes or photos, (), ends, overwrite)
    with warnings_as_lines():
        model = open_lifted(lifted, generator).to(choose_device(device))
    views = LiftedViews(model)
    style_layer(model, style_from_layer)
    with repeatable_convolutions():
        subjects = asked.read(model.generator, code_encoder, batch_size)
        styles = None if style_of is None else style_of.read(model.generator, code_encoder, batch_size)
        if interpolate and len(subjects) < 2:
            raise InputError(f"expected two codes or more to interpolate, got {len(subjects)}; leave --interpolate out")
        earlier = earlier_files(output, codes or photos, subjects.names, ends, overwrite)
        moving = {TURNTABLE: swings, SWEEP: sweep_steps(sweeps, there_and_back)}
        # Whatever is wrong with what is asked shows before anything is written.
        views.check(subjects.w, stills.asked())
        shown = subjects.w[:video_codes]
        views.check(shown, (replaced(sliders, step) for steps in moving.values() for step in steps))
        if interpolate:
            # Of the video, and of the sheet.
            between = [interpolated(subjects.w, frames) for frames in (interpolate, _INTERPOLATION_COLUMNS - 1)]
            views.check(torch.cat(between), [sliders])
        if mesh != "none" and mesh_part == "foreground":
            check_foreground(views, subjects, batch_size)
        for each in (subjects, styles):
            if each is not None and each.note:
                print(f"note: {each.note}", file=sys.stderr)
        for path in earlier:
            path.unlink(missing_ok=True)
        output.mkdir(parents=True, exist_ok=True)
        files = CodeFiles(output, tuple(ends), maps, mesh, mesh_part, posed)
        draw_codes(views, subjects, stills, files, batch_size)
        if styles is not None:
            draw_styles(views, subjects, styles, stills, style_from_layer, output)
        written = [f"{len(subjects)} lifted face{'s' * (len(subjects) != 1)}"]
        for stem, steps in moving.items():
            if steps:
                parts = [views.read(part) for part in shown.split(batch_size)]
                frames = view_frames(views, parts, sliders, steps, videos)
                written.append(f"{stem} of {write_video(output / stem, frames, fps)} frames")
        if interpolate:
            sheet = interpolation_sheet(views, subjects.w, subjects.names, _INTERPOLATION_COLUMNS, sliders)
            sheet.save(output / f"{INTERPOLATION}.png")
            frames = interpolation_frames(views, between[0], sliders, videos, batch_size)
            written.append(f"interpolation of {write_video(output / INTERPOLATION, frames, fps)} frames")
    print(f"{', '.join(written)}: {output}")


def _directions(words: Sequence[str]) -> tuple[tuple[float, float], ...]:
    """Degrees of azimuth and elevation of words such as -60:0."""
    directions = []
    for word in words:
        match = re.fullmatch(rf"({_NUMBER}):({_NUMBER})", word)
        if match is None:
            raise InputError(f"expected --lights-deg AZIMUTH:ELEVATION such as -60:0, got {word!r}; correct it")
        directions.append((float(match[1]), float(match[2])))
    return tuple(directions)


def _check_numbers(batch_size: int, video_codes: int, interpolate: int) -> None:
    if min(batch_size, video_codes) < 1:
        raise InputError(
            f"expected --batch-size and --video-codes of 1 or more, got {batch_size} and {video_codes}; raise them"
        )
    if not 0 <= interpolate <= MOST_FRAMES:
        raise InputError(
            f"expected 0 to {MOST_FRAMES} frames from code to code, got {interpolate}; correct --interpolate"
        )


def _check_pairs(*pairs: tuple[str, bool, str, bool]) -> None:
    """Refuse options that do nothing without another: (name, given, name of the other, given)."""
    for option, given, needed, there in pairs:
        if given and not there:
            raise InputError(f"expected {needed} with {option}, got none; add one, or leave {option} out")


def check_foreground(views: LiftedViews, subjects: LiftSubjects, batch_size: int) -> None:
    """Refuse faces of which the mesh of the foreground would be empty.

    Args:
        views: Read them.
        subjects: The faces.
        batch_size: Faces read together.

    Raises:
        InputError: for the first of them.
    """
    for start in range(0, len(subjects), batch_size):
        output = views.read(subjects.w[start : start + batch_size]).output
        for row, name in enumerate(subjects.names[start : start + batch_size]):
            lifted_mesh(views.model, output, row, name)
