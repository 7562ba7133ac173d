"""Edits to true parameters: people whose portraits are known, painted by the demo's generator, asked to look as others truly do."""

from dataclasses import asdict, dataclass
from typing import Any

import torch

from datamodules.portraits import PortraitSampler
from evaluation.picture_readers import CoefficientReader, reading_of, unit_of
from evaluation.reading_changes import median_of
from evaluation.stylerig.edits import edited_by, read_codes
from models.morphable import FaceParameters
from models.stylegan2 import Generator
from models.stylerig import ParameterReader, RigNetwork
from renderers.errors import InputError

# Portraits by seed: those of training and of other measurements have other ones.
_SEED = 95_000


@dataclass(frozen=True)
class KnownPeopleMeasurement:
    """Edits of one component to the truth of other people, medians over people in degrees (rotation) or spreads.

    Attributes:
        component: What was edited.
        reader: Who read the pictures.
        people: Number of edits.
        reconstruction_error: What F reads of a code against the truth of its latent: F's own error, which asking of true parameters
            cannot make up for.
        reading_error: The reading of an unedited picture against the truth of its latent: what the generator and the reader add.
        asked: The reading of an unedited picture against the truth that is asked of it: what the edit has to remove.
        error: The reading of the picture edited to that truth, against it.
        error_of_differences: The same where the true difference between both is asked, added to what F reads of the code: without
            what F gets wrong of everybody alike.
    """

    component: str
    reader: str
    people: int
    reconstruction_error: float
    reading_error: float
    asked: float
    error: float
    error_of_differences: float

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {**asdict(self), "unit": unit_of(self.component)}


def check_paints_portraits(generator: Generator, network: RigNetwork, sampler: PortraitSampler) -> None:
    """Raise InputError unless the generator takes portraits' latents and the network the parameters of their face model."""
    if generator.z_dim != sampler.latent_size or network.sizes != sampler.face_model.sizes:
        raise InputError(
            f"expected a generator that paints portraits from latents of {sampler.latent_size} and a network for "
            f"{sampler.face_model.sizes}, got latents of {generator.z_dim} and {network.sizes}; measure no known people with this generator"
        )


@torch.no_grad()
def edits_of_known_people(
    generator: Generator,
    network: RigNetwork,
    face_reconstruction: ParameterReader,
    reader: CoefficientReader,
    sampler: PortraitSampler,
    component: str,
    people: int,
    seed: int = _SEED,
) -> KnownPeopleMeasurement:
    """Edit the codes of portraits to the true component of other portraits.

    Args:
        generator: Paints the portraits whose latents it is given, approximately.
        network, face_reconstruction: What is measured, and F.
        reader: Reads the pictures.
        sampler: Knows the truth of latents; it draws nothing here.
        component: What is edited.
        people: Number of edits.
        seed: Of the latents.

    Raises:
        InputError: for a generator that was not trained on portraits with their latents.
    """
    check_paints_portraits(generator, network, sampler)
    numbers = torch.arange(2 * people)
    own, source = sampler.latents(numbers, torch.zeros_like(numbers), seed).chunk(2)
    truth, wanted = sampler.face_parameters(own), sampler.face_parameters(source)
    codes = generator.broadcast(generator.mapping(own.to(generator.mean_w)))
    difference = wanted.pack() - truth.pack()

    def to_truth(read: FaceParameters) -> FaceParameters:
        return read.with_components_from(wanted, (component,))

    def by_difference(read: FaceParameters) -> FaceParameters:
        moved = FaceParameters.unpack(read.pack() + difference, network.sizes)
        return read.with_components_from(moved, (component,))

    asked = [edited_by(network, face_reconstruction, codes, change) for change in (to_truth, by_difference)]
    unedited_reading, edited_reading, moved_reading = (read_codes(generator, reader, each) for each in (codes, *asked))
    true_reading, wanted_reading = reading_of(truth), reading_of(wanted)
    read_by_f = reading_of(face_reconstruction.parameters_of(codes))

    return KnownPeopleMeasurement(
        component=component,
        reader=reader.name,
        people=people,
        reconstruction_error=median_of(reader.distance(component, read_by_f, true_reading)),
        reading_error=median_of(reader.distance(component, unedited_reading, true_reading)),
        asked=median_of(reader.distance(component, unedited_reading, wanted_reading)),
        error=median_of(reader.distance(component, edited_reading, wanted_reading)),
        error_of_differences=median_of(reader.distance(component, moved_reading, wanted_reading)),
    )
