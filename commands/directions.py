"""``lightning directions``: linear directions of a generator's W along which yaw, pitch, smile or light change."""

from pathlib import Path

from commands.devices import choose_device, repeatable_convolutions
from commands.warning_filters import warnings_as_lines
from evaluation.direction_finding import DirectionSettings, find_directions
from lightning_modules.progress import check_seed
from models.latent_directions import KIND, LatentDirections, save_directions
from models.morphable import ParameterSizes
from models.morphable.loading import SHIPPED, load_face_model
from models.stylefaceuv.loading import load_code_reader
from models.stylegan2.loading import load_generator
from models.stylerig.provenance import Provenance
from models.weights import build_from, describe_weights
from renderers.camera import PerspectiveCamera
from renderers.errors import InputError


def directions(
    generator: Path,
    face_reconstruction: Path,
    output: Path,
    attributes: tuple[str, ...] = ("yaw", "pitch", "smile", "light_azimuth"),
    codes: int = 50_000,
    held_out: int = 10_000,
    share: float = 0.02,
    penalty: float = 1.0,
    face_model: str = f"{SHIPPED}:coarse",
    seed: int = 0,
    batch_size: int = 64,
    device: str = "auto",
    overwrite: bool = False,
) -> None:
    """Find linear directions as InterFaceGAN does: `lightning directions --generator G --face-reconstruction F --output FILE.safetensors`.

    Random codes of W are read; a linear support-vector machine separates those with the least of an attribute from those with the most,
    and its unit normal is the direction. 'lightning edit --direction FILE.safetensors:yaw=1.5' moves codes along it, by standard
    deviations of the codes. What is printed is measured on codes that took no part.

    Args:
        generator: StyleGAN2 file.
        face_reconstruction: what reads codes: weights of F, of StyleFaceUV's F3D, or of a face encoder, which reads their pictures (slower:
            draws them all).
        output: file to write.
        attributes: what to find directions of: yaw, pitch, roll, light_azimuth, light_elevation, light_strength, light_brightness,
            light_warmth, or an expression of the face model.
        codes: that are read to find the directions.
        held_out: further codes, on which they are measured.
        share: of the codes, at either extreme, that the machine separates.
        penalty: C of the support-vector machine, on codes in units of their deviation.
        face_model: file or folder of the face model, or procedural:coarse and so on, that the reader was trained with.
        seed: of the codes.
        batch_size: codes that are read together.
        device: auto, cpu, cuda, cuda:1, mps.
        overwrite: replace a file of directions.
    """
    check_seed(seed)
    settings = DirectionSettings(tuple(name.replace("-", "_") for name in attributes), codes, held_out, share, penalty)
    _check_place(output, overwrite)
    info = describe_weights(face_reconstruction)
    if "provenance" not in info.config or "sizes" not in info.config:
        raise InputError(
            f"expected weights of a face reconstruction, code coefficients or a face encoder, {info.path} is of kind '{info.kind}'; "
            "name one that reads codes"
        )
    trained_for = build_from(info.path, lambda: Provenance.from_config(info.config["provenance"]))
    sizes = build_from(info.path, lambda: ParameterSizes(**info.config["sizes"]))
    with warnings_as_lines(), repeatable_convolutions():
        where = choose_device(device)
        network = load_generator(generator)
        model = load_face_model(face_model, sizes)
        camera = PerspectiveCamera(trained_for.focal_length, trained_for.camera_distance, trained_for.principal_point)
        reader = load_code_reader(face_reconstruction, Provenance.of(network, model, camera), network)
        found = find_directions(network.to(where), reader.to(where), model.to(where), settings, seed, batch_size, _say)
        save_directions(output, found)
    print(directions_table(found))
    print(f"{len(found.directions)} direction{'s' * (len(found.directions) > 1)} in {output}")


def directions_table(found: LatentDirections) -> str:
    """Name, what the extremes show, and how well held-out codes are told apart, one line for each direction that was measured."""
    rows = [("direction", "extremes", "held-out extremes told apart", "correlation, all held out")]
    for each in found.directions:
        if each.quality is not None:
            quality = each.quality
            unit = " deg" if quality.unit == "degrees" else ""
            shown = f"{quality.low:.3g} to {quality.high:.3g}{unit}"
            rows.append((each.name, shown, f"{quality.accuracy:.1%}", f"{quality.correlation:.3f}"))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows)


def _check_place(output: Path, overwrite: bool) -> None:
    if output.suffix != ".safetensors" or output.is_dir():
        raise InputError(f"expected a file NAME.safetensors to write to, got {output}; correct --output")
    if not output.exists():
        return
    if not overwrite:
        raise InputError(f"expected no file there yet, {output} exists; name another, or give --overwrite")
    kind = describe_weights(output).kind
    if kind != KIND:
        raise InputError(f"expected a file of directions to overwrite, {output} holds {kind}; name another")


def _say(text: str) -> None:
    print(f"directions: {text}", flush=True)
