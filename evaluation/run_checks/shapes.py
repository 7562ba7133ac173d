"""Check that the parts of a run fit each other: networks and generator, sizes of pictures, faces and batches, checkpoint and model."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pytorch_lightning import LightningDataModule, LightningModule, Trainer
from torch import nn

from datamodules.latent_pairs import LatentPairDataModule
from datamodules.photo_folder import check_photos, find_photos, split_photos
from datamodules.portrait_data import PortraitDataModule
from evaluation.run_checks.kinds import Artefact
from evaluation.run_checks.report import Check, failed, failed_by
from evaluation.run_checks.trial_config import image_size_of
from lightning_modules.checkpointing import AtomicCheckpointIO
from lightning_modules.stylefaceuv import StyleFaceUV
from lightning_modules.stylefaceuv_checks import check_pairs
from models.stylegan2 import Discriminator, Generator, load_generator
from models.stylegan2.digest import generator_digest
from renderers.errors import InputError

# Parameters of data modules that say how many samples a pass of training has.
_SAMPLES = ("train_pairs", "num_samples")


def check_provenance(artefacts: Mapping[str, Artefact]) -> list[Check]:
    """Whether networks that were trained for one generator are used with that one; read from the files alone. Those that take pictures
    are for any."""
    trained = {key: digest for key, artefact in artefacts.items() if (digest := _generator_of(artefact)) is not None}
    checks: list[Check] = []
    loaded: dict[str, Generator] = {}
    for key, wanted in trained.items():
        artefact = artefacts[key]
        # The generator that stands beside it in the same class; of a callback, the model's.
        places = (f"{key.rpartition('.')[0]}.generator", "model.generator")
        beside = next((place for place in places if place in artefacts and artefacts[place].kind == "generator"), None)
        if beside is None:
            continue
        if beside not in loaded:
            loaded[beside] = load_generator(artefacts[beside].path)
        generator = loaded[beside]
        present = generator_digest(generator)
        name = f"{key} for {beside}"
        if wanted == present:
            checks.append(Check(name, "ok", f"trained for these weights ({present[:12]})"))
        else:
            advice = f"name the generator that it was trained for, or train anew for this one (--{key} null where that is allowed)"
            layers, width = artefact.config.get("num_layers"), artefact.config.get("w_dim")
            sizes = "" if layers is None or width is None else f", {layers} layers x {width}"
            expected = f"the generator that {artefact.path} was trained for (weights {wanted[:12]}{sizes})"
            got = (
                f"{artefacts[beside].path} (weights {present[:12]}, {generator.num_layers} layers x {generator.w_dim})"
            )
            checks.append(failed(name, expected, got, advice))
    return checks


def _generator_of(artefact: Artefact) -> str | None:
    """`generator_digest` of the generator that a file belongs to; None where it is for any, or does not say."""
    if artefact.kind == "linear directions":
        return str(artefact.config["generator_digest"])
    provenance = artefact.config.get("provenance")
    digest = None if provenance is None else provenance.get("generator")
    return None if digest is None else str(digest)


def check_shapes(model: LightningModule, data: LightningDataModule | None, options: Mapping[str, Any]) -> list[Check]:
    """Whether sizes agree between what was built.

    Args:
        model: What is trained.
        data: What it is trained on.
        options: Arguments of the class of its data.
    """
    checks: list[Check] = []
    children = dict(model.named_children())
    generator, discriminator = children.get("generator"), children.get("discriminator")
    if isinstance(generator, Generator):
        text = f"generator of {generator.resolution} px, {generator.num_layers} layers x {generator.w_dim}, latents of {generator.z_dim}"
        image_size = options.get("image_size")
        if image_size not in (None, generator.resolution):
            advice = f"--data.image_size {generator.resolution}, or a generator with channels for {image_size} px"
            checks.append(
                failed("image size", f"data of the generator's {generator.resolution} px", f"{image_size} px", advice)
            )
        elif isinstance(data, LatentPairDataModule):
            checks.append(Check("codes and images", "ok", f"{text}, which makes both"))
        else:
            checks.append(Check("codes and images", "ok", f"{text}; data of the same size"))
    size = image_size_of(options, model)
    if isinstance(data, PortraitDataModule) and size is not None:
        checks.append(_check_photos(data, size))
    if isinstance(model, StyleFaceUV):
        checks += _check_parts(model, options.get("batch_size"))
    elif isinstance(discriminator, Discriminator):
        checks += _check_groups(discriminator, options.get("batch_size"))
    return [*checks, *_check_faces(children)]


def check_batch(options: Mapping[str, Any], trainer: Trainer) -> Check:
    """Size of a step over all processes, and whether every process has a batch."""
    batch, ranks = options.get("batch_size"), trainer.world_size
    if not isinstance(batch, int):
        return Check("batch", "note", "the data name no batch_size: its size over all processes is not known")
    samples = next((options[name] for name in _SAMPLES if isinstance(options.get(name), int)), None)
    if samples is not None and samples // ranks < batch:
        advice = f"--data.batch_size {max(samples // ranks, 1)} or lower, or give more samples"
        return failed(
            "batch", f"at least {batch} training samples for each of {ranks} processes", f"{samples} in all", advice
        )
    accumulated = trainer.accumulate_grad_batches
    parts = f"{batch} x {ranks} process{'es' if ranks > 1 else ''}" + (
        f" x {accumulated} accumulated" if accumulated > 1 else ""
    )
    text = f"{parts} = {batch * ranks * accumulated} samples per step"
    return Check("batch", "ok", text if samples is None else f"{text}, {samples} in a pass")


def check_checkpoint(path: Path, model: LightningModule) -> Check:
    """Whether a checkpoint's tensors are those of the model."""
    try:
        checkpoint = AtomicCheckpointIO().load_checkpoint(path)
    except InputError as error:
        return failed_by("checkpoint", error)
    given = {name: tuple(value.shape) for name, value in checkpoint["state_dict"].items()}
    own = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    differing = sorted(name for name in own.keys() | given.keys() if own.get(name) != given.get(name))
    if differing:
        name = differing[0]
        return failed(
            "checkpoint",
            f"the {len(own)} tensors of {type(model).__name__}",
            f"{path}, of which {len(differing)} differ: {name} {given.get(name, 'missing')} for {own.get(name, 'none')}",
            "use the config saved beside the checkpoint",
        )
    return Check("checkpoint", "ok", f"{path}: {len(own)} tensors that fit, step {checkpoint.get('global_step')}")


