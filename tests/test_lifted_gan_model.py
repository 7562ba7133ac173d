"""Lifted generators: their parts, pictures under other views and lights, conventions, and files."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from models.lifted_gan import (
    LiftedGAN,
    LiftedNetworks,
    LiftedOutput,
    LiftedSettings,
    Lighting,
    Pose,
    light_of,
    lighting_of,
    pose_of_view,
    view_of_pose,
)
from models.lifted_gan.networks import StyleManipulation
from models.stylegan2.loading import save_generator
from models.weights import half_matrices
from renderers.depth_mesh import move_points
from renderers.errors import InputError
from tests.lifted_gan_files import PAPER, TINY, tiny_generator, tiny_lifted


def codes(batch: int = 2) -> torch.Tensor:
    return torch.randn(batch, 8)


@pytest.mark.parametrize("settings", [TINY, PAPER])
@pytest.mark.parametrize("levels", [3, 5, 7])
def test_parts_at_sizes_from_16_to_256_pixels(settings: LiftedSettings, levels: int) -> None:
    size = 4 * 2 ** (levels - 1)
    model = tiny_lifted(settings, levels)
    with torch.no_grad():
        output = model(codes())
        render = model.render(output)
    assert output.depth.shape == (2, size, size) and output.albedo.shape == (2, 3, size, size)
    assert output.light.shape == (2, 4) and output.view.shape == (2, 6)
    assert 0.9 <= float(output.depth.min()) and float(output.depth.max()) <= 1.1
    assert float(output.light.abs().max()) <= 1 and float(output.view.abs().max()) <= 1
    assert render.image.shape == (2, 3, size, size) and render.depth.shape == (2, size, size)
    assert bool((render.mask[0, 0] == 0).logical_xor(render.depth[0] < 1.2 - 1e-6).all())


def test_published_sizes_of_the_decoders() -> None:
    """Tables 3 and 4 at 256 pixels, and their continuation to other sizes."""
    with torch.device("meta"):
        networks = LiftedNetworks(256, 512, 32, LiftedSettings.paper())
        shapes = {name: tuple(value.shape) for name, value in networks.state_dict().items()}
        other = {size: LiftedNetworks(size, 512, 32, LiftedSettings()) for size in (64, 512)}
    assert shapes["depth.network.0.weight"] == (512, 512, 4, 4) and shapes["depth.inject.weight"] == (16, 32, 1, 1)
    assert shapes["depth.network.28.weight"] == (32, 16, 4, 4) and shapes["depth.head.6.weight"] == (1, 16, 5, 5)
    assert shapes["transformation.network.0.weight"] == (512, 512, 4, 4)
    assert shapes["manipulation.embed_view.mlp.0.weight"] == (512, 6)
    assert not any("mlp.10" in name for name in shapes)
    assert other[64].depth.network[0].out_channels == 128 and other[512].depth.network[0].out_channels == 512


def test_the_border_stays_where_it_is_and_the_foreground_moves() -> None:
    model = tiny_lifted(replace(TINY, map_bias=-5.0, blur_radius=0))
    with torch.no_grad():
        output = model(codes(4))
    assert bool((output.depth[:, :, :2] == 1.05).all()) and bool((output.depth[:, :, -2:] == 1.05).all())
    moves = output.transformation[:, 0]
    assert not bool(moves[:, 0].any() or moves[:, -1].any() or moves[:, :, :2].any() or moves[:, :, -2:].any())
    inner, depth = moves[:, 1:-1, 2:-2], output.depth[:, 1:-1, 2:-2]
    foreground = depth <= 1.04
    assert 0 < int(foreground.sum()) < foreground.numel()
    assert bool((inner[foreground] == 1).all()) and float(inner[~foreground].max()) < 0.5


def test_the_blur_is_the_releases() -> None:
    model = tiny_lifted(TINY)
    offset = torch.arange(-2.0, 3.0)
    kernel = torch.exp(-((offset[:, None] ** 2 + offset[None] ** 2) / 2.0**2))
    expected = kernel / kernel.sum()
    torch.testing.assert_close(model.blur[:, None] * model.blur[None], expected)


@pytest.mark.parametrize(("settings", "neutral"), [(TINY, "own"), (PAPER, "default")])
def test_albedo_is_the_texture_without_its_neutral_light(settings: LiftedSettings, neutral: str) -> None:
    model = tiny_lifted(settings)
    with torch.no_grad():
        batch = codes()
        output = model(batch)
        light = torch.zeros_like(output.light)
        if neutral == "own":
            light[:, :2] = output.light[:, :2]
        torch.testing.assert_close(output.code, model.manipulate(batch, torch.zeros(2, 6), light))
        torch.testing.assert_close(output.texture, model.picture(output.code))
        shading = model.shading(model.normals(output.depth), light)
        torch.testing.assert_close((output.albedo + 1) / 2 * shading, (output.texture + 1) / 2, rtol=1e-4, atol=1e-4)


def test_pictures_from_the_front_under_the_neutral_light_are_the_texture() -> None:
    model = tiny_lifted(replace(TINY, border_columns=0, border_rows=0))
    with torch.no_grad():
        output = model(codes())
        light = output.light * torch.tensor([1.0, 1.0, 0.0, 0.0])
        render = model.render(output, torch.zeros(2, 6), light)
    # Vertices are spread from edge to edge, pixels are read at their centres: halfway between neighbours in the middle.
    middle = output.texture[:, :, 7:9, 7:9].mean(dim=(2, 3))
    torch.testing.assert_close(render.image[:, :, 7:9, 7:9].mean(dim=(2, 3)), middle, atol=0.15, rtol=0)
    assert bool((render.mask == 1).all())


def test_mirrored_faces_turn_the_other_way() -> None:
    """Mirroring depth and albedo mirrors the picture under the mirrored view and light."""
    model = tiny_lifted(replace(TINY, border_columns=0, border_rows=0, map_bias=20.0, blur_radius=0))
    with torch.no_grad():
        output = model(codes())
        view, light = torch.randn(2, 6) * 0.1, torch.randn(2, 4) * 0.3
        mirrored_view = view * torch.tensor([1.0, -1.0, -1.0, -1.0, 1.0, 1.0])
        mirrored_light = light * torch.tensor([1.0, 1.0, -1.0, 1.0])
        plain = model.render(output, view, light)
        mirrored = model.render(output.flipped(), mirrored_view, mirrored_light)
    # Squares are cut along one diagonal, which mirroring turns: colours differ within them.
    assert float((plain.image.flip(3) - mirrored.image).abs().median()) < 0.1 * float(plain.image.std())
    assert float((plain.mask.flip(3) != mirrored.mask).float().mean()) < 0.05
    torch.testing.assert_close(output.flipped().flipped().depth, output.depth)


def test_one_face_in_several_views() -> None:
    model = tiny_lifted()
    with torch.no_grad():
        output = model(codes())
        views = torch.zeros(3, 6)
        views[:, 1] = torch.tensor([-0.5, 0.0, 0.5])
        several = model.render(output.select(torch.tensor([1, 1, 1])), views, output.light[1:].expand(3, -1))
        alone = model.render(output.select(torch.tensor([1])), views[:1])
    torch.testing.assert_close(several.image[:1], alone.image)
    assert float((several.image[0] - several.image[2]).abs().max()) > 0.01


def test_gradients_reach_every_network_and_not_the_generator() -> None:
    model = tiny_lifted()
    model.networks.train()
    output = model(codes())
    render = model.render(output)
    (render.image.square().mean() + output.transformation.mean() + output.view.sum() + output.light.sum()).backward()
    for name, parameter in model.networks.named_parameters():
        assert parameter.grad is not None, name
        assert bool(parameter.grad.isfinite().all()), name
    assert all(parameter.grad is None for parameter in model.generator.parameters())
    for part in ("view", "light", "manipulation", "depth", "transformation"):
        assert any(bool(p.grad.any()) for p in model.networks.get_submodule(part).parameters() if p.grad is not None), (
            part
        )


def test_geometry_keeps_full_precision_under_autocast() -> None:
    model = tiny_lifted()
    with torch.no_grad():
        with torch.autocast("cpu", torch.bfloat16):
            output = model(codes())
            render = model.render(output)
        plain = model.render(output)
    assert output.depth.dtype == output.albedo.dtype == output.light.dtype == torch.float32
    torch.testing.assert_close(render.image, plain.image)


# Conventions


def test_views_in_the_authors_axes() -> None:
    """A point moved as their code moves it is, in our axes, moved by our pose."""
    settings = LiftedSettings()
    view = torch.tensor([[0.3, -0.5, 0.2, 0.6, -0.4, 0.8]], dtype=torch.float64)
    pitch, yaw, roll = (math.radians(60) * float(value) for value in view[0, :3])
    about_x = torch.tensor([[1, 0, 0], [0, math.cos(pitch), -math.sin(pitch)], [0, math.sin(pitch), math.cos(pitch)]])
    about_y = torch.tensor([[math.cos(yaw), 0, math.sin(yaw)], [0, 1, 0], [-math.sin(yaw), 0, math.cos(yaw)]])
    about_z = torch.tensor([[math.cos(roll), -math.sin(roll), 0], [math.sin(roll), math.cos(roll), 0], [0, 0, 1]])
    theirs = (about_z @ about_y @ about_x).double()
    pivot = torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64)
    point = torch.tensor([0.03, -0.05, 0.93], dtype=torch.float64)
    moved = theirs @ (point - pivot) + pivot + view[0, 3:] * torch.tensor([0.1, 0.1, 0.01])

    axes = torch.tensor([1.0, -1.0, -1.0], dtype=torch.float64)
    pose = pose_of_view(view, settings)
    ours = move_points(((point - pivot) * axes).view(1, 1, 1, 3), pose.rotation, pose.translation)
    torch.testing.assert_close(ours.flatten(), (moved - pivot) * axes, atol=1e-6, rtol=0)
    torch.testing.assert_close(view_of_pose(pose, settings), view)


def test_lights_in_the_authors_signs() -> None:
    """Positive lx lights from the image's left, positive ly from the top; strengths are l / 2 + 0.5."""
    light = torch.tensor([[-0.6, 0.6, 1.0, 0.0], [0.0, 0.0, 0.0, 2.0]])
    lighting = lighting_of(light)
    torch.testing.assert_close(lighting.direction[0], torch.tensor([-1.0, 0.0, 1.0]) / 2**0.5)
    assert float(lighting.direction[1, 1]) == pytest.approx(2 / 5**0.5)
    assert lighting.ambient.tolist() == pytest.approx([0.2, 0.5]) and lighting.diffuse.tolist() == pytest.approx(
        [0.8, 0.5]
    )
    torch.testing.assert_close(light_of(lighting), light)
    with pytest.raises(InputError, match="less than 90 degrees"):
        light_of(Lighting(torch.ones(1), torch.ones(1), torch.tensor([[1.0, 0.0, 0.0]])))


