"""Networks of StyleRig from files whose kind is not known beforehand."""

from pathlib import Path

from models.stylegan2 import Generator
from models.stylerig.face_encoder import KIND as FACE_ENCODER
from models.stylerig.face_encoder import FaceEncoder, PictureReconstruction
from models.stylerig.face_reconstruction import KIND as FACE_RECONSTRUCTION
from models.stylerig.face_reconstruction import FaceReconstruction
from models.stylerig.parameter_reader import ParameterReader
from models.stylerig.provenance import Provenance
from models.stylerig.rig_network import RigNetwork
from models.stylerig.rignet import RigNet
from models.stylerig.steering import SteeringNetwork
from models.weights import describe_weights
from renderers.errors import InputError

_NETWORKS: tuple[type[RigNetwork], ...] = (RigNet, SteeringNetwork)


def load_rig_network(path: str | Path, present: Provenance) -> RigNetwork:
    """The network of a file that was trained for `present`.

    Raises:
        InputError: for a file that is missing, broken, of another kind, or trained for something else.
    """
    kind = describe_weights(path).kind
    for network in _NETWORKS:
        if kind == network.kind:
            return network.load(path, present)
    raise InputError(
        f"expected a {' or '.join(network.kind for network in _NETWORKS)} file, {path} is of kind '{kind}'; name a rig's weights"
    )


def load_face_reconstruction(path: str | Path, present: Provenance, generator: Generator) -> ParameterReader:
    """What reads the codes of a generator: F where the file holds its weights, MoFA and the generator where it holds a face encoder.

    Args:
        path: The file, as given or relative to the project root.
        present: What the codes and their parameters belong to.
        generator: Makes the pictures that a face encoder looks at; shared, not copied.

    Raises:
        InputError: for a file that is missing, broken, of another kind, or trained for something else.
    """
    kind = describe_weights(path).kind
    if kind == FACE_RECONSTRUCTION:
        return FaceReconstruction.load(path, present)
    if kind == FACE_ENCODER:
        return PictureReconstruction(generator, FaceEncoder.load(path, present))
    raise InputError(
        f"expected a {FACE_RECONSTRUCTION} or {FACE_ENCODER} file, {path} is of kind '{kind}'; "
        "name the weights of a face reconstruction (F) or of a face autoencoder (MoFA)"
    )
