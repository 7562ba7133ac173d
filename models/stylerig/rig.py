"""A rig: networks that control different things, put to work together on W+ codes."""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from models.morphable import FaceParameters, MorphableModel, ParameterSizes
from models.stylerig.parameter_reader import ParameterReader
from models.stylerig.rig_network import CONTROLLABLE, RigNetwork, check_controls
from models.stylerig.sliders import Slider, apply_sliders, coefficients_of, components_of
from renderers.errors import InputError

Estimator = Callable[[Float[Tensor, "batch layers width"]], FaceParameters]

# PIE edits pose first, then illumination and expression (section 5.4). It has no identity geometry: we edit that before, since it
# moves every landmark and the networks after it see what it left.
EDIT_ORDER: tuple[str, ...] = ("identity", "rotation", "illumination", "expression")
# Standard deviations over the training set by which feedback asks for more or less than the target at most. Our choice: PIE has one
# round and no bound, but a target that cannot be reached is missed in every round, and each would ask for more.
FEEDBACK_REACH = 3.0


class Rig(nn.Module):
    """A face reconstruction and one or several rig networks of the same generator and face model.

    A component is controlled by the network that controls the fewest besides: a network of its own goes before one for all, which
    reaches the target less well or keeps the rest less well (StyleRig, supplement 2).

    One call edits any number of components. Networks are applied one after another in `EDIT_ORDER` (of the first component
    that each is to change); each reads the code that the one before it left, and is asked to keep whatever it controls
    without being asked for as F reads it there. A network that is first choice for all that is asked for is applied once.

    Args:
        face_reconstruction: F, or MoFA on the codes' pictures; called F below, too.
        networks: RigNets or others, at least one.

    Raises:
        InputError: for no network, networks of other sizes, or two between which nothing decides.
    """

    def __init__(self, face_reconstruction: ParameterReader, networks: Sequence[RigNetwork]) -> None:
        super().__init__()
        if not networks:
            raise InputError("expected at least one rig network, got none; name a rig's weights")
        mine = (face_reconstruction.num_layers, face_reconstruction.w_dim, face_reconstruction.sizes)
        for network in networks:
            theirs = (network.num_layers, network.w_dim, network.sizes)
            if theirs != mine:
                raise InputError(
                    f"expected a rig of (layers, width, sizes) {mine} as the face reconstruction's, got {theirs}; "
                    "take both from one generator and face model"
                )
        self.face_reconstruction = face_reconstruction
        self.networks = nn.ModuleList(networks)
        self._chosen = _choose(networks)

    @property
    def components(self) -> tuple[str, ...]:
        """What can be edited, in the order of `CONTROLLABLE`."""
        return tuple(component for component in CONTROLLABLE if component in self._chosen)

    @property
    def sizes(self) -> ParameterSizes:
        return self.face_reconstruction.sizes

    def network_of(self, component: str) -> RigNetwork:
        """The network that edits a component.

        Raises:
            InputError: where none does.
        """
        check_controls((component,))
        if component not in self._chosen:
            raise InputError(
                f"expected one of {', '.join(self.components)}, which this rig controls, got {component}; "
                f"add a rig that was trained for {component}"
            )
        network = self.networks[self._chosen[component]]
        assert isinstance(network, RigNetwork)
        return network

    def plan(self, components: Sequence[str]) -> tuple[tuple[RigNetwork, tuple[str, ...]], ...]:
        """The networks that an edit of components applies, in order, each with those it changes.

        Raises:
            InputError: for components that no network controls.
        """
        chosen = sorted(check_controls(components), key=EDIT_ORDER.index)
        networks = [self.network_of(component) for component in chosen]
        steps: list[tuple[RigNetwork, tuple[str, ...]]] = []
        for network in dict.fromkeys(networks):
            steps.append((network, tuple(c for c, its in zip(chosen, networks, strict=True) if its is network)))
        return tuple(steps)

    def parameters_of(self, codes: Float[Tensor, "batch layers width"]) -> FaceParameters:
        """What F reads of codes."""
        return self.face_reconstruction.parameters_of(codes)

    def forward(
        self,
        codes: Float[Tensor, "batch layers width"],
        target: FaceParameters,
        components: Sequence[str],
        feedback: int = 0,
        estimator: Estimator | None = None,
        corrected: Bool[Tensor, " total"] | None = None,
    ) -> Float[Tensor, "batch layers width"]:
        """Edited codes, differentiable in codes and target; `edit` is the same for use.

        Feedback is PIE's (section 5): what is read of the edited image, theta_est, tells how far the edit missed;
        the original code is edited again, towards theta + (theta - theta_est). Further rounds add their own miss to that. It
        helps where an edit falls short or overshoots by less than twice what was asked. No coefficient is asked to be further
        from its target than `FEEDBACK_REACH` times its standard deviation in training.

        Args:
            codes: W+ codes.
            target: Parameters asked for, of which those of `components` are looked at; one for all codes or one for each.
            components: What to edit.
            feedback: Rounds of feedback; PIE's is one.
            estimator: Reads edited codes for feedback (for instance from their pictures); F where there is none.
            corrected: Which coefficients feedback corrects; all of the components, as in PIE, where not given.

        Raises:
            InputError: for components that no network controls, a negative number of rounds, or sizes that do not fit.
        """
        if feedback < 0:
            raise InputError(f"expected 0 or more rounds of feedback, got {feedback}; 1 is PIE's")
        steps = self.plan(components)
        if len(target) == 1:
            target = target[torch.zeros(len(codes), dtype=torch.int64, device=target.device)]
        if len(target) != len(codes):
            raise InputError(
                f"expected a target for all or for each of {len(codes)} codes, got {len(target)}; give as many as codes"
            )
        estimate = estimator or self.parameters_of
        aim = target
        edited = self._run(codes, aim, steps)
        wanted = target.pack()
        reach = self._reach(components)
        if corrected is not None:
            reach = torch.where(corrected, reach, 0.0)
        for _ in range(feedback):
            further = aim.pack() + (wanted - estimate(edited).pack())
            aim = FaceParameters.unpack(further.clamp(wanted - reach, wanted + reach), self.sizes)
            edited = self._run(codes, aim, steps)
        return edited

    @torch.no_grad()
    def edit(
        self,
        codes: Float[Tensor, "batch layers width"],
        target: FaceParameters,
        components: Sequence[str],
        feedback: int = 0,
        estimator: Estimator | None = None,
        corrected: Bool[Tensor, " total"] | None = None,
        chunk: int = 1024,
    ) -> Float[Tensor, "batch layers width"]:
        """As `forward`, without gradients and `chunk` codes at a time: for any number of codes.

        Raises:
            InputError: as `forward`, and for chunks of no code.
        """
        if chunk < 1:
            raise InputError(f"expected chunks of 1 code or more, got {chunk}; raise it")
        if len(codes) <= chunk:
            return self(codes, target, components, feedback, estimator, corrected)
        parts = []
        for start in range(0, len(codes), chunk):
            its = target if len(target) == 1 else target[start : start + chunk]
            parts.append(self(codes[start : start + chunk], its, components, feedback, estimator, corrected))
        return torch.cat(parts)

    @torch.no_grad()
    def edit_by(
        self,
        codes: Float[Tensor, "batch layers width"],
        sliders: Sequence[Slider],
        face_model: MorphableModel,
        feedback: int = 0,
        estimator: Estimator | None = None,
        chunk: int = 1024,
    ) -> Float[Tensor, "batch layers width"]:
        """Codes edited by sliders (`apply_sliders`), starting from what F reads; no slider leaves them as they are.

        Feedback corrects the coefficients that the sliders change and no others: it would pay for small drifts of many
        blendshapes with the one that was asked for.

        Raises:
            InputError: as `apply_sliders` and `edit`.
        """
        if not sliders:
            return codes
        own = FaceParameters.cat([self.parameters_of(part) for part in codes.split(chunk)])
        target, components = apply_sliders(own, sliders, face_model), components_of(sliders)
        corrected = coefficients_of(sliders, face_model).to(codes.device)
        return self.edit(codes, target, components, feedback, estimator, corrected, chunk)

    def _reach(self, components: Sequence[str]) -> Float[Tensor, " total"]:
        """How far feedback may leave the target in the coefficients of components; the others are not looked at."""
        reach = torch.zeros_like(self.network_of(components[0]).parameter_std)
        for component in components:
            where = self.sizes.slice(component)
            reach[where] = FEEDBACK_REACH * self.network_of(component).parameter_std[where]
        return reach

    def _run(
        self,
        codes: Float[Tensor, "batch layers width"],
        aim: FaceParameters,
        steps: Sequence[tuple[RigNetwork, tuple[str, ...]]],
    ) -> Float[Tensor, "batch layers width"]:
        for network, components in steps:
            own = self.parameters_of(codes)
            codes = network.edit(codes, own.pack(), own.with_components_from(aim, components).pack())
        return codes


def _choose(networks: Sequence[RigNetwork]) -> dict[str, int]:
    """The network of each component, by position."""
    chosen: dict[str, int] = {}
    for component in CONTROLLABLE:
        able = [position for position, network in enumerate(networks) if component in network.components]
        if not able:
            continue
        fewest = min(len(networks[position].components) for position in able)
        best = [position for position in able if len(networks[position].components) == fewest]
        if len(best) > 1:
            raise InputError(
                f"expected one rig for {component}, got {len(best)} that control it and as much besides; name one of them"
            )
        chosen[component] = best[0]
    return chosen
