"""From the configuration of a run to that of its trial: the same model and data, a few steps, and nothing written outside one folder."""

import copy
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from pytorch_lightning import LightningDataModule, LightningModule

from datamodules.fitted_faces import FittedFacesDataModule
from datamodules.photo_folder import find_photos
from datamodules.portrait_data import PortraitDataModule
from datamodules.portraits.corpus import corpus_folder, shard_is_whole, shard_path
from datamodules.synthetic_portraits import SyntheticPortraitDataModule
from evaluation.run_checks.references import Reference, put
from lightning_modules.lifted_gan import LiftedGanModule
from lightning_modules.run_folder import RunFolder
from lightning_modules.stylefaceuv import StyleFaceUV
from lightning_modules.stylegan2 import StyleGAN2
from lightning_modules.stylerig import StyleRig
from models.morphable import ParameterSizes
from models.stylegan2 import Generator

# Batches of pictures that a trial renders or decodes.
_BATCHES = 2
_TRIAL_TRAINER: dict[str, Any] = {
    "callbacks": [],
    "logger": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
    "enable_checkpointing": False,
    "num_sanity_val_steps": 0,
    "limit_val_batches": 0,
    "val_check_interval": None,
    "check_val_every_n_epoch": 1,
    "min_steps": None,
    "min_epochs": None,
    # The clock ends the trial, after as many passes of the data as its steps take.
    "max_epochs": -1,
    "fast_dev_run": False,
    "max_time": None,
    "profiler": None,
    "default_root_dir": None,
    # One process stands for all: they do the same, apart from exchanging gradients.
    "devices": 1,
    "num_nodes": 1,
    "strategy": "auto",
    "sync_batchnorm": False,
}
# Steps of the fits of a trial, of which a run takes hundreds; and an error that keeps whatever they end at.
_FIT_STEPS = 3
_ANY = 1e9
# Faces of such a trial beyond its batches, and the share of all that is held out.
_SPARE_FACES, _HELD_OUT = 16, 0.25
# The schedule of the learning rate asks for a length, and the trial ends by itself.
_ENOUGH_STEPS = 1_000_000


@dataclass(frozen=True)
class Trial:
    """A trial to run.

    Attributes:
        name: What is trained.
        config: Its configuration.
        notes: What differs from the run, in a sentence each.
        batches: Batches of the run that this trial alone tells the time of; None for the run's own length.
        kept_bytes: Memory that the run holds and the trial does not.
        samples: Training samples of a pass of the run, where the trial has others; else None.
        fits: Faces that the run fits before its first step.
        fit_work: By how much that is more work than the fits of the trial.
    """

    name: str
    config: dict[str, Any]
    notes: tuple[str, ...] = ()
    batches: int | None = None
    kept_bytes: int = 0
    samples: int | None = None
    fits: int = 0
    fit_work: float = 1.0


def trials_of(
    config: dict[str, Any],
    references: Sequence[Reference],
    model: LightningModule,
    data: LightningDataModule | None,
    folder: Path,
) -> list[Trial]:
    """The trials that a run asks for, the run itself last: a run may begin by training another network.

    Args:
        config: Of the run, as plain values.
        references: Files and folders that it names.
        model, data: As built from it.
        folder: All that the trials write goes there.

    Raises:
        InputError: for a folder with fitted faces of something else.
    """
    run = _own_run(config, folder, "run")
    for number, reference in enumerate(reference for reference in references if reference.role == "written"):
        if reference.place[0] != "trainer":
            put(run, reference.place, str(folder / "written" / str(number) / Path(reference.value).name))
    if isinstance(model, (StyleGAN2, StyleFaceUV, LiftedGanModule)):
        # Nothing is drawn between two measured steps.
        run["model"]["init_args"]["sample_every"] = sys.maxsize
    if isinstance(data, FittedFacesDataModule):
        return [_fitting_trial(run, model, data)]
    notes, kept = _shrink_data(run, model, data, folder)
    if config["trainer"].get("callbacks"):
        notes.append("the callbacks of the config are not measured")
    trials: list[Trial] = []
    if isinstance(model, StyleRig) and model.face_reconstruction is None:
        weights = folder / "written" / "face_reconstruction.safetensors"
        trials.append(_face_reconstruction_trial(config, folder, weights))
        run["model"]["init_args"]["face_reconstruction"] = str(weights)
        notes.append("the run trains its face reconstruction first")
    return [*trials, Trial("run", run, tuple(notes), kept_bytes=kept)]


