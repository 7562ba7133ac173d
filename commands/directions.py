"""``lightning directions``: linear directions of a generator's W along which yaw, pitch, smile or light change."""

from collections.abc import Sequence
from pathlib import Path

from commands.devices import choose_device, repeatable_convolutions
from commands.warning_filters import warnings_as_lines
from evaluation.direction_finding import DirectionSettings, find_directions
from evaluation.direction_tables import angles_figure, curves_figure, direction_curves, quality_figure
from evaluation.figures import write_figures
from lightning_modules.progress import check_seed
from models.latent_directions import KIND, LatentDirections, save_directions
from models.morphable import ParameterSizes
from models.morphable.loading import SHIPPED, load_face_model
from models.stylefaceuv.loading import load_code_reader, require_other_reader
from models.stylegan2.loading import load_generator
from models.stylerig.provenance import Provenance
from models.weights import WeightsInfo, build_from, describe_weights
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
    report: Path | None = None,
    second_reader: Path | None = None,
    curve_codes: int = 100,
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
        report: folder for tables of separability and angles, and for curves of what is read against the step, as figures/NAME.csv and
            .png in it.
        second_reader: another file as face_reconstruction, by which the curves are read too.
        curve_codes: that are moved along each direction for the curves.
    """
    check_seed(seed)
    _check_report(report, face_reconstruction, second_reader, curve_codes)
    settings = DirectionSettings(tuple(name.replace("-", "_") for name in attributes), codes, held_out, share, penalty)
    _check_place(output, overwrite)
    info = _reading_weights(face_reconstruction)
    trained_for = build_from(info.path, lambda: Provenance.from_config(info.config["provenance"]))
    sizes = build_from(info.path, lambda: ParameterSizes(**info.config["sizes"]))
    with warnings_as_lines(), repeatable_convolutions():
        where = choose_device(device)
        network = load_generator(generator)
        model = load_face_model(face_model, sizes)
        camera = PerspectiveCamera(trained_for.focal_length, trained_for.camera_distance, trained_for.principal_point)
        paths = [face_reconstruction] if second_reader is None else [face_reconstruction, second_reader]
        present = Provenance.of(network, model, camera)
        readers = {_reader_name(path): load_code_reader(path, present, network) for path in paths}
        network.to(where)
        model.to(where)
        for each in readers.values():
            each.to(where)
        reader = readers[_reader_name(face_reconstruction)]
        found = find_directions(network, reader, model, settings, seed, batch_size, _say)
        save_directions(output, found)
        print("\n\n".join(table for table in (directions_table(found), angles_table(found)) if table))
        if report is not None:
            _say(f"moving {curve_codes} codes along each")
            curves = direction_curves(network, found, readers, model, curve_codes, seed, batch_size)
            folder = write_figures(
                report, [quality_figure(found), angles_figure(found), curves_figure(curves)], alone=True
            )
            print(f"tables and curves in {folder}")
    print(f"{len(found.directions)} direction{'s' * (len(found.directions) > 1)} in {output}")


def directions_table(found: LatentDirections) -> str:
    """Name, what the extremes show, and how well held-out codes are told apart, one line for each direction that was measured."""
    rows = [
        ("direction", "extremes", "held-out extremes told apart", "outside the margin", "correlation, all held out")
    ]
    for each in found.directions:
        if each.quality is not None:
            quality = each.quality
            unit = " deg" if quality.unit == "degrees" else ""
            shown = f"{quality.low:.3g} to {quality.high:.3g}{unit}"
            outside = "" if quality.beyond_margin is None else f"{quality.beyond_margin:.1%}"
            rows.append((each.name, shown, f"{quality.accuracy:.1%}", outside, f"{quality.correlation:.3f}"))
    return _aligned(rows)


def angles_table(found: LatentDirections) -> str:
    """Degrees between all directions; no line for a single one."""
    if len(found.directions) < 2:
        return ""
    angles = found.angles_deg().tolist()
    rows = [(name, *(f"{angle:.1f}" for angle in row)) for name, row in zip(found.names, angles, strict=True)]
    return _aligned([("angles, deg", *found.names), *rows])


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def _reading_weights(path: Path) -> WeightsInfo:
    """What a file says that holds a network which reads codes."""
    info = describe_weights(path)
    if "provenance" not in info.config or "sizes" not in info.config:
        raise InputError(
            f"expected weights of a face reconstruction, code coefficients or a face encoder, {info.path} is of kind '{info.kind}'; "
            "name one that reads codes"
        )
    return info


def _reader_name(path: Path) -> str:
    return f"{describe_weights(path).kind.replace('-', ' ')} {path.name}"


def _check_report(report: Path | None, reader: Path, second_reader: Path | None, curve_codes: int) -> None:
    if curve_codes < 1:
        raise InputError(f"expected curve_codes of 1 or more, got {curve_codes}; raise it")
    if report is None:
        if second_reader is not None:
            raise InputError(
                "expected --report FOLDER for the curves that --second-reader reads, got none; name a folder"
            )
        return
    if report.exists() and not report.is_dir():
        raise InputError(f"expected a folder for tables and curves, {report} is a file; name another")
    if second_reader is not None:
        require_other_reader(reader, second_reader)
        if _reader_name(reader) == _reader_name(second_reader):
            raise InputError(
                f"expected readers of two names, both are {second_reader.name}; rename one, as curves are labelled by them"
            )


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