def face(model: LiftedGAN) -> LiftedOutput:
    """A bump of even albedo before a wall."""
    size = model.networks.resolution
    x = torch.linspace(-1, 1, size)
    depth = 1.05 - 0.12 * torch.exp(-6 * (x[None] ** 2 + x[:, None] ** 2))
    ones, none = torch.ones(1, 1, size, size), torch.zeros(1, 6)
    return LiftedOutput(
        depth[None], ones.expand(1, 3, -1, -1), none[:, :4], none, ones, ones.expand(1, 3, -1, -1), torch.zeros(1, 8)
    )


def test_light_from_the_left_brightens_the_left_of_a_face() -> None:
    model = tiny_lifted(levels=5)
    render = model.render(face(model), light=torch.tensor([[-0.6, 0.6, 1.0, 0.0]]))
    left, right = render.image[..., 20:44, 20:28].mean(), render.image[..., 20:44, 36:44].mean()
    assert float(left) > float(right) + 0.1


def test_positive_yaw_turns_the_nose_to_the_right() -> None:
    model = tiny_lifted(levels=5)
    turned = view_of_pose(Pose(torch.tensor([[0.0, 0.4, 0.0]]), torch.zeros(1, 3)), model.settings)
    assert float(turned[0, 1]) < 0  # of the authors' sign
    depth = model.render(face(model), turned).depth[0]
    assert int(depth.min(dim=0).values.argmin()) > 34


