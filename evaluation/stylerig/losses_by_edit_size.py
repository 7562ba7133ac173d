"""Edit and consistency losses against the size of the edit (StyleRig, supplement, Fig. 2), and the judge's reading of the same edits."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from evaluation.figures import Cell, Figure
from evaluation.plots import line_plot
from evaluation.stylerig.edit_sizes import EDIT_SIZE_UNITS, Bins, edit_size
from evaluation.stylerig.rig_under_test import RigUnderTest
from evaluation.stylerig.unseen_codes import unseen_batches
from lightning_modules.render_loss import RenderLoss, RenderLossWeights
from lightning_modules.rig_losses import LANDMARK_WEIGHTS
from models.stylerig import preserved_components

SUMMARY = "losses_by_edit_size"


@dataclass(frozen=True)
class EditLosses:
    """Losses of single edits, (edits,) each.

    Attributes:
        component: What was taken from other codes.
        size: How much was asked, by F's reading of both codes: see `evaluation.stylerig.edit_sizes.edit_size`.
        edit, consistency: L_edit and L_consist of section 7.
        edit_unedited: L_edit had nothing been done.
        edit_exact, consistency_exact: Both losses of an edit that F reads as perfect: what F itself leaves.
    """

    component: str
    size: Float[Tensor, " edits"]
    edit: Float[Tensor, " edits"]
    consistency: Float[Tensor, " edits"]
    edit_unedited: Float[Tensor, " edits"]
    edit_exact: Float[Tensor, " edits"]
    consistency_exact: Float[Tensor, " edits"]


@torch.no_grad()
def measure_edit_losses(rut: RigUnderTest, component: str, edits: int = 2500, batch_size: int = 50) -> EditLosses:
    """Take a component of v onto w, over pairs of the test split, and compute the losses of each edit.

    The loss is one and the same for every network, whatever it was trained with, so that networks can be compared: normalised, plain
    squares, with the photometric weight of 1 and the lambda_land of the component that the supplement gives.

    Args:
        rut: What is looked at.
        component: One that its network controls.
        edits: Number of pairs; 2,500 in the paper.
        batch_size: Pairs at a time, whose pictures are made together.
    """
    loss = RenderLoss(rut.renderer, RenderLossWeights(landmark=LANDMARK_WEIGHTS[component]))
    parts = []
    for pairs in unseen_batches(rut, edits, batch_size):
        own, requested = (rut.face_reconstruction.parameters_of(codes) for codes in (pairs.w, pairs.v))
        asked = own.with_components_from(requested, (component,))
        edited = rut.network.edit(pairs.w, own.pack(), asked.pack())
        achieved = rut.face_reconstruction.parameters_of(edited)
        images = rut.pictures(torch.cat([pairs.w, pairs.v]))
        target, landmarks = loss.targets(images, rut.landmarker(images))
        (image_w, image_v), (seen_w, seen_v) = target.chunk(2), landmarks.chunk(2)
        p_edit = requested.with_components_from(achieved, (component,))
        p_consist = own.with_components_from(achieved, preserved_components(component))
        unedited = requested.with_components_from(own, (component,))
        parts.append(
            (
                edit_size(component, own, requested, rut.renderer.face_model),
                loss.of_each(image_v, seen_v, p_edit).total,
                loss.of_each(image_w, seen_w, p_consist).total,
                loss.of_each(image_v, seen_v, unedited).total,
                loss.of_each(image_v, seen_v, requested).total,
                loss.of_each(image_w, seen_w, own).total,
            )
        )
    return EditLosses(component, *(torch.cat(values).cpu() for values in zip(*parts, strict=True)))


def losses_by_edit_size(rut: RigUnderTest, edits: int = 2500, bins: int = 10) -> list[Figure]:
    """Supplement Fig. 2, per component that the network controls, and a summary of all.

    Args:
        rut: What is looked at.
        edits: Pairs; 2,500 in the paper.
        bins: Bins of equally many edits, from the smallest to the largest.

    Raises:
        InputError: for fewer edits than bins.
    """
    measured = [measure_edit_losses(rut, component, edits) for component in rut.components]
    kind = "all-in-one network" if len(rut.components) > 1 else "single network"
    return [*(_component_figure(losses, bins, kind) for losses in measured), _summary(measured, bins, kind)]


def _component_figure(losses: EditLosses, count: int, kind: str) -> Figure:
    component = losses.component
    bins = Bins(losses.size, count)
    means = {
        "edit_loss": bins.mean(losses.edit),
        "consistency_loss": bins.mean(losses.consistency),
        "edit_loss_unedited": bins.mean(losses.edit_unedited),
        "edit_loss_exact": bins.mean(losses.edit_exact),
        "consistency_loss_exact": bins.mean(losses.consistency_exact),
    }
    columns = {
        **means,
        "edit_loss_standard_error": bins.standard_error(losses.edit),
        "consistency_loss_standard_error": bins.standard_error(losses.consistency),
    }
    centres = bins.mean(losses.size)
    # The loss of unedited codes is in the table alone: it is so much larger that it would flatten the others.
    lines = {
        "edit": means["edit_loss"],
        "consistency": means["consistency_loss"],
        "edit, F exact": means["edit_loss_exact"],
        "consistency, F exact": means["consistency_loss_exact"],
    }
    return Figure(
        name=f"losses_by_edit_size_{component}",
        title=f"Losses against the size of edits of the {component}, {kind} (StyleRig, supplement, Fig. 2)",
        caption=(
            f"Means over bins of equally many of {len(losses.size)} mixings of unseen pairs; bands are one standard error. The loss is the "
            f"same for all networks: per pixel, plain squares, lambda_land {LANDMARK_WEIGHTS[component]:g}. 'F exact' are the losses "
            "where F reads just what was asked, 'unedited' in the table those of doing nothing. Sizes are by F's reading: "
            f"{EDIT_SIZE_UNITS[component]}."
        ),
        columns=(*Bins.COLUMNS, *columns),
        rows=bins.rows(columns),
        picture=line_plot(
            {name: (centres, values) for name, values in lines.items()},
            f"size of the edit: {EDIT_SIZE_UNITS[component]}",
            "loss",
            {"edit": bins.band(losses.edit), "consistency": bins.band(losses.consistency)},
        ),
    )


def _summary(measured: list[EditLosses], count: int, kind: str) -> Figure:
    rows: list[tuple[Cell, ...]] = []
    for losses in measured:
        bins = Bins(losses.size, count)
        edit, consistency = bins.mean(losses.edit), bins.mean(losses.consistency)
        means = (losses.edit.mean(), losses.edit_unedited.mean(), losses.consistency.mean())
        rows.append(
            (losses.component, *(float(value) for value in means), edit[0], edit[-1], consistency[0], consistency[-1])
        )
    return Figure(
        name=SUMMARY,
        title=f"Losses of edits, {kind} (StyleRig, supplement, Fig. 2)",
        caption=(
            f"Means over {len(measured[0].size)} mixings of unseen pairs, and over the smallest and the largest of {count} bins of edits."
        ),
        columns=(
            "component",
            "edit_loss",
            "edit_loss_unedited",
            "consistency_loss",
            "edit_loss_smallest",
            "edit_loss_largest",
            "consistency_loss_smallest",
            "consistency_loss_largest",
        ),
        rows=tuple(rows),
    )
