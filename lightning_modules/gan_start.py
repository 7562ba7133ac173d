"""What is looked at before a GAN is trained: options, precision, batches, and the weights that it starts from."""

from collections.abc import Mapping

from pytorch_lightning import Trainer

from models.stylegan2.discriminator import Discriminator
from models.stylegan2.generator import Generator
from models.stylegan2.loading import GENERATOR_KIND, load_discriminator
from models.weights import load_weights
from renderers.errors import InputError

# Weights of another meet penalties, noise and pictures in float32.
_PRECISIONS = ("32-true", "16-mixed", "bf16-mixed")


def check_intervals(intervals: Mapping[str, int]) -> None:
    """Refuse intervals below 1, by name.

    Raises:
        InputError: for the first.
    """
    for name, value in intervals.items():
        if value < 1:
            raise InputError(
                f"expected {name} of at least 1, got {value}; raise it (r1_gamma or path_length_weight 0 leaves a penalty out)"
            )


def check_positive(options: Mapping[str, float | None]) -> None:
    """Refuse options that are not positive, by name; None is left out.

    Raises:
        InputError: for the first.
    """
    for name, value in options.items():
        if value is not None and not value > 0:
            raise InputError(f"expected a positive {name}, got {value}; correct it")


def check_weights(r1_gamma: float, path_length_weight: float, mixing_probability: float) -> None:
    """Refuse negative weights of penalties, and what is no probability.

    Raises:
        InputError: for any of them.
    """
    if not (r1_gamma >= 0 and path_length_weight >= 0 and 0 <= mixing_probability <= 1):
        raise InputError(
            "expected an r1_gamma and a path_length_weight of at least 0 and a mixing_probability in 0..1, "
            f"got {r1_gamma}, {path_length_weight} and {mixing_probability}; correct them"
        )


def check_precision(trainer: Trainer) -> None:
    """Refuse weights that are not float32.

    Raises:
        InputError: for another precision of the trainer.
    """
    if trainer.precision not in _PRECISIONS:
        raise InputError(
            f"expected a precision of {', '.join(_PRECISIONS[:-1])} or {_PRECISIONS[-1]} to train a StyleGAN2, got {trainer.precision}; "
            "set trainer.precision to one of them"
        )


def check_batches(trainer: Trainer, discriminator: Discriminator) -> None:
    """Refuse batches that the groups of the minibatch deviation do not divide.

    Raises:
        InputError: for such a batch size of the training loader.
    """
    batch, group = getattr(trainer.train_dataloader, "batch_size", None), discriminator.deviation_group
    if batch is not None and group is not None and batch % min(group, batch):
        raise InputError(
            f"expected a batch that is a multiple of the discriminator's deviation_group {group}, got {batch}; change data.batch_size"
        )


def start_generator(generator: Generator, path: str) -> None:
    """Fill a generator with this project's weights.

    Raises:
        InputError: if the file cannot be read, or is of a generator of another configuration.
    """
    state, config = load_weights(path, GENERATOR_KIND)
    if config != generator.config:
        raise InputError(
            f"expected weights of the generator that the configuration describes, {path} holds {config}; make both the same"
        )
    generator.load_state_dict(state)


def start_discriminator(discriminator: Discriminator, path: str) -> None:
    """Fill a discriminator with weights of any kind that `load_discriminator` reads.

    Raises:
        InputError: if the file cannot be read, or is of a discriminator of another configuration.
    """
    earlier = load_discriminator(path)
    if earlier.config != discriminator.config:
        raise InputError(
            f"expected weights of the discriminator that the configuration describes, {path} holds {earlier.config}; make both the same"
        )
    discriminator.load_state_dict(earlier.state_dict())