# Files and refusals


def test_files_give_back_what_was_written(tmp_path: Path) -> None:
    model = tiny_lifted()
    path = model.save(tmp_path / "l.safetensors")
    model.networks.load_state_dict(half_matrices(model.networks.state_dict()))
    loaded = LiftedGAN.load(path, tiny_generator())
    assert loaded.settings == model.settings and not any(each.requires_grad for each in loaded.parameters())
    with torch.no_grad():
        batch = codes()
        torch.testing.assert_close(loaded(batch).depth, model(batch).depth, rtol=0, atol=0)
    assert path.stat().st_size < 100_000


def test_files_for_other_things_are_refused(tmp_path: Path) -> None:
    path = tiny_lifted().save(tmp_path / "l.safetensors")
    with pytest.raises(InputError, match="name that generator or train anew"):
        LiftedGAN.load(path, tiny_generator(seed=1))
    with pytest.raises(InputError, match="a generator of 16 pixels"):
        LiftedGAN.load(path, tiny_generator(levels=4))
    base = save_generator(tmp_path / "g.safetensors", tiny_generator())
    with pytest.raises(InputError, match="expected weights of kind lifted-gan, .* holds stylegan2-generator"):
        LiftedGAN.load(base, tiny_generator())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"base_channels": 6}, "multiple of 4"),
        ({"min_depth": 1.2}, "min_depth < max_depth"),
        ({"border_depth": 2.0}, "border_depth"),
        ({"field_of_view": 10.0}, "radians"),
        ({"rotation_range": 0.0}, "positive rotation_range"),
        ({"normal_epsilon": -1.0}, "normal_epsilon"),
        ({"map_bias": float("nan")}, "finite"),
        ({"blur_radius": -1}, "0 pixels or more"),
    ],
)
def test_settings_that_cannot_be_used(changes: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        replace(LiftedSettings(), **changes)  # type: ignore[arg-type]


def test_settings_as_plain_values() -> None:
    for settings in (LiftedSettings(), LiftedSettings.paper()):
        config = settings.to_config()
        assert LiftedSettings.from_config(config) == settings
        for name in config:
            with pytest.raises(KeyError, match=name):
                LiftedSettings.from_config({key: value for key, value in config.items() if key != name})


def test_sizes_that_cannot_be_lifted() -> None:
    with pytest.raises(InputError, match="16, 32, 64"):
        tiny_lifted(levels=2)
    with pytest.raises(InputError, match="have room for"):
        tiny_lifted(LiftedSettings(blur_radius=16), levels=3)
    model = tiny_lifted()
    with pytest.raises(InputError, match="codes of W"):
        model(torch.zeros(2, 9))
    with torch.no_grad():
        output = model(codes())
    with pytest.raises(InputError, match=r"expected a view of shape \(2, 6\)"):
        model.render(output, torch.zeros(1, 6))
    with pytest.raises(InputError, match=r"expected a light of shape \(2, 4\)"):
        model.render(output, light=torch.zeros(2, 3))
    with pytest.raises(InputError, match=r"expected a view of shape \(2, 6\)"):
        model.manipulate(codes(), torch.zeros(2, 3), torch.zeros(2, 4))


def test_manipulation_that_adds_to_codes_leaves_them_at_first() -> None:
    codes = torch.randn(3, 8, generator=torch.Generator().manual_seed(0))
    light, view = torch.ones(3, 4), torch.ones(3, 6)
    network = StyleManipulation(8, 8, True, residual=True)
    assert torch.equal(network(codes, light, view), codes)
    network(codes, light, view).square().sum().backward()
    gradient = network.model.mlp[-1].get_parameter("weight").grad
    assert gradient is not None and bool(gradient.any())
    plain = StyleManipulation(8, 8, True)
    assert not torch.allclose(plain(codes, light, view), codes, atol=0.1)
