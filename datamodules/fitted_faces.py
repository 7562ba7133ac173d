"""Codes of a generator with the face parameters that were fitted to their pictures: the labels of StyleFaceUV's F3D (section 3.1)."""

import time
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float, Int64
from pytorch_lightning.utilities import rank_zero_info
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from datamodules.counter_random import sample_keys, uniform
from datamodules.face_fits.objective import FaceFitSettings
from datamodules.face_fits.runs import fit_missing, load_complete, missing_faces, plan_of
from datamodules.face_fits.scene import FitScene
from datamodules.face_fits.shards import FittedFaces, join_shards, load_fitted_faces
from datamodules.face_fits.sources import GeneratedFaces
from datamodules.latent_pairs import PairRecipe
from datamodules.loading import ResumableDataModule, ResumableLoader, batch_as_is
from models.observers import load_landmark_detector
from models.stylegan2 import load_generator
from renderers.errors import InputError

# Of the random numbers that say which codes are held out.
_STREAM = 5


class FittedBatch(NamedTuple):
    """Some codes with what was fitted to their pictures.

    Attributes:
        indices: (batch,) numbers of the codes.
        codes: (batch, layers, width) W+ codes.
        parameters: (batch, total) packed face parameters.
    """

    indices: Int64[Tensor, " batch"]
    codes: Float[Tensor, "batch layers width"]
    parameters: Float[Tensor, "batch total"]


class FittedFaceDataset(Dataset[FittedBatch]):
    """Rows of fitted faces, whole batches at once.

    Args:
        faces: All of them.
        rows: Those that are served.
    """

    def __init__(self, faces: FittedFaces, rows: Int64[Tensor, " rows"]) -> None:
        self.faces, self.rows = faces, rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitems__(self, places: list[int]) -> FittedBatch:
        rows = self.rows[places]
        return FittedBatch(self.faces.indices[rows], self.faces.codes_of(rows), self.faces.parameters[rows])

    def __getitem__(self, place: int) -> FittedBatch:
        return self.__getitems__([place])


