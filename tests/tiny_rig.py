"""A rig in a world of 16 pixels, untrained or made by hand, as the figures take it."""

import torch
from torch import Tensor, nn

from datamodules.latent_pairs import PairRecipe
from evaluation.stylerig.rig_under_test import RigUnderTest
from models.morphable import MorphableModel
from models.observers import Judge, LandmarkNet
from models.stylegan2 import Generator
from models.stylerig import FaceReconstruction, RigNet, RigNetwork, SteeringNetwork
from renderers.camera import PerspectiveCamera
from renderers.face_renderer import FaceRenderer
from tests.toy_face import toy_face_model

LAYERS, WIDTH = 6, 12


class LinearFaces(FaceReconstruction):
    """Parameters are a linear reading of the codes, orthonormal for models of few parameters, scaled to plausible faces."""

    def __init__(self, model: MorphableModel) -> None:
        nn.Module.__init__(self)
        self.sizes, self.num_layers, self.w_dim = model.sizes, LAYERS, WIDTH
        rng = torch.Generator().manual_seed(0)
        reading = torch.randn(LAYERS * WIDTH, self.sizes.total, generator=rng) / (LAYERS * WIDTH) ** 0.5
        self.reading = torch.linalg.qr(reading)[0] if self.sizes.total <= len(reading) else reading
        self.scale = torch.full((self.sizes.total,), 0.1)

    def forward(self, codes: Tensor) -> Tensor:
        return codes.flatten(1) @ self.reading * self.scale


@torch.no_grad()
def tiny_generator() -> Generator:
    """Of random weights, with the statistics of its W."""
    torch.manual_seed(0)
    generator = Generator([8, 8, 8], z_dim=10, w_dim=WIDTH, mapping_layers=2)
    codes = generator.mapping(torch.randn(500, 10))
    generator.mean_w.copy_(codes.mean(dim=0))
    generator.std_w.copy_(codes.std(dim=0))
    return generator.eval().requires_grad_(False)


def tiny_judge() -> Judge:
    """Of random weights, for the toy face."""
    torch.manual_seed(1)
    sizes = toy_face_model().sizes
    return (
        Judge(
            sizes.identity,
            sizes.expression,
            sizes.reflectance,
            widths=(4, 8),
            blocks=(1, 1),
            num_features=8,
            working_size=16,
        )
        .eval()
        .requires_grad_(False)
    )


def tiny_rig(network: RigNetwork | None = None, judge: Judge | None = None) -> RigUnderTest:
    """A rig of the toy face whose F is linear; of a RigNet with random weights that controls rotation and expression by default."""
    model = toy_face_model()
    if network is None:
        torch.manual_seed(2)
        network = RigNet(LAYERS, WIDTH, ("rotation", "expression"), model.sizes, latent=4)
        nn.init.normal_(network.decoder_weight, std=0.1)
    torch.manual_seed(3)
    return RigUnderTest(
        generator=tiny_generator(),
        face_reconstruction=LinearFaces(model),
        network=network.requires_grad_(False),
        landmarker=LandmarkNet(working_size=16, widths=(4, 8, 8), blocks=(1, 1)).eval(),
        renderer=FaceRenderer(model, PerspectiveCamera(), 16),
        face_model=model,
        recipe=PairRecipe(0),
        judge=judge,
    )


def exact_steering(component: str) -> SteeringNetwork:
    """The network that edits a component exactly, as `LinearFaces` reads it, and nothing else."""
    model = toy_face_model()
    faces = LinearFaces(model)
    network = SteeringNetwork(LAYERS, WIDTH, (component,), model.sizes)
    part = model.sizes.slice(component)
    columns = faces.reading[:, part] / faces.scale[part]
    network.decoder_weight.data.copy_(columns.T.reshape(-1, LAYERS, WIDTH).transpose(0, 1))
    return network
