"""How the parameters of a generator's faces are distributed (StyleRig Fig. 6): what the teacher knows, and so what a rig can learn."""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from datamodules.portraits import PortraitSampler
from evaluation.figures import Cell, Figure
from evaluation.plots import bar_plot, line_plot
from evaluation.stylerig.edit_sizes import edit_size
from evaluation.stylerig.rig_under_test import RigUnderTest, check_judge
from evaluation.stylerig.unseen_codes import unseen_batches, unseen_parameters
from models.morphable import FaceParameters, MorphableModel
from models.observers.judge import correlation
from renderers.errors import InputError
from renderers.protocols import FaceModel

SUMMARY = "parameter_distribution"

_COMPONENTS = ("rotation", "expression", "illumination")
# Portraits by seed: the judge and the generator were trained on those of smaller ones.
_PORTRAIT_SEED = 91_000
_FACES = "F on codes"
_PORTRAITS = "portraits, true"
_JUDGE = "judge on pictures"


@torch.no_grad()
def parameter_distribution(
    rut: RigUnderTest, codes: int = 20_000, judged: int = 1000, portraits: bool = False
) -> list[Figure]:
    """Fig. 6: mean and variance of the rotation, expression and illumination that F reads of codes, and a summary.

    Args:
        rut: What is looked at; its judge, where there is one, reads pictures of some of the same codes.
        codes: Codes of the test split; the paper takes 20,000 of its training, which are drawn alike.
        judged: Of these, how many pictures the judge reads.
        portraits: Also give the true parameters of as many portraits, from which the demo's generator learnt.

    Raises:
        InputError: for fewer than 4 codes, or portraits or a judge of another face model.
    """
    sources = {_FACES: FaceParameters.unpack(unseen_parameters(rut, codes), rut.face_model.sizes)}
    if portraits:
        sources[_PORTRAITS] = _true_parameters(rut, codes)
    correlations: dict[str, Tensor] = {}
    if rut.judge is not None:
        sources[_JUDGE], same = _judged(rut, min(judged, codes))
        correlations = {
            name: correlation(_in_shown_units(sources[_JUDGE], name), _in_shown_units(same, name))
            for name in _COMPONENTS
        }
    names = {
        "rotation": ("pitch_deg", "yaw_deg", "roll_deg"),
        "expression": rut.face_model.expression_names,
        "illumination": tuple(f"{channel}_{index}" for channel in ("red", "green", "blue") for index in range(9)),
    }
    figures = [
        _component_figure(
            name,
            names[name],
            {source: _in_shown_units(parameters, name) for source, parameters in sources.items()},
            correlations.get(name),
        )
        for name in _COMPONENTS
    ]
    return [*figures, _summary(sources, rut.renderer.face_model)]


def _in_shown_units(parameters: FaceParameters, component: str) -> Tensor:
    values: Tensor = getattr(parameters, component)
    # On the CPU, as Apple's devices have no float64 and quantiles of many values are slow elsewhere.
    return (values.rad2deg() if component == "rotation" else values).float().cpu()


def check_portraits(face_model: MorphableModel) -> None:
    """Raise InputError unless the parameters of a face model mean the same as those of portraits."""
    if PortraitSampler("coarse").face_model.expression_names != face_model.expression_names:
        raise InputError(
            "expected the shipped face model to compare with portraits, got one of other expressions; set portraits to false"
        )


def _true_parameters(rut: RigUnderTest, count: int, batch_size: int = 1000) -> FaceParameters:
    check_portraits(rut.face_model)
    sampler = PortraitSampler("coarse").to(rut.device)
    people = torch.arange(count)
    return FaceParameters.cat(
        [
            sampler.face_parameters(sampler.latents(part, torch.zeros_like(part), _PORTRAIT_SEED))
            for part in people.split(batch_size)
        ]
    )


