"""LiftedGAN's networks and renderer against what the authors' code computed with the same weights."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from models.lifted_gan import LiftedGAN, LiftedOutput, LiftedRender, LiftedSettings, load_official
from tests.stylegan2_files import DATA, filled, rosinality_value

# Every eighth pixel of the reference; tensors in it have half precision.
STRIDE = 8


@pytest.fixture(scope="module")
def lifted(tmp_path_factory: pytest.TempPathFactory) -> tuple[LiftedGAN, LiftedOutput, LiftedRender]:
    """The authors' files, filled by the rule of the references: the model, two faces, and their pictures from another view."""
    reference = np.load(DATA / "liftedgan_256px.npz")
    networks: dict[str, dict[str, torch.Tensor]] = {"netD": {}, "netT": {}, "netSD": {}, "netSC": {}, "generator": {}}
    for line in reference["keys"]:
        network, name, sizes = str(line).split(" ", 2)
        shape = tuple(int(size) for size in sizes.strip("()").split(",") if size.strip())
        if network == "generator":
            networks[network][name] = rosinality_value(name, shape, prefix="generator.")
        else:
            a = filled(f"{network}.{name}", shape)
            scaled = a * np.sqrt(2 / a[0].size) if a.ndim > 1 else 0.1 * a + name.endswith("weight")
            networks[network][name] = torch.from_numpy(scaled.astype("float32"))
    folder = tmp_path_factory.mktemp("official")
    checkpoint, generator = folder / "checkpoint.pth", folder / "generator.pt"
    torch.save({"g_ema": networks.pop("generator")}, generator)
    torch.save({**networks, "optimizer": {}, "global_step": 1, "epoch": 1}, checkpoint)
    with pytest.warns(UserWarning, match="no mean of W"):
        model = load_official(checkpoint, generator)
    checkpoint.unlink()
    generator.unlink()
    with torch.no_grad():
        output = model(torch.from_numpy(reference["w"]))
        return model, output, model.render(output, torch.from_numpy(reference["view2"]))


def half(values: torch.Tensor, stored: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """How far values are from stored ones beyond the rounding of these to half precision, and the stored ones."""
    kept = torch.from_numpy(stored.astype("float32"))
    assert values.shape == kept.shape
    return ((values - kept).abs() - 2.0**-11 * kept.abs()).clamp_min(0), kept


def check(lifted: tuple[LiftedGAN, LiftedOutput, LiftedRender], reference: Any, stride: int) -> None:
    """All of a reference that keeps every `stride`-th pixel of pictures, with texture and albedo at every second at least."""
    _, output, render = lifted
    torch.testing.assert_close(output.light, torch.from_numpy(reference["light"]))
    torch.testing.assert_close(output.view, torch.from_numpy(reference["view"]))
    assert float(half(output.depth[:, ::stride, ::stride], reference["depth"])[0].max()) < 1e-5
    assert float(half(output.transformation[:, :, ::stride, ::stride], reference["trans"])[0].max()) < 1e-5
    sparse = max(stride, 2)
    difference, albedo = half(output.albedo[:, :, ::sparse, ::sparse], reference["albedo"])
    assert float(difference.max()) < 1e-4 * float(albedo.std())
    mask = torch.from_numpy(reference["mask"])
    ours = render.mask[:, :, ::stride, ::stride] > 0
    # A pixel in a hundred thousand may tie otherwise at the edge of the mesh or of a fold.
    assert float((ours != mask).float().mean()) < 1e-3
    difference, _ = half(render.image[:, :, ::stride, ::stride], reference["recon"])
    inside = difference[mask.expand_as(difference)]
    assert float(inside.median()) < 1e-3 and float((inside < 0.01).float().mean()) > 0.999
    difference, _ = half(render.depth[:, ::stride, ::stride], reference["recon_depth"])
    assert float((difference < 1e-4).float().mean()) > 0.999


def test_outputs_of_the_authors_code(lifted: tuple[LiftedGAN, LiftedOutput, LiftedRender]) -> None:
    check(lifted, np.load(DATA / "liftedgan_256px.npz"), STRIDE)


def test_outputs_of_the_authors_code_at_every_pixel(
    lifted: tuple[LiftedGAN, LiftedOutput, LiftedRender], shared: Path
) -> None:
    reference = np.load(shared / "reference" / "liftedgan_256px.npz")
    check(lifted, reference, 1)
    difference, texture = half(lifted[1].texture[:, :, ::2, ::2], reference["raw"])
    assert float(difference.max()) < 1e-4 * float(texture.std())


def test_sizes_are_read_from_the_tensors(lifted: tuple[LiftedGAN, LiftedOutput, LiftedRender]) -> None:
    model, output, render = lifted
    assert model.settings == LiftedSettings()
    assert model.networks.config["resolution"] == 256 and model.networks.config["feature_channels"] == 16
    assert not model.training and not any(each.requires_grad for each in model.parameters())
    assert output.transformation.shape == (2, 1, 256, 256) and output.depth.shape == (2, 256, 256)
    assert render.image.shape == (2, 3, 256, 256) and render.mask.shape == (2, 1, 256, 256)
