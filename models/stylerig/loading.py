"""Networks of StyleRig from files whose kind is not known beforehand."""

from pathlib import Path

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