def _judged(rut: RigUnderTest, count: int) -> tuple[FaceParameters, FaceParameters]:
    """What the judge reads of pictures, and F of their codes."""
    judge = rut.judge
    assert judge is not None
    check_judge(judge, rut.face_model)
    readings, own = [], []
    for pairs in unseen_batches(rut, count // 2, 25):
        codes = torch.cat([pairs.w, pairs.v])
        seen = judge(rut.pictures(codes))
        faces = rut.face_reconstruction.parameters_of(codes)
        own.append(faces)
        readings.append(
            faces.replace(rotation=seen.rotation, expression=seen.expression, illumination=seen.illumination)
        )
    return FaceParameters.cat(readings), FaceParameters.cat(own)


def _component_figure(
    component: str, names: tuple[str, ...], sources: Mapping[str, Tensor], agreement: Float[Tensor, " values"] | None
) -> Figure:
    columns: list[str] = ["coefficient"]
    numbers: list[Tensor] = []
    for source, values in sources.items():
        prefix = {_FACES: "f", _PORTRAITS: "portraits", _JUDGE: "judge"}[source]
        columns += [f"{prefix}_{name}" for name in ("mean", "variance", "std", "q01", "q99")]
        low, high = values.quantile(torch.tensor([0.01, 0.99]), dim=0)
        numbers += [values.mean(dim=0), values.var(dim=0), values.std(dim=0), low, high]
    if agreement is not None:
        columns.append("correlation_of_f_and_judge")
        numbers.append(agreement)
    rows: list[tuple[Cell, ...]] = [
        (name, *(float(values[index]) for values in numbers)) for index, name in enumerate(names)
    ]
    unit = {"rotation": "degrees", "expression": "units of the face model", "illumination": "SH coefficients"}[
        component
    ]
    counts = ", ".join(f"{source} ({len(values)})" for source, values in sources.items())
    return Figure(
        name=f"parameter_distribution_{component}",
        title=f"Distribution of the {component} over codes (StyleRig Fig. 6)",
        caption=(
            f"Mean, and one standard deviation to both sides, of each coefficient, in {unit}: {counts}. q01 and q99 bound the middle 98 %. "
            "What hardly varies here cannot be learnt from this generator."
        ),
        columns=tuple(columns),
        rows=tuple(rows),
        picture=_picture(component, names, sources, unit),
    )


def _picture(component: str, names: tuple[str, ...], sources: Mapping[str, Tensor], unit: str) -> Image.Image:
    means = {source: values.mean(dim=0) for source, values in sources.items()}
    stds = {source: values.std(dim=0) for source, values in sources.items()}
    if component == "rotation":
        heights, whiskers = ({source: each.tolist() for source, each in values.items()} for values in (means, stds))
        return bar_plot(["pitch", "yaw", "roll"], heights, unit, whiskers)
    places = [float(index) for index in range(len(names))]
    return line_plot(
        {source: (places, mean.tolist()) for source, mean in means.items()},
        "coefficient",
        unit,
        {source: ((means[source] - std).tolist(), (means[source] + std).tolist()) for source, std in stds.items()},
    )


def _summary(sources: Mapping[str, FaceParameters], face_model: FaceModel) -> Figure:
    """Spreads in one table."""

    def spreads(parameters: FaceParameters) -> dict[str, float]:
        angles = _in_shown_units(parameters, "rotation").std(dim=0).tolist()
        mean = parameters.expression.mean(dim=0, keepdim=True).expand_as(parameters.expression)
        deformation = edit_size("expression", parameters, parameters.replace(expression=mean), face_model)
        return {
            **dict(zip(("pitch_deg", "yaw_deg", "roll_deg"), angles, strict=True)),
            "expression_dm": float(deformation.square().mean().sqrt()),
            "illumination": float(parameters.illumination.var(dim=0).sum().sqrt()),
        }

    columns = {_FACES: "f_std", _PORTRAITS: "portraits_std", _JUDGE: "judge_std"}
    found = [spreads(parameters) for parameters in sources.values()]
    return Figure(
        name=SUMMARY,
        title="Spread of the parameters over codes (StyleRig Fig. 6)",
        caption=(
            "Standard deviations: of each angle in degrees; of the expression the root mean square distance of a vertex from its place "
            "under the mean expression, in the face model's unit (decimetres), as different coefficients can make the same face; of the "
            "illumination the root of the summed variances of all coefficients."
        ),
        columns=("parameter", *(columns[source] for source in sources)),
        rows=tuple((name, *(each[name] for each in found)) for name in found[0]),
    )
