"""``lightning calibrate``: how far each slider of a rig really moves the picture."""

from collections.abc import Sequence
from pathlib import Path

from commands.devices import choose_device, repeatable_convolutions
from commands.warning_filters import warnings_as_lines
from datamodules.latent_pairs import PairRecipe
from datamodules.portraits import PortraitSampler
from evaluation.figures import write_figures
from evaluation.picture_readers import JudgeReader, LandmarkReader, Reader, ReconstructionReader
from evaluation.stylerig.calibrated_controls import AskedControl, asked_controls
from evaluation.stylerig.calibration import calibrate as measure
from evaluation.stylerig.calibration import judge_curves
from evaluation.stylerig.calibration_figures import calibration_figures, calibration_table
from lightning_modules.progress import check_seed
from models.morphable import MorphableModel
from models.observers import Judge, load_judge, load_landmark_detector
from models.stylerig.calibration import SUFFIX, calibration_path, load_calibration, rig_digest, save_calibration
from models.stylerig.control_curves import ControlCurve
from models.stylerig.opening import OpenedRig, open_rig
from models.stylerig.rig_network import RigNetwork
from models.weights import locate
from renderers.errors import InputError


def calibrate(
    rig: list[Path],
    controls: tuple[str, ...] = (),
    judge: str | None = "assets/demo_judge.safetensors",
    landmarker: str | None = None,
    codes: int = 200,
    samples: int = 1000,
    portraits: int = 120,
    output: Path | None = None,
    generator: Path | None = None,
    face_reconstruction: Path | None = None,
    face_model: str | None = None,
    seed: int = 0,
    batch_size: int = 50,
    device: str = "auto",
    overwrite: bool = False,
) -> None:
    """Ask values of each slider of unseen codes, read the pictures, and write what came as curves and supported ranges.

    The calibration is written beside the rig as NAME.calibration.json, where 'lightning edit' finds it and warns of values that are
    not supported, and its figures in the folder NAME.calibration.

    Args:
        rig: rigs' weights; each is calibrated by itself.
        controls: sliders such as yaw smile light_azimuth; by default the usual ones of what the rig controls.
        judge: weights of the judge that reads the pictures; null for pictures that it does not know.
        landmarker: without a judge, landmark network from which angles are read; without either, the face reconstruction reads
            codes, which does not tell what pictures show.
        codes: unseen codes that each value is asked of.
        samples: pictures of the generator that tell what it shows.
        portraits: portraits of known values per slider, on which the judge is measured; 0 for none.
        output: folder for calibrations and their figures, in place of the rigs'.
        generator: StyleGAN2 file; by default what the rig names, and so for the others.
        face_reconstruction: weights of the face reconstruction.
        face_model: file or folder of the face model, or procedural:coarse and so on.
        seed: of the codes; that of the rig's training keeps them unseen.
        batch_size: pictures at a time.
        device: auto, cpu, cuda, cuda:1, mps.
        overwrite: replace an earlier calibration of the same weights, with whatever sliders it has; one of other weights is replaced
            without asking.
    """
    check_seed(seed)
    if portraits < 0 or batch_size < 1:
        raise InputError(f"expected 0 or more portraits and a batch of 1 or more, got {portraits} and {batch_size}; raise them")
    # A folder of a name that cannot be made shows before anything is measured.
    if output is not None:
        output.mkdir(parents=True, exist_ok=True)
    where = {path: _place(path, output) for path in rig}
    if len(set(where.values())) < len(rig):
        raise InputError(f"expected rigs of different names to calibrate into {output}, got two of one name; calibrate one at a time")
    chosen = choose_device(device)
    with warnings_as_lines(), repeatable_convolutions():
        # Everything is read before anything is measured: a missing file must not cost minutes.
        opened = {path: open_rig([path], generator, face_reconstruction, face_model).to(chosen) for path in rig}
        judge_network = None if judge is None else load_judge(judge).to(chosen)
        if not overwrite:
            for path, parts in opened.items():
                _check_new(where[path], parts)
        for path, parts in opened.items():
            asked = asked_controls(parts.rig.components, parts.face_model, controls)
            reader = _reader(judge_network, landmarker, parts)
            curves = _portrait_curves(judge_network, asked, parts, portraits)
            calibration = measure(
                parts.rig,
                parts.generator,
                parts.face_model,
                reader,
                asked,
                curves,
                PairRecipe(seed=seed),
                codes,
                samples,
                batch_size,
                _say,
            )
            written = save_calibration(where[path], calibration)
            figures = write_figures(written.with_suffix(""), calibration_figures(calibration), alone=True)
            print(calibration_table(calibration))
            print(f"calibration of {path} in {written}, figures in {figures}", flush=True)


def _place(rig: Path, output: Path | None) -> Path:
    """Where the calibration of a rig goes."""
    return calibration_path(locate(rig)) if output is None else output / f"{rig.stem}{SUFFIX}"


def _check_new(place: Path, parts: OpenedRig) -> None:
    """Refuse to replace minutes of measuring; what is broken or of other weights is of no use to anybody."""
    if not place.exists():
        return
    try:
        earlier = load_calibration(place)
    except InputError:
        return
    if earlier.weights == rig_digest(_network(parts)):
        raise InputError(
            f"expected no calibration of these weights, {place} has one of {', '.join(earlier.names)}; name another --output, or give "
            "--overwrite"
        )


def _network(parts: OpenedRig) -> RigNetwork:
    network = parts.rig.networks[0]
    assert isinstance(network, RigNetwork)
    return network


def _reader(judge: Judge | None, landmarker: str | None, parts: OpenedRig) -> Reader:
    if judge is not None:
        _check_judge(judge, parts.face_model)
        return JudgeReader(judge)
    if landmarker is not None:
        network = load_landmark_detector(landmarker).to(parts.generator.mean_w.device)
        return LandmarkReader(network, parts.face_model, parts.camera)
    return ReconstructionReader(parts.rig.face_reconstruction, _network(parts).parameter_std)


def _check_judge(judge: Judge, face_model: MorphableModel) -> None:
    """Coefficients mean something under one face model alone."""
    names_differ = judge.expression_names and judge.expression_names != tuple(face_model.expression_names)
    if judge.sizes != face_model.sizes or names_differ:
        raise InputError(
            "expected a judge that reads coefficients of the rig's face model, got one of another; give --judge null, and a --landmarker"
        )


def _portrait_curves(
    judge: Judge | None, asked: Sequence[AskedControl], parts: OpenedRig, portraits: int
) -> dict[str, ControlCurve]:
    """What the judge reads of portraits with known values, where these show the rig's face model."""
    if judge is None or portraits == 0:
        return {}
    sampler = PortraitSampler()
    if tuple(sampler.face_model.expression_names) != tuple(parts.face_model.expression_names):
        _say("the portraits show another face model than the rig's: the judge is not measured on them")
        return {}
    _say(f"reading {portraits} portraits of known values for each slider")
    return judge_curves(judge, sampler.to(parts.generator.mean_w.device), asked, parts.generator.resolution, portraits)


def _say(text: str) -> None:
    print(f"calibrate: {text}", flush=True)