def _check_photos(data: PortraitDataModule, image_size: int) -> Check:
    try:
        photos = find_photos(data.root)
        check_photos(photos, image_size)
        train, held_out = split_photos(photos, data.root, data.validation_fraction)
    except InputError as error:
        return failed_by("photos", error)
    shown = len(train) * (1 + data.flip)
    if shown < data.batch_size:
        advice = f"--data.batch_size {shown} or lower, or more photos"
        return failed("photos", f"at least one batch of {data.batch_size}", f"{shown} with mirrored ones", advice)
    counts = f"{len(train)} for training{', each also mirrored' if data.flip else ''}, {len(held_out)} held out"
    return Check("photos", "ok", f"{counts}; all square, of {image_size} px or more")


def _check_groups(discriminator: Discriminator, batch: Any) -> list[Check]:
    group = discriminator.deviation_group
    if not isinstance(batch, int) or group is None:
        return []
    if batch % min(group, batch):
        lower = batch - batch % group
        advice = f"--data.batch_size {lower} or {lower + group}"
        return [
            failed(
                "deviation group",
                f"a batch that is a multiple of the discriminator's deviation_group {group}",
                f"{batch}",
                advice,
            )
        ]
    return [Check("deviation group", "ok", f"batch {batch} in groups of {min(group, batch)}")]


def _check_parts(model: StyleFaceUV, pairs: Any) -> list[Check]:
    """As `_check_groups`, of the codes of pairs in the parts that a batch is worked through in."""
    if not isinstance(pairs, int) or model.settings.adversarial == 0:
        return []
    try:
        check_pairs(pairs, model.settings, model.discriminator)
    except InputError as error:
        return [failed_by("deviation group", error)]
    parts = min(model.settings.parts, 2 * pairs)
    return [Check("deviation group", "ok", f"{2 * pairs} codes in {parts} part{'s' if parts > 1 else ''}")]


def _check_faces(children: Mapping[str, nn.Module]) -> list[Check]:
    face_model = children.get("face_model")
    sizes = getattr(face_model, "sizes", None)
    if sizes is None:
        return []
    others = {name: getattr(child, "sizes", sizes) for name, child in children.items()}
    differing = {name: other for name, other in others.items() if other != sizes}
    if differing:
        name, other = next(iter(differing.items()))
        advice = "name a face model of that size, or train anew for this one"
        return [failed("face model", f"the face model that {name} was trained for ({other})", f"{sizes}", advice)]
    parts = f"{sizes.identity} identity + {sizes.expression} expression + {sizes.reflectance} reflectance coefficients"
    return [Check("face model", "ok", f"{parts}, {sizes.total} parameters in all")]