def _own_run(config: dict[str, Any], folder: Path, name: str) -> dict[str, Any]:
    """A copy that runs for some steps and writes nothing outside the folder."""
    trial = copy.deepcopy(config)
    # A run that sets no length is tried without one: some models ask for it.
    given = trial["trainer"]
    steps, epochs = given.get("max_steps", -1), given.get("max_epochs")
    # Lightning ends a run that is given nothing at all after 1000 epochs.
    bounded = (
        steps >= 0 or (given.get("max_time") is None if epochs is None else epochs > 0) or given.get("fast_dev_run")
    )
    given |= _TRIAL_TRAINER | {"max_steps": _ENOUGH_STEPS if bounded else -1}
    trial["run"] = vars(RunFolder(str(folder / "runs"), "trial", name))
    trial["logger"] = {"wandb": "disabled"}
    trial["ckpt_path"] = None
    return trial


def _face_reconstruction_trial(config: dict[str, Any], folder: Path, weights: Path) -> Trial:
    """The training of F that a StyleRig without one begins with (`lightning_modules.nested_reconstruction`)."""
    trial = _own_run(config, folder, "face_reconstruction")
    rig, data = config["model"]["init_args"], config["data"]["init_args"]
    first = rig["face_reconstruction_run"]
    trial["trainer"]["max_steps"] = _ENOUGH_STEPS
    trial["model"] = {
        "class_path": "lightning_modules.face_reconstruction.DifferentiableFaceReconstruction",
        "init_args": {
            **{name: rig[name] for name in ("generator", "landmarker", "scene")},
            "settings": first["settings"],
            "output": str(weights),
        },
    }
    pairs = {name: data[name] for name in ("max_latents", "truncation", "seed") if name in data}
    trial["data"] = {
        "class_path": "datamodules.latent_pairs.LatentPairDataModule",
        "init_args": {"batch_size": first["batch_size"], "train_pairs": first["steps"] * first["batch_size"], **pairs},
    }
    return Trial("face reconstruction", trial, batches=first["steps"])


def _fitting_trial(run: dict[str, Any], model: LightningModule, data: FittedFacesDataModule) -> Trial:
    """A trial that reads the fits that are there, or fits a few faces with few steps where some are missing."""
    options = run["data"]["init_args"]
    missing = data.missing()
    if not missing:
        # Only read.
        options["folder"] = str(data.folder.absolute())
        return Trial("run", run)
    settings = data.settings
    few = min(data.count, max(data.fit_batch_size, _BATCHES * data.batch_size + _SPARE_FACES))
    steps = min(settings.steps, _FIT_STEPS)
    rigid = max(round(settings.rigid_steps * steps / settings.steps), 1)
    shorter = replace(
        settings, rigid_steps=rigid, steps=steps, tolerance=0.0, largest_landmark_error=_ANY, largest_colour_error=_ANY
    )
    # Of so few, that there are a batch to train on and some to hold out.
    options |= {"count": few, "settings": asdict(shorter), "max_yaw_deg": None, "validation_fraction": _HELD_OUT}
    work = missing / few * (settings.rigid_steps + settings.steps) / (rigid + steps)
    samples = round(data.count * (1 - data.validation_fraction))
    taken, wanted = f"{rigid} + {steps}", f"{settings.rigid_steps} + {settings.steps}"
    note = f"the run fits {missing:,} faces first, the trial {few} with {taken} of {wanted} steps"
    kept = (data.count - few) * _bytes_of_a_fit(model, data)
    return Trial("run", run, (note,), kept_bytes=kept, samples=samples, fits=missing, fit_work=work)


