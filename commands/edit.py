"""``lightning edit``: turn heads, change expressions, light and shape of generated and embedded portraits by trained rigs."""

import csv
import io
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from commands.devices import choose_device, repeatable_convolutions
from commands.edit_files import CODES, TABLE, earlier_files, names_of_files
from commands.edit_options import TRANSFERS, direction_files, moves_of, sliders_of, sweeps_of
from commands.edit_pictures import draw_edits, draw_sweeps
from commands.warning_filters import warnings_as_lines
from evaluation.calibrated_sliders import calibrated_sliders
from evaluation.code_edits import CodeEdit, EditedCodes, codes_at_a_time, edit_codes, warnings_for
from evaluation.edit_pasting import PasteMode, photo_places
from evaluation.edit_reference import read_reference
from evaluation.edit_subjects import load_subjects
from evaluation.edit_sweep import Sweep
from evaluation.report import write_text
from evaluation.video import check_gif_rate, video_codec
from models.latent_codes import LatentCodes, save_codes
from models.stylerig.opening import open_rig
from renderers.errors import InputError


def edit(
    rig: tuple[Path, ...],
    codes: Path,
    output: Path,
    names: tuple[str, ...] = (),
    yaw_deg: float | None = None,
    pitch_deg: float | None = None,
    roll_deg: float | None = None,
    yaw_by_deg: float | None = None,
    pitch_by_deg: float | None = None,
    roll_by_deg: float | None = None,
    expression: tuple[str, ...] = (),
    expression_by: tuple[str, ...] = (),
    light: tuple[str, ...] = (),
    light_by: tuple[str, ...] = (),
    identity: tuple[str, ...] = (),
    identity_by: tuple[str, ...] = (),
    transfer: tuple[Literal["pose", "expression", "light", "geometry"], ...] = (),
    reference: str | None = None,
    landmarker: str = "assets/demo_landmarks.safetensors",
    expression_deviation: float = 0.4,
    direction: tuple[str, ...] = (),
    sweep: tuple[str, ...] = (),
    there_and_back: bool = False,
    sweep_codes: int = 16,
    sweep_layout: Literal["grid", "each"] = "grid",
    fps: float = 25.0,
    feedback: int = 0,
    calibrated: bool = False,
    paste_back: Path | None = None,
    paste_mode: Literal["auto", "difference", "picture"] = "auto",
    pictures: bool = True,
    noise: Literal["const", "none"] = "const",
    generator: Path | None = None,
    face_reconstruction: Path | None = None,
    face_model: str | None = None,
    batch_size: int = 16,
    device: str = "auto",
    overwrite: bool = False,
) -> None:
    """Edit codes that `lightning generate` wrote, or portraits that were embedded: `lightning edit --rig pose.safetensors --codes
    out/codes.safetensors --yaw-deg 20 --output edited`.

    Writes codes.safetensors (edited, of the same names), a picture of each, grid.png (the first 64, before and after), and edits.csv:
    of each code what was asked, and what the face reconstruction reads before and after. Several rigs edit one after another: shape,
    pose, light, expression. Values are absolute, those of options with
    `by` are relative to what is read. An option that takes several values may be repeated, or be followed by all of them.

    Args:
        rig: files of trained rigs of one generator; a rig for one control goes before one for several.
        codes: file of codes, as `lightning generate` writes it; an embedding, or a folder of embeddings.
        output: folder to write to, another than that of the codes or of photos to paste into.
        names: of the codes to edit; by default all.
        yaw_deg: degrees, positive turns the nose to the image's right.
        pitch_deg: degrees, positive turns the nose down.
        roll_deg: degrees, positive turns the head counter-clockwise.
        yaw_by_deg: turn by so many degrees.
        pitch_by_deg: turn by so many degrees.
        roll_by_deg: turn by so many degrees.
        expression: NAME=STRENGTH, such as smile=0.8 jaw_open=0.3. smile and other composites, or any expression of the face model.
        expression_by: likewise, added to what is there.
        light: azimuth-deg=40 (positive from the image's right), elevation-deg=20 (positive from above), strength=0.6 (share of directed
            light), brightness=0.7, warmth=0.2 (log2 of red over blue).
        light_by: likewise, added to what is there.
        identity: NUMBER=VALUE of identity coefficients, in standard deviations, such as 0=1.5.
        identity_by: likewise, added to what is there.
        transfer: components to take from --reference: pose, expression, light, geometry. Other options come on top.
        reference: CODES.safetensors (one code, or as many as are edited; embeddings likewise), CODES.safetensors:NAME, or a picture: a
            square portrait, aligned as the generator's (`lightning align`), which the rig's face encoder reads; where it has none, the
            parameters are fitted first.
        landmarker: 68-landmark network by which a reference picture is fitted; the default knows the demo's portraits, for photos give a
            folder with face-api weights.
        expression_deviation: spread of expression coefficients in that fit: 0.4 for blendshapes, 1 for Basel's.
        direction: FILE:NAME=AMOUNT, such as directions.safetensors:yaw=1.5: move codes along a linear direction (`lightning directions`)
            by standard deviations of the generator's codes; what the rig is asked for comes on top.
        sweep: NAME=FROM:TO:FRAMES, such as yaw-deg=-30:30:25, light-azimuth-deg=-60:60:25, smile=0:1:25, yaw-by-deg=-10:10:25 or
            directions.safetensors:yaw=-2:2:25: writes sweep.mp4 and sweep.gif; several run together. The other options hold in every frame.
        there_and_back: let sweeps return to their start.
        sweep_codes: so many codes are swept, the first ones.
        sweep_layout: grid shows them side by side; each writes NAME.mp4 and NAME.gif of each.
        fps: frames a second of a sweep, at most 50.
        feedback: rounds in which the edit is corrected by how far the face reconstruction reads that it missed; PIE takes 1.
        calibrated: ask so much of each slider that, by the calibration beside its rig (`lightning calibrate`), the pictures show what is
            given, or the nearest within reach; for absolute values, and not within sweeps. edits.csv then holds what is asked of the rig.
        paste_back: folder of the photos that were embedded, or the one: also writes NAME.photo.png, the whole photo with the edit.
        paste_mode: difference adds what the edit changed to the photo, picture shows the edited picture where it changed; auto takes
            the former for edits of light alone.
        pictures: false leaves out the pictures of single codes.
        noise: the generator's stored pictures of noise, or none.
        generator: StyleGAN2 file, where it is not where the rig says.
        face_reconstruction: weights of the face reconstruction, likewise.
        face_model: face model, likewise.
        batch_size: pictures drawn together.
        device: auto, cpu, cuda, cuda:1, mps.
        overwrite: write into a folder that holds edits, or files of the names of this call's, already; those edits are deleted.
    """
    angles = [("yaw", yaw_deg, False), ("pitch", pitch_deg, False), ("roll", roll_deg, False)]
    angles += [("yaw", yaw_by_deg, True), ("pitch", pitch_by_deg, True), ("roll", roll_by_deg, True)]
    sliders = sliders_of(angles, expression, expression_by, light, light_by, identity, identity_by)
    files = direction_files(direction, sweep)
    moves = moves_of(direction, files)
    sweeps = sweeps_of(sweep, sliders, direction, files)
    if not (sliders or sweeps or transfer or moves):
        raise InputError(
            "expected something to edit, got nothing; give --yaw-deg, --expression, --light, --identity, --transfer, --direction or "
            "--sweep"
        )
    _check_numbers(batch_size, sweep_codes, feedback, expression_deviation)
    if sweeps:
        check_gif_rate(fps)
        video_codec()
    if calibrated and (sweeps or not sliders):
        raise InputError("expected --calibrated with sliders and without --sweep, got it otherwise; leave it out")
    if bool(transfer) != (reference is not None):
        raise InputError("expected --transfer and --reference together, got one of them; give both")
    subjects = load_subjects(codes)
    if names:
        subjects = subjects.select(names)
    asked = subjects.codes
    still = bool(sliders or transfer or moves)
    if paste_back is not None and not still:
        raise InputError("expected an edit to paste back, got sweeps alone; leave --paste-back out")
    places = {} if paste_back is None else photo_places(subjects.embeddings, paste_back)
    drawn = asked.names if pictures and still else ()
    swept = asked.names[:sweep_codes] if sweeps and sweep_layout == "each" else ()
    photos = [place.path for place in places.values()]
    earlier = earlier_files(output, codes, names_of_files(drawn, swept, tuple(places)), overwrite, photos)
    with warnings_as_lines():
        opened = open_rig(rig, generator, face_reconstruction, face_model).to(choose_device(device))
    asked.require(opened.generator)
    for directions in files.values():
        directions.require(opened.generator)
    components = tuple(dict.fromkeys(TRANSFERS[each] for each in transfer))
    with repeatable_convolutions():
        source = None if reference is None else read_reference(
            reference, opened, landmarker, expression_deviation, batch_size
        )
        if calibrated:
            corrected = calibrated_sliders(opened, rig, sliders)
            for each, (instead, expected) in zip(sliders, corrected, strict=True):
                asking = f"{each.name}: asking {instead.value:.3g} of the rig for {each.value:.3g} in pictures"
                print(f"note: {asking}, expect about {expected:.3g}", file=sys.stderr)
            sliders = [instead for instead, _ in corrected]
        request = CodeEdit(tuple(sliders), source, components, feedback, tuple(moves))
        at_a_time = codes_at_a_time(opened, batch_size)
        request.check_count(len(asked))
        # Whatever is wrong with a sweep shows in its first frame, before anything is written.
        edit_codes(opened, asked.w_plus[:1], request.of_rows(slice(0, 1)).with_steps([each.at(0) for each in sweeps]))
        extremes = [each.at(frame) for each in sweeps if isinstance(each, Sweep) for frame in (0, each.frames - 1)]
        for line in dict.fromkeys(warnings_for(opened, rig, asked.w_plus, request, extremes, at_a_time)):
            print(f"note: {line}", file=sys.stderr)
        done = edit_codes(opened, asked.w_plus, request, at_a_time) if still else None
        # In this order no picture lies beside codes that it was not made of, wherever this is interrupted.
        for path in earlier:
            path.unlink(missing_ok=True)
        output.mkdir(parents=True, exist_ok=True)
        written = []
        if done is not None:
            write_text(output / TABLE, _table(asked.names, done))
            save_codes(output / CODES, LatentCodes(done.codes, asked.names, asked.generator_digest))
            mode = _paste_mode(paste_mode, request)
            draw_edits(opened, subjects, done.codes, pictures, places, mode, noise, batch_size, output)
            written.append(f"{_said(len(asked), 'code')} edited")
            if places:
                written.append(f"{_said(len(places), 'photo')} with the edit")
        if sweeps:
            chosen = slice(0, sweep_codes)
            count = draw_sweeps(
                opened, subjects, chosen, request, sweeps, there_and_back, noise, batch_size, fps, sweep_layout, output
            )
            written.append(f"sweep of {count} frames of {_said(min(len(asked), sweep_codes), 'code')}")
    print(f"{', '.join(written)}: {output}{_summary(done)}")


