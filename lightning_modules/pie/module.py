"""PIE: portraits embedded into codes that a rig can edit (Tewari et al., SIGGRAPH Asia 2020, section 4)."""

import hashlib
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import LightningModule
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn

from datamodules.portrait_batches import EmbeddedBatch, EmbeddingDataModule, PortraitStep, portrait_key
from datamodules.portrait_sources import PreparedPortrait
from lightning_modules.face_scene import FaceScene
from lightning_modules.frozen import freeze, leave_unsynchronised
from lightning_modules.pie.description import describe
from lightning_modules.pie.energies import PieEnergies, PieSample
from lightning_modules.pie.optimisation import CodeOptimisation
from lightning_modules.pie.outcomes import EMBEDDINGS, check_embedding, forget_failure, record_failure, write_summary
from lightning_modules.pie.settings import PieSettings
from lightning_modules.pie.states import FOLDER, load_state, save_state
from lightning_modules.reduction import log_means
from lightning_modules.run_folder import folder_of
from models.code_encoder import CodeEncoder
from models.observers import load_face_embedder, load_landmark_detector
from models.perceptual import PerceptualLoss, perceptual_loss
from models.portrait_embedding import SUFFIX, PortraitEmbedding, load_embeddings, save_embedding
from models.stylegan2 import load_generator
from models.stylegan2.digest import generator_digest
from models.stylerig import Provenance, load_rig_network
from models.stylerig.face_encoder import FaceEncoder
from renderers.errors import InputError

# Of AdaDelta: what TensorFlow 1, which the paper used, takes where nothing is said. Under torch's the first steps are ten times as long.
_RHO, _EPSILON = 0.95, 1e-8


