"""Edits of any number of codes: what is asked of each, the edited codes, and what is read of them before and after."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from models.latent_directions import LatentMove, move_codes
from models.morphable import FaceParameters
from models.stylerig.calibration import RigCalibration, calibration_beside
from models.stylerig.expressions import expression_controls
from models.stylerig.face_encoder import PictureReconstruction
from models.stylerig.opening import OpenedRig
from models.stylerig.rig_network import CONTROLLABLE
from models.stylerig.sliders import (
    FIXED_SLIDERS,
    Slider,
    apply_sliders,
    coefficients_of,
    component_of,
    components_of,
    read_slider,
    transfer,
    unit_of,
    values_asked,
)
from models.stylerig.support import support_warnings
from renderers.errors import InputError

# What a transferred component is read as; expression and geometry have no few numbers that say it all.
_READ_AS: dict[str, tuple[str, ...]] = {
    "rotation": ("yaw", "pitch", "roll"),
    "illumination": ("light_azimuth", "light_elevation", "light_strength", "light_brightness", "light_warmth"),
}


@dataclass(frozen=True)
class CodeEdit:
    """One edit, asked of many codes: moves along linear directions first, then components of a reference, sliders on top.

    Attributes:
        sliders: Each name once.
        reference: Face parameters of one reference for all codes, or of one for each; None without a transfer.
        transferred: Components taken from it.
        feedback: Rounds of PIE's feedback.
        moves: Along linear directions of different names; what the rig is asked for counts from where they lead.
    """

    sliders: tuple[Slider, ...] = ()
    reference: FaceParameters | None = None
    transferred: tuple[str, ...] = ()
    feedback: int = 0
    moves: tuple[LatentMove, ...] = ()

    def __post_init__(self) -> None:
        if (self.reference is None) != (not self.transferred):
            raise InputError("expected a reference and what to transfer from it, got one without the other; give both")
        names = [move.direction.name for move in self.moves]
        if len(set(names)) < len(names):
            raise InputError(f"expected each direction once, by name, got {', '.join(names)}; keep one of those of one name")

    @property
    def components(self) -> tuple[str, ...]:
        """What it asks of the rig."""
        changed = {*self.transferred, *components_of(self.sliders)}
        return tuple(component for component in CONTROLLABLE if component in changed)

    def with_steps(self, steps: Sequence[Slider | LatentMove]) -> "CodeEdit":
        """The same with further sliders and moves."""
        sliders = [each for each in steps if isinstance(each, Slider)]
        moves = [each for each in steps if isinstance(each, LatentMove)]
        return replace(self, sliders=(*self.sliders, *sliders), moves=(*self.moves, *moves))

    def check_count(self, codes: int) -> None:
        """Raise InputError for references that are neither one for all codes nor one for each."""
        if self.reference is not None and len(self.reference) not in (1, codes):
            raise InputError(
                f"expected one reference, or one for each of {codes} codes, got {len(self.reference)}; name one of them"
            )

    def of_rows(self, rows: slice) -> "CodeEdit":
        """The same asked of some of the codes: of references of their own, those of these codes."""
        if self.reference is None or len(self.reference) == 1:
            return self
        return replace(self, reference=self.reference[rows])

    def target(self, own: FaceParameters, opened: OpenedRig) -> FaceParameters:
        """The parameters asked of codes that are read as `own`."""
        if self.reference is not None:
            own = transfer(own, self.reference.to(own.rotation.device), self.transferred)
        return apply_sliders(own, self.sliders, opened.face_model)

    @torch.no_grad()
    def run(
        self, opened: OpenedRig, codes: Float[Tensor, "batch layers width"]
    ) -> tuple[Float[Tensor, "batch layers width"], FaceParameters, FaceParameters]:
        """Edited codes, what was read of the codes before, and what was asked.

        Feedback corrects the coefficients that sliders change, and all of components that are transferred.
        """
        before = opened.rig.parameters_of(codes)
        moved = move_codes(codes, self.moves)
        own = opened.rig.parameters_of(moved) if self.moves else before
        target = self.target(own, opened)
        if not self.components:
            return moved, before, target
        corrected = coefficients_of(self.sliders, opened.face_model).to(codes.device)
        for component in self.transferred:
            corrected[opened.rig.sizes.slice(component)] = True
        return opened.rig.edit(moved, target, self.components, self.feedback, corrected=corrected), before, target


@dataclass(frozen=True)
class EditedCodes:
    """What came of an edit, on the CPU.

    Attributes:
        codes: Edited W+ codes.
        columns: Names of the numbers of `rows`: of each reading what was asked, and what was read before and after; along directions
            the distance from the hyperplane in spreads.
        rows: One per code.
    """

    codes: Float[Tensor, "codes layers width"]
    columns: tuple[str, ...]
    rows: tuple[tuple[float, ...], ...]


@torch.no_grad()
def edit_codes(
    opened: OpenedRig, codes: Float[Tensor, "codes layers width"], edit: CodeEdit, batch_size: int = 256
) -> EditedCodes:
    """Edit codes batch by batch.

    Args:
        opened: The rig and what belongs to it, on one device.
        codes: W+ codes, on any device.
        edit: What is asked of each.
        batch_size: Codes at a time.

    Raises:
        InputError: for components that the rig does not control, unknown sliders, or a number of references that is neither 1 nor that
            of the codes.
    """
    edit.check_count(len(codes))
    if edit.components:
        opened.rig.plan(edit.components)
    device = opened.generator.mean_w.device
    edited = torch.empty_like(codes, device="cpu")
    readings: list[Tensor] = []
    columns: tuple[str, ...] = ()
    for start in range(0, len(codes), batch_size):
        rows = slice(start, start + batch_size)
        batch = codes[rows].to(device)
        result, own, target = edit.of_rows(rows).run(opened, batch)
        edited[rows] = result.cpu()
        numbers = _readings(own, target, opened.rig.parameters_of(result), edit, opened) | _along(batch, result, edit.moves)
        columns = tuple(numbers)
        readings.append(torch.stack(list(numbers.values()), dim=1).cpu())
    return EditedCodes(edited, columns, tuple(tuple(row) for row in torch.cat(readings).tolist()))


def warnings_for(
    opened: OpenedRig,
    paths: Sequence[Path],
    codes: Float[Tensor, "codes layers width"],
    edit: CodeEdit,
    further: Sequence[Slider] = (),
    batch_size: int = 256,
) -> list[str]:
    """A line for each slider that is asked beyond what the teacher supports: by the calibration beside a rig's file where that slider
    was measured, else by what the rig's training saw. A pose or light that is transferred is looked at as the sliders that it is
    read as; expression and geometry have no few that say it all.

    Args:
        opened: The rig.
        paths: Its files, in the order of its networks.
        codes: What is to be edited.
        edit: What is asked.
        further: Sliders on top, such as the ends of sweeps; one name may be there several times.
        batch_size: Codes at a time.

    Raises:
        InputError: for a broken calibration, or one of other weights.
    """
    asked_of = [*edit.sliders, *further]
    named = {slider.name for slider in asked_of}
    # Moved by nothing from where the transfer puts them.
    transferred = [Slider(name, 0.0, True) for each in edit.transferred for name in _READ_AS.get(each, ()) if name not in named]
    sliders = [*transferred, *asked_of]
    if not sliders:
        return []
    device = opened.generator.mean_w.device
    with torch.no_grad():
        moved = [move_codes(part.to(device), edit.moves) for part in codes.split(batch_size)]
        own = FaceParameters.cat([opened.rig.parameters_of(part) for part in moved])
    own = replace(edit, sliders=()).target(own, opened)
    calibrations: dict[int, RigCalibration | None] = {}
    for position, path in enumerate(paths):
        network = opened.rig.networks[position]
        calibrations[id(network)] = calibration_beside(path, network)  # type: ignore[arg-type]
    lines: list[str] = []
    for slider in sliders:
        calibration = calibrations[id(opened.rig.network_of(component_of(slider.name)))]
        if calibration is not None and slider.name in calibration.names:
            asked = values_asked(slider, own, opened.face_model)
            lines += calibration.warnings_for({slider.name: asked.tolist()})
        else:
            lines += support_warnings(opened.rig, own, [slider], opened.face_model)
    return lines


def _readings(
    own: FaceParameters, target: FaceParameters, achieved: FaceParameters, edit: CodeEdit, opened: OpenedRig
) -> dict[str, Tensor]:
    """Columns of numbers: asked, before and after of each slider and of what transfers are read as."""
    names = [name for component in edit.transferred for name in _READ_AS.get(component, ())]
    names += [slider.name for slider in edit.sliders if slider.name not in names]
    # What a direction is named after is read where the rig's own readings have it, and nothing was asked of it.
    known = {*FIXED_SLIDERS, *expression_controls(opened.face_model)}
    read_only = [move.direction.name for move in edit.moves if move.direction.name in known and move.direction.name not in names]
    columns: dict[str, Tensor] = {}
    for name in (*names, *dict.fromkeys(read_only)):
        label = f"{name}_deg" if unit_of(name) == "degrees" else name
        asked = (("asked", target),) if name in names else ()
        for what, parameters in (*asked, ("before", own), ("after", achieved)):
            columns[f"{label}_{what}"] = read_slider(parameters, name, opened.face_model)
    for component in edit.transferred:
        if component not in _READ_AS:
            # Nothing is asked but to be like the reference: the distance to it, a root mean square over the coefficients.
            wanted = getattr(target, component)
            for what, parameters in (("before", own), ("after", achieved)):
                distance = (getattr(parameters, component) - wanted).square().mean(dim=1).sqrt()
                columns[f"{component}_distance_{what}"] = distance
    return columns


def _along(before: Tensor, after: Tensor, moves: Sequence[LatentMove]) -> dict[str, Tensor]:
    """Distances from the hyperplanes of directions, in spreads; a rig that edits after a move takes codes further, or back."""
    columns = {}
    for move in moves:
        for what, codes in (("before", before), ("after", after)):
            columns[f"along_{move.direction.name}_{what}"] = move.direction.positions(codes)
    return columns


def codes_at_a_time(opened: OpenedRig, pictures: int, codes: int = 256) -> int:
    """How many codes are read together: as many as pictures where these are drawn to be read, else many."""
    return pictures if isinstance(opened.rig.face_reconstruction, PictureReconstruction) else codes