class FittedFacesDataModule(ResumableDataModule):
    """Batches of `FittedBatch` from a folder that `lightning fit-faces` writes; what it lacks is fitted first, each rank its share.

    Whether a code is held out follows from its number alone, so a longer set holds out those of a shorter one and others.

    Attributes:
        faces: All that were fitted and kept, after `setup`.
        seconds_fitted: That fitting what was missing took, after `setup`; 0 without a generator.
    """

    def __init__(
        self,
        folder: str,
        generator: str | None = None,
        landmarker: str | None = None,
        count: int = 36_000,
        scene: FitScene = FitScene(),
        preset: Literal["demo", "published"] = "demo",
        settings: FaceFitSettings | None = None,
        max_latents: int = 1,
        truncation: float | None = None,
        code_seed: int = 0,
        fit_batch_size: int = 64,
        shard_size: int = 512,
        batch_size: int = 16,
        validation_fraction: float = 0.1,
        max_yaw_deg: float | None = None,
        seed: int = 0,
        num_workers: int = 0,
    ) -> None:
        """
        Args:
            folder: Of the fitted faces.
            generator: StyleGAN2 checkpoint, for what is missing; null takes what is in the folder as it is.
            landmarker: 68-landmark network, likewise.
            count: Codes that are fitted (36,000 in StyleFaceUV); ignored without a generator.
            scene: Face model, camera and size of the fits.
            preset: Settings of the fits: the demo's, or the published ones.
            settings: Settings of the fits in place of a preset's.
            max_latents: Latents mixed into a code; 1 in StyleFaceUV's release, 5 covers codes whose layers differ.
            truncation: Of the codes; null for none.
            code_seed: Of the codes.
            fit_batch_size: Faces that are fitted together on each rank.
            shard_size: Faces of a file.
            batch_size: Codes per step and rank (16 in StyleFaceUV).
            validation_fraction: Of the codes, held out (a tenth in StyleFaceUV's release); test batches are the same.
            max_yaw_deg: Leave faces out that are turned further; 30 in StyleFaceUV's release, null for none.
            seed: Of the order, and of what is held out.
            num_workers: Worker processes.
        """
        super().__init__()
        if batch_size < 1 or not 0 < validation_fraction < 1:
            raise InputError(
                "expected a batch_size of 1 or more and a validation_fraction between 0 and 1, got "
                f"{batch_size} and {validation_fraction}; correct them"
            )
        if max_yaw_deg is not None and not max_yaw_deg > 0:
            raise InputError(f"expected a max_yaw_deg above 0, got {max_yaw_deg}; leave it out for all faces")
        if (generator is None) != (landmarker is None):
            raise InputError(
                "expected a generator and a landmarker to fit faces with, or neither, got one of them; name the other"
            )
        self.folder, self.generator, self.landmarker, self.count = (
            Path(folder).expanduser(),
            generator,
            landmarker,
            count,
        )
        self.scene, self.settings = scene, settings or FaceFitSettings.preset(preset)
        self.recipe = PairRecipe(code_seed, max_latents, truncation)
        self.fit_batch_size, self.shard_size, self.batch_size = fit_batch_size, shard_size, batch_size
        self.validation_fraction, self.max_yaw_deg, self.seed = validation_fraction, max_yaw_deg, seed
        self.num_workers = num_workers
        self.seconds_fitted = 0.0
        self._faces: FittedFaces | None = None
        self._datasets: dict[str, FittedFaceDataset] = {}

    @property
    def faces(self) -> FittedFaces:
        if self._faces is None:
            raise InputError("expected fitted faces that were read, got none yet; call setup first")
        return self._faces

    @property
    def training_parameters(self) -> Float[Tensor, "rows total"]:
        """Packed parameters of the faces that are neither held out nor left out, after `setup`."""
        return self.faces.parameters[self._datasets["train"].rows]

    def missing(self) -> int:
        """Faces that `setup` would fit.

        Raises:
            InputError: for a folder with fits of something else.
        """
        if self.generator is None or self.landmarker is None:
            return 0
        source = GeneratedFaces(load_generator(self.generator), self.recipe, self.count)
        landmarker, face_model = load_landmark_detector(self.landmarker), self.scene.load_face_model()
        plan = plan_of(source, landmarker, face_model, self.scene, self.settings, self.shard_size)
        return missing_faces(self.folder, plan)

    def setup(self, stage: str) -> None:
        """Fit what is missing, read everything, and part it."""
        if self._faces is not None:
            return
        self._faces = load_fitted_faces(self.folder) if self.generator is None else self._completed()
        if self._faces.codes is None:
            raise InputError(
                f"expected fitted faces of a generator, {self.folder} holds those of photos, which have no codes; name another"
            )
        kept = torch.ones(len(self._faces), dtype=torch.bool)
        if self.max_yaw_deg is not None:
            kept = self._faces.fitted().rotation[:, 1].rad2deg().abs() < self.max_yaw_deg
        held_out = uniform(sample_keys(self.seed, _STREAM, self._faces.indices), 1)[:, 0] < self.validation_fraction
        for name, chosen in (("train", ~held_out), ("validate", held_out)):
            rows = (kept & chosen).nonzero()[:, 0]
            if not len(rows):
                raise InputError(
                    f"expected fitted faces to train on and to hold out, {self.folder} gives {int(kept.sum())}, none of them to {name}; "
                    "fit more, or change validation_fraction"
                )
            self._datasets[name] = FittedFaceDataset(self._faces, rows)

    def train_dataloader(self) -> ResumableLoader:
        dataset = self._datasets["train"]
        sampler = self.rank_sampler(len(dataset), drop_uneven=True, shuffle_seed=self.seed)
        return self.resumable(ResumableLoader(dataset, sampler, self.batch_size, self.num_workers, batch_as_is))

    def val_dataloader(self) -> DataLoader[FittedBatch]:
        dataset = self._datasets["validate"]
        sampler = self.rank_sampler(len(dataset), drop_uneven=False)
        return DataLoader(
            dataset, self.batch_size, sampler=sampler, num_workers=self.num_workers, collate_fn=batch_as_is
        )

    def test_dataloader(self) -> DataLoader[FittedBatch]:
        return self.val_dataloader()

    def _completed(self) -> FittedFaces:
        assert self.generator is not None and self.landmarker is not None
        trainer = self.trainer
        device = torch.device("cpu") if trainer is None else trainer.strategy.root_device
        share = (0, 1) if trainer is None else (trainer.global_rank, trainer.world_size)
        source = GeneratedFaces(load_generator(self.generator).to(device), self.recipe, self.count)
        started = time.monotonic()
        plan = fit_missing(
            self.folder,
            source,
            load_landmark_detector(self.landmarker).to(device),
            self.scene,
            self.settings,
            device,
            self.fit_batch_size,
            self.shard_size,
            share,
            lambda text: rank_zero_info(f"fitting faces: {text}"),
        )
        self.seconds_fitted = time.monotonic() - started
        if trainer is not None:
            trainer.strategy.barrier("fitted faces")
        parts = load_complete(self.folder, plan)
        if parts is None:
            raise InputError(
                f"expected all fitted faces in {self.folder}, some are missing; is the folder one that all ranks share?"
            )
        return join_shards(parts, self.folder)
