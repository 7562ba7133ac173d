"""Networks on disk with which PIE embeds pictures of 16 pixels, and runs of it."""

from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import Callback, Trainer
from torch import nn

from datamodules.portrait_batches import EmbeddingDataModule
from lightning_modules.face_scene import FaceScene
from lightning_modules.pie.module import PIE
from lightning_modules.pie.settings import EnergyWeights, PieSettings, Schedule
from models.observers import IdentityNet, save_observer
from models.stylegan2 import load_generator
from models.stylerig import Provenance, RigNet, RigSources
from models.stylerig.face_encoder import FaceEncoder
from tests.tiny_stylerig import quiet_trainer, write_networks

# Without perceptual features: those of the shipped networks are large.
WEIGHTS = EnergyWeights(perceptual=0.0)
SCHEDULE = Schedule(4, 3, "adam", 0.3, 0.1, 0.1, 10)


def write_pie_networks(folder: Path) -> dict[str, str]:
    """A generator, a RigNet of random weights for the pose, and untrained observers, as PIE's arguments name them."""
    written = write_networks(folder)
    generator, scene = load_generator(written["generator"]), FaceScene()
    model = scene.load_face_model()
    torch.manual_seed(5)
    rig = RigNet(generator.num_layers, generator.w_dim, ("rotation",), model.sizes, latent=4)
    nn.init.normal_(rig.decoder_weight, std=0.1)
    encoder = FaceEncoder(model.sizes, (4, 8), (1, 1), 8, 16)
    nn.init.normal_(encoder.readout.weight, std=0.1)
    provenance = Provenance.of(generator, model, scene.camera)
    place = {
        "rig": folder / "rig.safetensors",
        "face_encoder": folder / "face_encoder.safetensors",
        "embedder": folder / "identity.safetensors",
    }
    encoder.save(place["face_encoder"], Provenance.of(None, model, scene.camera))
    rig.save(
        place["rig"], provenance, RigSources(written["generator"], str(place["face_encoder"]), scene.face_model_source)
    )
    save_observer(place["embedder"], IdentityNet(embedding_dim=8, base_width=4, working_size=16))
    return {**written, **{name: str(path) for name, path in place.items()}}


def pie(
    networks: dict[str, str],
    output: Path,
    weights: EnergyWeights = WEIGHTS,
    schedule: Schedule = SCHEDULE,
    save_every: int = 2,
) -> PIE:
    """The module, whose embeddings go to `output`."""
    return PIE(
        **networks,
        perceptual="observers",
        settings=PieSettings(weights, schedule, save_every=save_every),
        output=str(output),
    )


def embed(
    folder: Path,
    module: PIE,
    samples: int = 3,
    batch_size: int = 8,
    callbacks: list[Callback] | None = None,
    **data: Any,
) -> Trainer:
    """Embed the first samples of the generator; the trainer, after its fit."""
    trainer = quiet_trainer(folder, max_epochs=1, enable_checkpointing=False, callbacks=callbacks or [])
    trainer.fit(module, EmbeddingDataModule(samples=samples, batch_size=batch_size, **data))
    return trainer
