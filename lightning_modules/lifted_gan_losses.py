"""The terms of LiftedGAN's losses (section 3.2), each without its weight."""

from collections.abc import Sequence

import torch
import torch.distributed as distributed
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from lightning_modules.lifted_gan_settings import LiftedTraining
from models.lifted_gan import LiftedGAN, LiftedOutput, LiftedRender, LiftedSettings
from models.observers import FaceEmbedder
from models.perceptual import PerceptualLoss
from renderers.errors import InputError

# Radii of the ellipsoid in halves of the picture, and its depth as a part of the range of depth: about a head's; ours.
_ELLIPSOID = (0.55, 0.75, 0.3)


class PictureDistance(nn.Module):
    """d(a, b) of equations 2 to 4: mean absolute difference in [-1, 1] plus lambda_perc times the perceptual distance.

    The latter is the squared distance of feature vectors of unit length, averaged over pixels, layers and scales (appendix B).

    Args:
        weight: lambda_perc.
        perceptual: Features of unit length at each pixel, at the scales; None where the weight is 0.

    Raises:
        InputError: for a weight without features, or the other way round.
    """

    def __init__(self, weight: float, perceptual: PerceptualLoss | None) -> None:
        super().__init__()
        if (weight > 0) != (perceptual is not None):
            raise InputError(
                "expected features as perceptual where settings.perceptual is above 0, and null where it is 0, got "
                f"{'none' if perceptual is None else perceptual.name} and {weight}; correct either"
            )
        self.weight = weight
        self.perceptual = perceptual

    def feature_maps(self, target: Float[Tensor, "batch 3 size size"]) -> list[Tensor]:
        """What targets are compared by, for targets that are compared more than once."""
        if self.perceptual is None:
            return []
        with torch.no_grad():
            return self.perceptual.feature_maps(target)

    def forward(
        self,
        image: Float[Tensor, "batch 3 size size"],
        target: Float[Tensor, "batch 3 size size"],
        mask: Float[Tensor, "batch 1 size size"],
        target_maps: Sequence[Tensor] | None = None,
    ) -> Float[Tensor, ""]:
        """Batch mean of the distance on the pixels of a mask; elsewhere features see the target in both.

        Args:
            image: In [-1, 1], not necessarily clamped.
            target: Likewise; no gradient passes.
            mask: 1 where pixels count, else 0.
            target_maps: `feature_maps` of the target.
        """
        target = target.detach()
        counted = mask.sum(dim=(1, 2, 3)) * image.shape[1]
        absolute = ((image - target).abs() * mask).sum(dim=(1, 2, 3)) / counted.clamp_min(1)
        if self.perceptual is None:
            return absolute.mean()
        seen = self.perceptual.feature_maps(torch.where(mask > 0, image, target))
        maps = self.feature_maps(target) if target_maps is None else target_maps
        layers = [(one - other).square().sum(dim=1).mean(dim=(1, 2)) for one, other in zip(seen, maps, strict=True)]
        return (absolute + self.weight * torch.stack(layers).mean(dim=0)).mean()


def counted_pixels(render: LiftedRender, background_depth: float) -> Float[Tensor, "batch 1 size size"]:
    """1 where a render is compared: pixels beyond the mesh, or on what lies behind all depths, are left out (release)."""
    return (render.depth < background_depth).to(render.image.dtype)[:, None]


def style_prior(
    codes: Float[Tensor, "batch width"],
    mean: Float[Tensor, " width"],
    deviation: Float[Tensor, " width"],
    settings: LiftedTraining,
) -> Float[Tensor, ""]:
    """||w' - mu||^2 / (2 sigma^2) of equation 4, with the mean standard deviation of W as sigma (release; the paper leaves open which)."""
    return _squares((codes - mean) / deviation.mean(), settings) / 2


def cycle_error(
    view: Float[Tensor, "batch 6"],
    light: Float[Tensor, "batch 4"],
    asked_view: Float[Tensor, "batch 6"],
    asked_light: Float[Tensor, "batch 4"],
    settings: LiftedTraining,
) -> Float[Tensor, ""]:
    """L_LVcyc of equation 5, in the networks' units: view and light that are read of M's codes against those asked for."""
    entries = view.shape[1] if settings.cycle_translation else 3
    errors = (view - asked_view)[:, :entries]
    return _squares(errors, settings) + _squares(light - asked_light, settings)