def _check_numbers(batch_size: int, sweep_codes: int, feedback: int, expression_deviation: float) -> None:
    if min(batch_size, sweep_codes) < 1:
        raise InputError(
            f"expected --batch_size and --sweep_codes of 1 or more, got {batch_size} and {sweep_codes}; raise them"
        )
    if feedback < 0 or not expression_deviation > 0:
        raise InputError(
            f"expected --feedback of 0 or more and --expression_deviation above 0, got {feedback} and {expression_deviation}; correct them"
        )


def _paste_mode(given: Literal["auto", "difference", "picture"], request: CodeEdit) -> PasteMode:
    """Light moves nothing; whatever does leaves the photo's detail behind where it is but added to."""
    if given != "auto":
        return given
    return "difference" if request.components == ("illumination",) and not request.moves else "picture"


def _table(names: Sequence[str], done: EditedCodes) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["name", *done.columns])
    writer.writerows([name, *(f"{value:.4f}" for value in row)] for name, row in zip(names, done.rows, strict=True))
    return text.getvalue()


def _summary(done: EditedCodes | None) -> str:
    """Means over the codes of what was asked, before and after, of the first three readings."""
    if done is None:
        return ""
    means = {name: sum(row[i] for row in done.rows) / len(done.rows) for i, name in enumerate(done.columns)}
    parts = [
        f"{label.removesuffix('_deg')} {means[f'{label}_before']:.2f} to {means[f'{label}_after']:.2f}"
        + (f" (asked {means[f'{label}_asked']:.2f})" if f"{label}_asked" in means else "")
        for label in dict.fromkeys(name.rpartition("_")[0] for name in done.columns)
    ]
    return f"; mean {', '.join(parts[:3])}"


def _said(count: int, what: str) -> str:
    return f"{count} {what}{'s' * (count != 1)}"
