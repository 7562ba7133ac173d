"""What is looked at before a UV generator is trained: options, bound of displacements, batches and their parts."""

from pytorch_lightning import Trainer

from lightning_modules.face_scene import FaceScene
from lightning_modules.stylefaceuv_settings import UVSettings
from models.stylefaceuv import UVGenerator
from models.stylegan2 import Discriminator
from renderers.errors import InputError


def check_options(scene: FaceScene, settings: UVSettings, step_size: str | None, perceptual: str | None) -> None:
    """Refuse options that contradict each other.

    Raises:
        InputError: for another scene than of triangles at the generator's size, and for files without their part of the training, or a
            part without its file.
    """
    if scene.primitive != "triangles" or scene.image_size is not None:
        raise InputError(
            "expected a scene of triangles at the generator's size for textured faces, got "
            f"primitive {scene.primitive} and image_size {scene.image_size}; set triangles and null"
        )
    if (settings.views == "two") != (step_size is not None):
        raise InputError(
            "expected step_size, the weights of Fyaw, where settings.views is two, and null where it is one, got "
            f"{settings.views} and {step_size}; correct either"
        )
    if (settings.perceptual > 0) != (perceptual is not None):
        raise InputError(
            "expected features as perceptual where settings.perceptual is above 0, and null where it is 0, got "
            f"{perceptual} and {settings.perceptual}; correct either"
        )


def check_stored(settings: UVSettings, scene: FaceScene, network: UVGenerator, path: str) -> None:
    """Refuse settings beside weights that were trained with others.

    Args:
        settings: With the displacement bound asked for, or null.
        scene: With the region asked for.
        network: That the weights were read into.
        path: File of the weights.

    Raises:
        InputError: for a setting that would have no effect.
    """
    surface = network.surface
    asked = (
        ("settings.displacement_bound", settings.displacement_bound, network.displacement_bound, "null"),
        ("scene.region", scene.region, surface.region, surface.region),
        ("settings.closed", settings.closed, surface.closed, str(surface.closed).lower()),
    )
    for name, value, stored, remedy in asked:
        if value is not None and value != stored:
            raise InputError(f"expected the {name} {stored} of {path}, got {value}; set {name} to {remedy}")


def check_parts(trainer: Trainer, settings: UVSettings, discriminator: Discriminator) -> None:
    """Refuse parts of a batch that the groups of the discriminator's minibatch deviation do not divide.

    Args:
        trainer: Its training loader counts pairs, of two codes each.
        settings: With the number of parts.
        discriminator: Left out of the training where its loss weighs nothing.

    Raises:
        InputError: for such a batch size or number of parts.
    """
    pairs = getattr(trainer.train_dataloader, "batch_size", None)
    if pairs is not None and settings.adversarial > 0:
        check_pairs(pairs, settings, discriminator)


def check_pairs(pairs: int, settings: UVSettings, discriminator: Discriminator) -> None:
    """As `check_parts`, of a number of pairs in a batch, where the discriminator is trained."""
    group = discriminator.deviation_group
    if group is None:
        return
    parts = min(settings.parts, 2 * pairs)
    # As `Tensor.tensor_split` cuts.
    sizes = {2 * pairs // parts, -(-2 * pairs // parts)}
    if any(size % min(group, size) for size in sizes):
        raise InputError(
            f"expected parts of a batch of {group} codes, a multiple or fewer, for the discriminator's deviation_group, got "
            f"{2 * pairs} codes in parts of {' and '.join(map(str, sorted(sizes)))}; change data.batch_size or settings.parts"
        )
