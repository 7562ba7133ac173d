"""Which layers of a code an edit changes (StyleRig Fig. 4)."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from evaluation.figures import Cell, Figure
from evaluation.plots import bar_plot
from evaluation.stylerig.layer_effects import by_face_reconstruction, by_judge, layer_effects
from evaluation.stylerig.rig_under_test import RigUnderTest
from evaluation.stylerig.unseen_codes import unseen_batches
from models.morphable import FaceParameters
from models.stylegan2 import Generator

SUMMARY = "layer_changes"

# Karras et al. 2019 (section 3.1): coarse styles feed 4 and 8 pixels, medium ones 16 and 32, fine ones the rest.
_COARSE_UP_TO, _MEDIUM_UP_TO = 8, 32


@dataclass(frozen=True)
class LayerChanges:
    """Changes of codes by mixing one component (section 8.1).

    Attributes:
        component: What was taken from other codes.
        edited: l2 distance between w_hat and w, per edit and layer.
        by_control: What the requested parameters alone cause: the distance between w_hat and the code that the network gives
            where w's own parameters are asked for. What an imperfect L_rec leaves is not in it.
        effect_by_f: Share of each layer in what F sees of the edit: see `evaluation.stylerig.layer_effects`.
        effect_by_judge: Likewise by the judge; None without one.
        judged: Edits behind `effect_by_judge`, the first of all; 0 without a judge.
    """

    component: str
    edited: Float[Tensor, "edits layers"]
    by_control: Float[Tensor, "edits layers"]
    effect_by_f: Float[Tensor, " layers"]
    effect_by_judge: Float[Tensor, " layers"] | None
    judged: int = 0

    @property
    def effect(self) -> Float[Tensor, " layers"]:
        """By the judge where there is one, else by F."""
        return self.effect_by_f if self.effect_by_judge is None else self.effect_by_judge


def layer_resolutions(generator: Generator) -> tuple[int, ...]:
    """Pixels at which each layer of a code acts: 4, 8, 8, 16, 16, ..., and the size of the picture for the last layer, which feeds
    the last conversion to colours alone."""
    return (*(int(layer.resolution) for layer in generator.convolutions), generator.resolution)  # type: ignore[arg-type]


@torch.no_grad()
def measure_layer_changes(rut: RigUnderTest, component: str, mixings: int = 2500, judged: int = 100) -> LayerChanges:
    """Take a component of v onto w, over pairs of the test split.

    Args:
        rut: What is looked at.
        component: One that its network controls.
        mixings: Number of pairs; 2,500 in the paper.
        judged: Of these, how many the judge reads, where there is one: of each a picture for every layer.
    """
    edited, by_control = [], []
    for pairs in unseen_batches(rut, mixings):
        own = rut.face_reconstruction.parameters_of(pairs.w)
        asked = own.with_components_from(rut.face_reconstruction.parameters_of(pairs.v), (component,))
        result, unasked = _edit(rut, pairs.w, own, asked), _edit(rut, pairs.w, own, own)
        edited.append((result - pairs.w).norm(dim=2))
        by_control.append((result - unasked).norm(dim=2))
    effect_by_f = layer_effects(rut, component, by_face_reconstruction(rut, component), mixings)
    effect_by_judge, judged = None, min(judged, mixings) if rut.judge is not None else 0
    if rut.judge is not None:
        effect_by_judge = layer_effects(rut, component, by_judge(rut, component), judged)
    changes = (torch.cat(edited).cpu(), torch.cat(by_control).cpu())
    return LayerChanges(component, *changes, effect_by_f, effect_by_judge, judged)


def _edit(rut: RigUnderTest, codes: Tensor, own: FaceParameters, target: FaceParameters) -> Tensor:
    return rut.network.edit(codes, own.pack(), target.pack())


def centre_of_change(changes: Float[Tensor, " layers"], resolutions: tuple[int, ...]) -> float:
    """Centre of mass of a change over layers, in pixels: the mean of the layers' resolutions on a logarithmic scale, each weighted by
    its change. NaN where nothing changes."""
    scales = changes.new_tensor(resolutions).log2()
    total = float(changes.sum())
    return 2 ** (float((changes * scales).sum()) / total) if total > 0 else math.nan


def layer_changes(rut: RigUnderTest, mixings: int = 2500, judged: int = 100) -> list[Figure]:
    """Fig. 4, per component that the network controls, and a summary of all.

    Args:
        rut: What is looked at.
        mixings: Mixings per component; 2,500 in the paper.
        judged: Of these, how many the judge reads, where there is one.
    """
    resolutions = layer_resolutions(rut.generator)
    measured = [measure_layer_changes(rut, component, mixings, judged) for component in rut.components]
    deviation = float(rut.generator.std_w.norm())
    figures = [_component_figure(changes, resolutions, deviation) for changes in measured]
    return [*figures, _summary(measured, resolutions)]


def _component_figure(changes: LayerChanges, resolutions: tuple[int, ...], deviation: float) -> Figure:
    edits = len(changes.edited)
    mean, std = changes.edited.mean(dim=0), changes.edited.std(dim=0)
    control, control_std = changes.by_control.mean(dim=0), changes.by_control.std(dim=0)
    columns = {
        "change_mean": mean,
        "change_variance": std.square(),
        "change_mean_deviations": mean / deviation,
        "change_std_deviations": std / deviation,
        "control_mean": control,
        "control_variance": control_std.square(),
        "control_mean_deviations": control / deviation,
        "effect_share_by_f": changes.effect_by_f,
    }
    if changes.effect_by_judge is not None:
        columns["effect_share_by_judge"] = changes.effect_by_judge
    return Figure(
        name=f"layer_changes_{changes.component}",
        title=f"Change of the code per layer by edits of the {changes.component} (StyleRig Fig. 4)",
        caption=(
            f"Mean l2 change of each layer's code over {edits} mixings of unseen pairs; whiskers are one standard deviation. Layers count "
            "from 0 and are labelled with the pixels at which they act; the last one feeds colours alone. 'By the control' is the part "
            "that goes back to the parameters asked for, against asking for the code's own. Columns in deviations divide by the length "
            f"of the standard deviation of W, {deviation:.3g}; effect shares say how much of what the edit moves a layer moves alone, by F "
            f"over all mixings{f', by the judge over the first {changes.judged}' if changes.judged else ''}."
        ),
        columns=("layer", "resolution_px", *columns),
        rows=tuple(
            (layer, resolution, *(float(values[layer]) for values in columns.values()))
            for layer, resolution in enumerate(resolutions)
        ),
        picture=bar_plot(
            [f"{layer}: {resolution}" for layer, resolution in enumerate(resolutions)],
            {"whole edit": mean.tolist(), "by the control": control.tolist()},
            "l2 change of the layer's code",
            {"whole edit": std.tolist(), "by the control": control_std.tolist()},
            "layer: pixels",
        ),
    )


def _summary(measured: list[LayerChanges], resolutions: tuple[int, ...]) -> Figure:
    scale = torch.tensor(resolutions)
    coarse, fine = scale <= _COARSE_UP_TO, scale > _MEDIUM_UP_TO

    def row(name: str, kind: str, changes: Float[Tensor, " layers"]) -> tuple[Cell, ...]:
        # A layer that works against the edit carries nothing of it.
        carried = changes.clamp_min(0)
        shares = [float(carried[part].sum() / carried.sum()) for part in (coarse, ~(coarse | fine), fine)]
        return (f"{name}_{kind}", centre_of_change(carried, resolutions), *shares)

    rows = [row("equal", "change", torch.ones(len(resolutions)))]
    for changes in measured:
        rows.append(row(changes.component, "whole_change", changes.edited.mean(dim=0)))
        rows.append(row(changes.component, "change", changes.by_control.mean(dim=0)))
        rows.append(row(changes.component, "effect_by_f", changes.effect_by_f))
        if changes.effect_by_judge is not None:
            rows.append(row(changes.component, "effect_by_judge", changes.effect_by_judge))
    edits = len(measured[0].edited)
    reader, seen = ("F", edits) if measured[0].effect_by_judge is None else ("the judge", measured[0].judged)
    return Figure(
        name=SUMMARY,
        title="Which resolutions carry the effect of an edit (our measure, beside the l2 change of StyleRig Fig. 4)",
        caption=(
            f"Share of each layer in what {reader} sees the component move by in {seen} mixings, the layer's change made alone: not the "
            f"paper's measure, which is in the table's rows named whole_change (l2 of the edit, over {edits} mixings; rows named change "
            "hold the part of it by the control alone); the two need not agree. The centre is the mean resolution on a "
            f"logarithmic scale; coarse is up to {_COARSE_UP_TO} pixels, medium up to {_MEDIUM_UP_TO}, fine above. The first row is an "
            "equal change of all layers."
        ),
        columns=("measure", "centre_px", "coarse_share", "medium_share", "fine_share"),
        rows=tuple(rows),
        picture=bar_plot(
            [f"{layer}: {resolution}" for layer, resolution in enumerate(resolutions)],
            {changes.component: changes.effect.tolist() for changes in measured},
            f"share of the effect, by {reader}",
            x_label="layer: pixels",
        ),
    )
