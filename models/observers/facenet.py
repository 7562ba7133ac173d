"""facenet-pytorch's face embedding (Schroff et al. 2015), with weights from a local file or from its own download."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from jaxtyping import Float
from torch import Tensor, nn

from models.observers.interfaces import FaceEmbedder
from models.safe_pickle import read_pickle
from models.weights import fill
from renderers.errors import InputError, reason_of

# facenet-pytorch, examples/lfw_evaluate.ipynb: MTCNN's boxes are enlarged by 14 of the 160 px of the crop, whatever their shape.
FACENET_MARGIN = 14 / (160 - 14)
# Measured by us: MTCNN's box on four FFHQ-aligned portraits, (0.25, 0.17, 0.78, 0.90) within 0.03, with that margin.
FACENET_CROP = (0.23, 0.135, 0.8, 0.935)
# facenet-pytorch, README: the published weights were trained on 160-px crops of MTCNN ...
FACENET_SIZE = 160
# ... standardised as (0..255 - 127.5) / 128 (its `fixed_image_standardization`).
FACENET_SCALE = 127.5 / 128
# facenet-pytorch, README: the sets of people that its downloads were trained on.
FACENET_DOWNLOADS = ("vggface2", "casia-webface")


class FacenetIdentity(FaceEmbedder):
    """InceptionResnetV1 as a face embedder.

    Args:
        network: an `InceptionResnetV1` that returns 512-vectors of 160-px crops.
        crop: as in `FaceEmbedder`.
    """

    embedding_dim = 512
    margin = (FACENET_MARGIN, FACENET_MARGIN)

    def __init__(self, network: nn.Module, crop: Sequence[float] = FACENET_CROP) -> None:
        super().__init__(crop, FACENET_SIZE)
        self.network = network

    def embed_crops(self, crops: Float[Tensor, "batch 3 size size"]) -> Float[Tensor, "batch 512"]:
        return self.network(crops * FACENET_SCALE)


def load_facenet(source: str | Path, crop: Sequence[float] = FACENET_CROP) -> FacenetIdentity:
    """InceptionResnetV1 with its weights, without its classification layer; frozen, in evaluation mode.

    Args:
        source: its `.pt` file, or the name of one of `FACENET_DOWNLOADS`, which facenet-pytorch fetches once and keeps.
        crop: as in `FaceEmbedder`.
    Raises: `InputError` if the file is missing, no state dict, or of another network, or the download fails.
    """
    # Imported here: it takes seconds, and only those who bring such weights need it.
    from facenet_pytorch import InceptionResnetV1

    if str(source) in FACENET_DOWNLOADS:
        try:
            state: object = InceptionResnetV1(pretrained=str(source)).state_dict()
        # Without a connection, with a broken file in its cache, or with one of another network: as many kinds of error.
        except Exception as error:
            raise InputError(
                f"expected facenet-pytorch to download its weights {source}, it could not ({reason_of(error)}); "
                "fetch the .pt file of its releases on another machine and give its path"
            ) from error
    else:
        state = read_pickle(source)
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise InputError(
            f"expected a state dict of InceptionResnetV1 of facenet-pytorch in {source}, got another object; "
            "give its .pt file"
        )
    network = InceptionResnetV1(pretrained=None, classify=False)
    fill(network, {name: value for name, value in state.items() if not name.startswith("logits.")}, source)
    return FacenetIdentity(network, crop).eval().requires_grad_(False)
