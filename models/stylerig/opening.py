"""A rig from its files: networks, and the generator, face reconstruction and face model that they were trained with."""

import filecmp
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from models.morphable import MorphableModel, ParameterSizes
from models.morphable.loading import is_recorded, load_face_model
from models.stylegan2 import Generator
from models.stylegan2.loading import load_generator
from models.stylerig.loading import load_face_reconstruction, load_rig_network
from models.stylerig.provenance import Provenance
from models.stylerig.rig import Rig
from models.stylerig.rig_network import RigNetwork
from models.stylerig.sources import RigSources
from models.weights import build_from, describe_weights, locate
from renderers.camera import PerspectiveCamera
from renderers.errors import InputError


@dataclass(frozen=True)
class OpenedRig:
    """A rig with all that it belongs to, frozen and checked against each other.

    Attributes:
        generator: Whose codes are edited.
        face_model: That the parameters drive.
        camera: Under which poses were fitted.
        rig: The networks, and F or the face encoder that takes its place.
        provenance: What all of them were trained for.
        sources: Where generator, face reconstruction and face model were read from.
    """

    generator: Generator
    face_model: MorphableModel
    camera: PerspectiveCamera
    rig: Rig
    provenance: Provenance
    sources: RigSources

    def to(self, device: torch.device | str) -> "OpenedRig":
        """The same, all networks moved to a device."""
        self.generator.to(device)
        self.face_model.to(device)
        self.rig.to(device)
        return self


@dataclass(frozen=True)
class _Described:
    path: Path
    provenance: Provenance
    sizes: ParameterSizes
    sources: RigSources | None


def open_rig(
    paths: Sequence[str | Path],
    generator: str | Path | None = None,
    face_reconstruction: str | Path | None = None,
    face_model: str | Path | None = None,
) -> OpenedRig:
    """Open one or several rigs of one generator, and what they belong to.

    Args:
        paths: Files of rig networks.
        generator: StyleGAN2 file; where not given, what the rigs name, and so for the others.
        face_reconstruction: Weights of F, or of the face encoder that takes its place.
        face_model: As `load_face_model` takes it.

    Raises:
        InputError: for files that are missing, damaged or of another kind, rigs of different generators, face models or cameras,
            files of other ones than the rigs were trained for, rigs that name different face reconstructions while none is given,
            and networks that were never trained.
    """
    if not paths:
        raise InputError("expected at least one rig, got none; name a rig's weights")
    described = [_describe(path) for path in paths]
    first = described[0]
    for other in described[1:]:
        try:
            other.provenance.check(first.provenance, str(other.path))
        except InputError as error:
            raise InputError(f"{first.path} and {other.path} do not belong together: {error}") from error
    if face_reconstruction is None:
        _check_one_reconstruction(described)
    sources = RigSources(
        _source("generator", generator, described),
        _source("face_reconstruction", face_reconstruction, described),
        _source("face_model", face_model, described),
    )
    network = load_generator(sources.generator)
    model = load_face_model(sources.face_model, first.sizes)
    camera = PerspectiveCamera(
        first.provenance.focal_length, first.provenance.camera_distance, first.provenance.principal_point
    )
    present = Provenance.of(network, model, camera)
    # Each weights file refuses whatever else it was trained for.
    networks = [_trained(path, present) for path in paths]
    reading = load_face_reconstruction(sources.face_reconstruction, present, network)
    return OpenedRig(network, model, camera, Rig(reading, networks).eval(), present, sources)


def _describe(path: str | Path) -> _Described:
    info = describe_weights(path)
    if "components" not in info.config or "provenance" not in info.config:
        raise InputError(
            f"expected a rig's weights, {info.path} is of kind '{info.kind}'; name a file that StyleRig's training wrote"
        )
    return _Described(
        info.path,
        build_from(path, lambda: Provenance.from_config(info.config["provenance"])),
        build_from(path, lambda: ParameterSizes(**info.config["sizes"])),
        build_from(path, lambda: RigSources.from_config(info.config["sources"])) if "sources" in info.config else None,
    )


def _source(role: str, given: str | Path | None, rigs: Sequence[_Described]) -> str:
    """Where a part is: as given, else the first place that a rig names and where something is."""
    if given is not None:
        return str(given)
    option, what = f"--{role}", role.replace("_", " ")
    named = [str(getattr(rig.sources, role)) for rig in rigs if rig.sources is not None]
    if not named:
        raise InputError(f"expected a rig that says where its {what} is, {rigs[0].path} does not; give {option}")
    for place in named:
        if is_recorded(place):
            return place
    raise InputError(f"expected the {what} of {rigs[0].path} at {named[0]}, found none there; give {option}")


def _check_one_reconstruction(rigs: Sequence[_Described]) -> None:
    """Refuse rigs trained with different F, as far as these are still there.

    One generator may have several, which read codes differently.
    """
    named = [rig for rig in rigs if rig.sources is not None and is_recorded(rig.sources.face_reconstruction)]
    places = [locate(rig.sources.face_reconstruction) for rig in named if rig.sources is not None]
    for rig, place in zip(named[1:], places[1:], strict=True):
        if not filecmp.cmp(places[0], place, shallow=False):
            raise InputError(
                f"expected rigs trained with one face reconstruction, {named[0].path} names {places[0]} and {rig.path} {place}; "
                "give --face_reconstruction with the one to read codes by"
            )


def _trained(path: str | Path, present: Provenance) -> RigNetwork:
    network = load_rig_network(path, present)
    if not network.is_trained:
        raise InputError(
            f"expected a trained rig, the network in {path} was never trained and edits nothing; train it first"
        )
    return network