class PIE(LightningModule):
    """Minimises E(w) over the codes of portraits; no network is trained.

    Every portrait has an optimisation of its own, however many are batched: energies are summed over the batch, and the optimisers work
    element by element. Each finished portrait is written as ``NAME.safetensors`` (`PortraitEmbedding`) into the folder of embeddings, with
    summary.json and contact_sheet.png at the end. Portraits that are finished there are left out, those that were interrupted go on.

    Ranks share portraits out and never wait for each other: gradients are not synchronised.
    """

    def __init__(
        self,
        generator: str,
        rig: str,
        face_encoder: str,
        landmarker: str,
        embedder: str,
        perceptual: str,
        scene: FaceScene = FaceScene(),
        settings: PieSettings = PieSettings(),
        output: str | None = None,
        code_encoder: str | None = None,
    ) -> None:
        """
        Args:
            generator: StyleGAN2 checkpoint: this project's safetensors, a StyleGAN2-ADA pickle or a rosinality file.
            rig: RigNet that edits its codes (rignet.safetensors); what it controls is the tau of the energies.
            face_encoder: MoFA's encoder (face_encoder.safetensors), for the same face model and camera.
            landmarker: 68-landmark network: this project's safetensors, or a folder with face-api weights.
            embedder: Psi: this project's identity network, or facenet's, see `load_face_embedder`.
            perceptual: Phi: a VGG-16 weights file, `vgg16` for torchvision's download, or `observers` for the shipped networks'
                features.
            scene: Face model, camera and renderer, as the rig was trained.
            settings: Energies and schedule.
            output: Folder of the embeddings; null for `embeddings` in the run's folder.
            code_encoder: code_encoder.safetensors of this generator, for a schedule that starts from it; else null.

        Raises:
            InputError: for files that are missing, broken or do not fit each other.
        """
        super().__init__()
        self.automatic_optimization = False
        self.generator = freeze(load_generator(generator))
        face_model = scene.load_face_model()
        provenance = Provenance.of(self.generator, face_model, scene.camera)
        network = load_rig_network(rig, provenance)
        if settings.weights.uses_rig and not network.is_trained:
            raise InputError(
                f"expected a trained rig, the network in {rig} was never trained and edits nothing; train it first"
            )
        weights = settings.weights
        compares = weights.perceptual > 0
        features: PerceptualLoss | None = None
        if compares:
            features = perceptual_loss(perceptual, reduction="mean" if weights.normalised else "sum")
        recognises = max(weights.recognition, weights.edited_recognition) > 0
        self.energies = freeze(
            PieEnergies(
                self.generator,
                network,
                FaceEncoder.load(face_encoder, provenance),
                load_landmark_detector(landmarker),
                scene.renderer(face_model, self.generator.resolution),
                weights,
                features,
                load_face_embedder(embedder) if recognises else None,
                settings.robust_landmarks,
            )
        )
        if (settings.schedule.start == "encoder") != (code_encoder is not None):
            raise InputError(
                f"expected a code_encoder where the schedule starts from one, and none elsewhere, got start '{settings.schedule.start}' "
                f"with {code_encoder}; correct one of them"
            )
        self.code_encoder = None if code_encoder is None else freeze(CodeEncoder.load(code_encoder, self.generator))
        # What is optimised, (portraits, layers, width): in W the first layer of each portrait at hand. `setup` knows how many.
        self.codes = nn.Parameter(torch.zeros(1, self.generator.num_layers, self.generator.w_dim))
        self.settings, self.output = settings, output
        self._described = describe(
            settings,
            scene,
            {
                "rig": rig,
                "face_encoder": face_encoder,
                "landmarker": landmarker,
                "embedder": embedder if recognises else None,
                "perceptual": perceptual if compares else None,
                "code_encoder": code_encoder,
            },
        )
        self._group: CodeOptimisation | None = None
        # Portraits of a fit that were not embedded, known at its end.
        self.failures = 0

    @property
    def folder(self) -> Path:
        """Where embeddings are written, or read to be tested."""
        return Path(self.output).expanduser() if self.output else folder_of(self.trainer) / EMBEDDINGS

    @property
    def iterations(self) -> int:
        """Of both stages."""
        return self.settings.schedule.iterations

    def iterations_done(self, portrait: PreparedPortrait) -> int:
        """How far a portrait's optimisation came in earlier runs.

        Raises:
            NameTaken: where something else has its file: another portrait of the same name, or no embedding at all.
            InputError: for a portrait that was embedded there with other settings.
        """
        path = self.folder / f"{portrait.name}{SUFFIX}"
        if path.exists():
            check_embedding(path, portrait, self._settings_of_run())
            return self.iterations
        path = self._state_path(portrait)
        state = load_state(path, self._digest(portrait))
        if state is None and path.exists() and self.trainer.is_global_zero:
            print(f"note: {portrait.name} starts anew: its state {path} is broken or of other settings", file=sys.stderr)
        return 0 if state is None else min(state.iteration, self.iterations - 1)

    def embeddings(self) -> list[PortraitEmbedding]:
        """The embeddings of the folder.

        Raises:
            InputError: where there is none, or they are of another generator.
        """
        found = load_embeddings(self.folder)
        if found[0].generator_digest != generator_digest(self.generator):
            raise InputError(
                f"expected embeddings of this generator in {self.folder}, they are of another one; name that generator"
            )
        return found

    def setup(self, stage: str) -> None:
        if not isinstance(getattr(self.trainer, "datamodule", None), EmbeddingDataModule):
            raise InputError(
                "expected a datamodules.portrait_batches.EmbeddingDataModule to embed portraits of, got another; name it"
            )
        frozen = [self.generator, self.energies, *([] if self.code_encoder is None else [self.code_encoder])]
        leave_unsynchronised(self, *frozen)
        # Of one size throughout: distributed training does not notice when a parameter's size changes, and adds up its gradients.
        size = (self._data().batch_size, self.generator.num_layers, self.generator.w_dim)
        self.codes = nn.Parameter(torch.zeros(size, device=self.device))

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        raise InputError(
            "expected no checkpoint to embed portraits, got one: nothing is trained, and interrupted portraits go on from their states in "
            "the folder of embeddings; leave --ckpt_path out"
        )

    def training_step(self, step: PortraitStep, batch_idx: int) -> None:
        if not step.portraits:
            return
        iteration, group = step.iteration, self._group
        if group is None or group.portraits is not step.portraits:
            group = self._group = self._begun(step)
        group.enter(iteration)
        optimiser = self.optimizers()
        assert not isinstance(optimiser, list)
        sample = self.energies.sample(step.v) if self.settings.weights.samples_edits else None
        # Without synchronisation: ranks embed different portraits.
        with optimiser.toggle_model(sync_grad=False):
            energies = self.energies(group.w_plus, group.target, sample)
            optimiser.zero_grad()
            self.manual_backward(energies["total"].sum())
        group.give_up(energies["total"], iteration)
        for parameters in optimiser.optimizer.param_groups:
            parameters["lr"] = self._step_size(iteration)
        optimiser.step()
        self.log_dict({f"train/{name}": value.mean() for name, value in energies.items()}, prog_bar=False)
        self.log("train/energy", energies["total"].detach().mean(), prog_bar=True)
        done = iteration + 1
        if done == self.iterations:
            self._finish(group, sample)
            self._group = None
        elif done % self.settings.save_every == 0:
            for row, portrait in enumerate(group.portraits):
                if row not in group.failed:
                    save_state(self._state_path(portrait), group.state(row, done, self._digest(portrait)))

    def test_step(self, batch: EmbeddedBatch, batch_idx: int) -> None:
        if not batch.embeddings:
            return
        data = self._data()
        images = torch.stack([embedding.pixels for embedding in batch.embeddings]).to(self.device)
        codes = torch.stack([embedding.w_plus for embedding in batch.embeddings]).to(self.device)
        target = self.energies.target(images)
        values = [self.energies(codes, target, self.energies.sample(v)) for v in data.test_codes(batch)]
        means = {name: torch.stack([value[name] for value in values]).mean() for name in values[0]}
        log_means(self, {f"test/{name}": value for name, value in means.items()}, len(codes))

    def configure_optimizers(self) -> OptimizerLRScheduler:
        # Step sizes are set before every step.
        if self.settings.schedule.optimiser == "adadelta":
            return torch.optim.Adadelta([self.codes], lr=self._step_size(0), rho=_RHO, eps=_EPSILON)
        return torch.optim.Adam([self.codes], lr=self._step_size(0))

    def on_fit_end(self) -> None:
        # The summary counts what all ranks have written.
        self.trainer.strategy.barrier()
        if self.trainer.is_global_zero:
            data = self._data()
            self.failures = write_summary(self.folder, data.everything, data.refused, self.generator)
        self.failures = self.trainer.strategy.broadcast(self.failures)

    def pictures(self) -> Tensor | None:
        """What the portraits at hand look like now: (2, B, 3, S, S) in [-1, 1], I and I(w); None between portraits."""
        if self._group is None:
            return None
        with torch.no_grad():
            made = self.generator.synthesis(self._group.w_plus, noise="const").clamp(-1, 1)
        return torch.stack([self._group.target.images, made])

    def _begun(self, step: PortraitStep) -> CodeOptimisation:
        """The portraits of a step at their start, or where their states stand."""
        optimiser = self.optimizers(use_pl_optimizer=False)
        assert isinstance(optimiser, torch.optim.Optimizer)
        for portrait in step.portraits:
            forget_failure(self.folder, portrait)
        target = self.energies.target(step.images)
        group = CodeOptimisation(step.portraits, target, self.codes, optimiser, self.settings.schedule)
        if step.iteration == 0:
            mean = self.generator.mean_w.expand(len(step.portraits), -1)
            group.start(mean if self.code_encoder is None else self.code_encoder(step.images))
            return group
        states = [load_state(self._state_path(portrait), self._digest(portrait)) for portrait in step.portraits]
        found = [state for state in states if state is not None]
        assert len(found) == len(states), "states are looked at when portraits are shared out"
        group.go_on(found)
        return group

    def _step_size(self, iteration: int) -> float:
        schedule = self.settings.schedule
        unit = float(self.generator.std_w.square().mean().sqrt()) if schedule.optimiser == "adam" else 1.0
        return schedule.step_size(iteration) * unit

    @torch.no_grad()
    def _finish(self, group: CodeOptimisation, sample: PieSample | None) -> None:
        """Write the embeddings of portraits, with their energies at the end."""
        energies = self.energies(group.w_plus, group.target, sample)
        codes = group.w_plus.detach().cpu()
        w = codes[:, 0] if group.in_w else None if group.w is None else group.w.cpu()
        for row, portrait in enumerate(group.portraits):
            finite = bool(torch.isfinite(codes[row]).all() and torch.isfinite(energies["total"][row]))
            if row in group.failed or not finite:
                reason = group.failed.get(row, "its code or energy is not finite at the end; lower the step sizes")
                record_failure(self.folder, portrait, reason)
                continue
            embedding = PortraitEmbedding(
                name=portrait.name,
                source=portrait.source,
                origin=dict(portrait.origin),
                w_plus=codes[row].clone(),
                w=None if w is None else w[row].clone(),
                image=portrait.image,
                landmarks=group.target.landmarks[row].cpu(),
                parameters=group.target.parameters[row].cpu(),
                truth=portrait.truth,
                energies={name: float(value[row]) for name, value in energies.items()},
                settings=self._settings_of_run(),
                generator_digest=generator_digest(self.generator),
            )
            save_embedding(self.folder / f"{portrait.name}{SUFFIX}", embedding)
            self._state_path(portrait).unlink(missing_ok=True)

    def _settings_of_run(self) -> dict[str, Any]:
        """What an embedding depends on, as plain JSON values."""
        return {**self._described, "codes": asdict(self._data().recipe)}

    def _digest(self, portrait: PreparedPortrait) -> str:
        text = json.dumps(
            [self._settings_of_run(), generator_digest(self.generator), portrait_key(portrait.image)], sort_keys=True
        )
        return hashlib.sha256(text.encode()).hexdigest()

    def _state_path(self, portrait: PreparedPortrait) -> Path:
        return self.folder / FOLDER / f"{portrait.name}{SUFFIX}"

    def _data(self) -> EmbeddingDataModule:
        data = getattr(self.trainer, "datamodule", None)
        assert isinstance(data, EmbeddingDataModule)
        return data