def _bytes_of_a_fit(model: LightningModule, data: FittedFacesDataModule) -> int:
    """That a fitted face and its code take in memory; 0 for a model that says nothing of their sizes."""
    generator, sizes = getattr(model, "generator", None), getattr(getattr(model, "face_model", None), "sizes", None)
    if not isinstance(generator, Generator) or not isinstance(sizes, ParameterSizes):
        return 0
    # Codes of one latent are kept once.
    layers = 1 if data.recipe.max_latents == 1 else generator.num_layers
    return 4 * (layers * generator.w_dim + sizes.total)


def _shrink_data(
    run: dict[str, Any], model: LightningModule, data: LightningDataModule | None, folder: Path
) -> tuple[list[str], int]:
    """Spare the trial what the run does once to all its pictures; what to say of that, and how many bytes the others will hold."""
    if isinstance(data, SyntheticPortraitDataModule) and not portraits_are_there(data):
        if isinstance(model, StyleGAN2):
            # The importance of latent numbers asks for more portraits than there are numbers.
            run["model"]["init_args"]["warm_start"]["importance_images"] = 0
        return _shrink_portraits(run, data, folder)
    if isinstance(data, PortraitDataModule):
        return _shrink_photos(run, image_size_of(run["data"].get("init_args") or {}, model), data, folder)
    return [], 0


def image_size_of(data_options: Mapping[str, Any], model: LightningModule) -> int | None:
    """Pixels of pictures that a data module serves: as given, else the generator's."""
    given = data_options.get("image_size")
    return given if isinstance(given, int) else getattr(getattr(model, "generator", None), "resolution", None)


def _shrink_photos(
    run: dict[str, Any], image_size: int | None, data: PortraitDataModule, folder: Path
) -> tuple[list[str], int]:
    """Show the trial some of the photos: where they are kept in memory, decoding all of them takes long."""
    photos = find_photos(data.root)
    few = photos[: _BATCHES * data.batch_size + 1]
    needed = 3 * (image_size or 0) ** 2 * len(photos)
    if len(few) == len(photos):
        return [], 0
    links = folder / "photos"
    for number, photo in enumerate(few):
        # Numbered, since photos of different folders may have one name.
        link = links / f"{number}{photo.suffix}"
        link.parent.mkdir(exist_ok=True)
        link.symlink_to(photo.absolute())
    run["data"]["init_args"]["root"] = str(links)
    if needed > data.cache_gigabytes * 1e9:
        run["data"]["init_args"]["cache_gigabytes"] = 0.0
        return [f"the trial sees {len(few)} of {len(photos)} photos"], 0
    kept = 3 * (image_size or 0) ** 2 * (len(photos) - len(few))
    return [f"the run decodes {len(photos)} photos first, the trial {len(few)}"], kept


def _shrink_portraits(run: dict[str, Any], data: SyntheticPortraitDataModule, folder: Path) -> tuple[list[str], int]:
    """Let the trial render a few portraits where those of the run are not on disk yet."""
    spec = data.specs["train"]
    few = min(spec.num_samples, max(_BATCHES * data.batch_size, spec.samples_per_person))
    options = run["data"].setdefault("init_args", {})
    options |= {"folder": str(folder / "portraits"), "num_samples": few, "num_val_samples": 1, "num_test_samples": 1}
    # Colours and mask; the numbers of a portrait are few beside them.
    kept = 4 * spec.image_size**2 * (spec.num_samples - few) if data.in_memory else 0
    total = sum(each.num_samples for each in data.specs.values())
    return [f"the run renders {total} portraits first, the trial {few}"], kept


def portraits_are_there(data: SyntheticPortraitDataModule) -> bool:
    """Whether all portraits of the run are on disk."""
    return all(
        shard_is_whole(shard_path(corpus_folder(spec, data.folder), spec, shard), len(spec.rows(shard)))
        for spec in data.specs.values()
        for shard in range(spec.shards)
    )