def identity_error(
    embedder: FaceEmbedder,
    texture: Float[Tensor, "batch 3 size size"],
    render: Float[Tensor, "batch 3 size size"],
    yaw: Float[Tensor, " batch"],
    largest_yaw: float,
) -> Float[Tensor, ""]:
    """L_idt of equation 6: squared distance of unit embeddings, over the batch's size; samples that are turned further count 0.

    Args:
        embedder: f.
        texture: Pictures of w0.
        render: Of the same faces, turned.
        yaw: Drawn for them, radians.
        largest_yaw: Radians.
    """
    (chosen,) = (yaw.abs() <= largest_yaw).nonzero(as_tuple=True)
    if len(chosen) == 0:
        return texture.new_zeros(())
    embeddings = embedder(torch.cat([texture[chosen], render[chosen]]))
    first, second = embeddings.chunk(2)
    return (first - second).square().sum() / len(yaw)


def high_passed_albedo(
    lifted: LiftedGAN, output: LiftedOutput, settings: LiftedTraining
) -> Float[Tensor, "batch pixels"]:
    """K_A of equation 7: one row for each face, its grey albedo without what is smooth.

    "laplacian" filters by the four neighbours (section 3.2.3). "blur" takes away the blur that the transformation map has (the release's
    own width is not on record), leaves the foreground, and averages blocks of pixels. In full precision also under autocast.
    """
    grey, taps, sizes = output.albedo.mean(dim=1, keepdim=True), lifted.blur, lifted.settings
    # What is left of neighbouring pixels is near the precision of bfloat16.
    with torch.autocast(grey.device.type, enabled=False):
        if settings.high_pass == "laplacian":
            kernel = grey.new_tensor([[0.0, 1.0, 0.0], [1.0, -4.0, 1.0], [0.0, 1.0, 0.0]])
            return functional.conv2d(grey, kernel[None, None]).flatten(1)
        padded = functional.pad(grey, (len(taps) // 2,) * 4, mode="reflect")
        smooth = functional.conv2d(functional.conv2d(padded, taps[None, None, :, None]), taps[None, None, None])
    foreground = output.depth[:, None] <= sizes.border_depth - sizes.foreground_margin
    return functional.avg_pool2d((grey - smooth) * foreground, settings.albedo_pooling).flatten(1)


def convex_error(depth: Float[Tensor, "batch height width"], sizes: LiftedSettings) -> Float[Tensor, ""]:
    """Mean squared distance of depth from an ellipsoid before a plane, wherever both lie, in parts of the range of depth.

    Not where they lie: the networks' raw depth has a mean of zero in every picture.
    """
    height, width = depth.shape[1:]
    x = torch.linspace(-1, 1, width, dtype=depth.dtype, device=depth.device)
    y = torch.linspace(-1, 1, height, dtype=depth.dtype, device=depth.device)[:, None]
    bulge = (1 - (x / _ELLIPSOID[0]) ** 2 - (y / _ELLIPSOID[1]) ** 2).clamp_min(0).sqrt()
    errors = depth / (sizes.max_depth - sizes.min_depth) + _ELLIPSOID[2] * bulge
    return errors.flatten(1).var(dim=1, correction=0).mean()


def nuclear_norm(rows: Float[Tensor, "batch pixels"]) -> Float[Tensor, ""]:
    """Sum of singular values of the rows of all ranks together (equation 7)."""
    return torch.linalg.svdvals(gather_rows(rows).float()).sum()


def gather_rows(rows: Float[Tensor, "batch columns"]) -> Float[Tensor, "gathered columns"]:
    """The rows of all ranks, which hold equally many, for a loss that every rank computes alike.

    Gradients reach a rank's own rows, times the number of ranks: averaged over ranks, as distributed training does, they are the loss's
    own, and no rank waits for another in the backward pass.
    """
    if not (distributed.is_available() and distributed.is_initialized()) or distributed.get_world_size() == 1:
        return rows
    ranks, rank = distributed.get_world_size(), distributed.get_rank()
    gathered = [torch.empty_like(rows) for _ in range(ranks)]
    distributed.all_gather(gathered, rows.detach().contiguous())
    gathered[rank] = _Scaled.apply(rows, float(ranks))
    return torch.cat(gathered)


class _Scaled(torch.autograd.Function):
    """The identity, whose gradient is multiplied by a number."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, values: Tensor, factor: float) -> Tensor:
        ctx.factor = factor  # type: ignore[attr-defined]
        return values.view_as(values)

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0] * ctx.factor, None  # type: ignore[attr-defined]


def _squares(errors: Float[Tensor, "batch entries"], settings: LiftedTraining) -> Float[Tensor, ""]:
    squares = errors.square()
    return squares.mean() if settings.squares == "mean" else squares.sum(dim=1).mean()
