"""Figures of LiftedGAN: what they draw and measure, against known cases, and how `lightning test` writes them."""

import inspect
import json
import math
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from PIL import Image

from datamodules.latent_pairs import LatentPairDataModule, PairRecipe
from evaluation.figures import Figure, read_figures
from evaluation.lifted_gan import relit_figure, turned_figures
from evaluation.lifted_gan.ablation import ablation_figure
from evaluation.lifted_gan.figures import FigureName, LiftedGanFigures
from evaluation.lifted_gan.identities import CURVES, SUMMARY, identity_against_yaw
from evaluation.lifted_gan.interpolated_figure import STEPS, interpolation_figure
from evaluation.lifted_gan.published import (
    NO_ALBEDO,
    NO_FLIP,
    NO_IDENTITY,
    NO_PERTURBATION,
    PITCHES_DEG,
    PROPOSED,
    YAWS_DEG,
)
from evaluation.lifted_gan.relit_figure import LEFT, LIGHTS, RIGHT, TOP, lighting_figure, towards
from evaluation.lifted_gan.side_view import side_view
from evaluation.lifted_gan.style_figure import LIFTED, MIXED, style_figure
from evaluation.lifted_gan.turning import (
    MANIPULATED,
    RENDERED,
    DirectedCodes,
    LiftedTurner,
    OtherMethods,
    turners,
    view_at_yaw,
)
from evaluation.lifted_gan.under_test import LiftedUnderTest, open_ablations
from evaluation.lifted_gan.views import LiftedViews
from evaluation.stylefaceuv.turning import COARSE, DETAILED, MOVED
from lightning_modules.face_scene import FaceScene
from models.latent_directions import LatentDirections, save_directions
from models.lifted_gan import LiftedGAN, pose_of_view
from models.observers import IdentityNet, LandmarkNet, save_observer
from models.stylefaceuv import CodeCoefficients
from models.stylegan2 import load_generator
from models.stylegan2.digest import generator_digest
from models.stylerig import Provenance
from renderers.errors import InputError
from tests.conftest import ROOT
from tests.lifted_gan_files import TINY, tiny_lifted
from tests.tiny_lifted_gan import PLAIN, lifted_module
from tests.tiny_rig import tiny_generator, tiny_judge
from tests.tiny_stylefaceuv import write_stylefaceuv_networks, write_uv_network, yaw_direction
from tests.tiny_stylerig import quiet_trainer, use_toy_face, write_networks

CONFIG = ROOT / "configs/demo/lifted_gan_figures.yaml"
PEOPLE = 4


@pytest.fixture(scope="module")
def tested() -> LiftedUnderTest:
    """Two untrained lifted generators of 16 pixels."""
    torch.manual_seed(0)
    generator = tiny_generator()
    views = [LiftedViews(LiftedGAN(generator, TINY).eval().requires_grad_(False)) for _ in range(2)]
    torch.manual_seed(2)
    landmarker = LandmarkNet(working_size=16, widths=(4, 8, 8), blocks=(1, 1)).eval()
    embedder = IdentityNet(embedding_dim=8, base_width=4, working_size=16).eval().requires_grad_(False)
    recipe = PairRecipe(0, 1, 0.7)
    return LiftedUnderTest(views[0], recipe, landmarker, embedder, tiny_judge(), {"no_flip": views[1]})


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Networks of the toy face for a generator of 16 pixels, whose coefficients read the yaw along one axis of W."""
    # The patch ends here: later tests of this file show the shipped face.
    with pytest.MonkeyPatch.context() as patch:
        use_toy_face(patch)
        folder = tmp_path_factory.mktemp("networks")
        return write_networks(folder) | write_stylefaceuv_networks(folder)


def cells(figure: Figure, column: str, **where: object) -> list[float]:
    """The numbers of a column in the rows of these cells."""
    index = figure.columns.index
    rows = (row for row in figure.rows if all(row[index(name)] == value for name, value in where.items()))
    return [float(row[index(column)]) for row in rows]


# Ways of turning.


def test_lifted_faces_turn_to_absolute_yaws(tested: LiftedUnderTest) -> None:
    codes, yaw = tested.unseen_codes(3), torch.tensor([-0.6, 0.0, 0.4])
    output, settings = tested.model(codes), tested.model.settings
    view = view_at_yaw(tested.views, output, yaw)
    pose, own = pose_of_view(view, settings), pose_of_view(output.view, settings)
    torch.testing.assert_close(pose.rotation[:, 1], yaw)
    torch.testing.assert_close(pose.rotation[:, ::2], own.rotation[:, ::2])
    torch.testing.assert_close(pose.translation[:, 1:], own.translation[:, 1:])
    broadcast = tested.generator.broadcast(codes)
    turned = LiftedTurner(tested.views).turned(broadcast, yaw)
    torch.testing.assert_close(turned, tested.model.render(output, view, output.light).image.clamp(-1, 1))
    moved = LiftedTurner(tested.views, "generator").turned(broadcast, yaw)
    expected = tested.model.picture(tested.model.manipulate(codes, view, output.light)).clamp(-1, 1)
    torch.testing.assert_close(moved, expected)


def test_a_linear_direction_is_asked_for_the_yaw_that_is_read(files: dict[str, str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        use_toy_face(patch)
        generator, scene = load_generator(files["generator"]), FaceScene()
        model = scene.load_face_model()
    reader = CodeCoefficients.load(files["coefficients"], Provenance.of(generator, model, scene.camera))
    codes = PairRecipe(0, 1).pairs(generator, "test", torch.arange(20)).w
    turner = DirectedCodes(generator, yaw_direction(generator), reader, model.sizes, codes)
    yaw = torch.linspace(-0.5, 0.5, 20)
    torch.testing.assert_close(turner._yaw(turner.moved(codes, yaw)), yaw, atol=0.05, rtol=0)
    torch.testing.assert_close(turner.turned(codes, turner._yaw(codes)), generator.synthesis(codes).clamp(-1, 1))
    across = replace(yaw_direction(generator), normal=torch.eye(generator.w_dim)[3])
    with pytest.raises(InputError, match="yaw changes"):
        DirectedCodes(generator, across, reader, model.sizes, codes)


def test_ways_follow_from_what_is_named(files: dict[str, str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        use_toy_face(patch)
        generator, scene = load_generator(files["generator"]), FaceScene()
        model = scene.load_face_model()
    views = LiftedViews(LiftedGAN(generator, TINY))
    codes = PairRecipe(0, 1).pairs(generator, "test", torch.arange(5)).w
    rest: Any = (model, scene.camera, codes)
    assert [way.name for way in turners(views, OtherMethods(), None, *rest)] == [RENDERED, MANIPULATED]
    stepped = turners(views, OtherMethods(step_size=files["step_size"]), None, *rest)
    assert [way.name for way in stepped] == [RENDERED, MANIPULATED, MOVED]
    with pytest.raises(InputError, match="reader of codes"):
        turners(views, OtherMethods(directions=files["directions"]), None, *rest)
    other = save_directions(
        Path(files["directions"]).with_name("other.safetensors"),
        LatentDirections((yaw_direction(generator),), generator_digest(tiny_lifted().generator), {}),
    )
    reader = CodeCoefficients.load(files["coefficients"], Provenance.of(generator, model, scene.camera))
    with pytest.raises(InputError, match="its weights differ"):
        turners(views, OtherMethods(directions=str(other)), reader, *rest)


def test_stylefaceuv_turns_the_same_codes(tmp_path: Path) -> None:
    methods = OtherMethods(write_uv_network(tmp_path), str(tmp_path / "step_size.safetensors"))
    generator, scene = load_generator(tmp_path / "generator.safetensors"), FaceScene()
    codes = PairRecipe(0, 1).pairs(generator, "test", torch.arange(1)).w
    rest: Any = (None, scene.load_face_model(), scene.camera, codes)
    ways = turners(LiftedViews(LiftedGAN(generator, TINY)), methods, *rest)
    assert [way.name for way in ways] == [RENDERED, MANIPULATED, DETAILED, COARSE, MOVED]
    assert all(way.turned(codes, torch.tensor([0.3])).shape == (1, 3, 16, 16) for way in ways)
    other = LiftedViews(tiny_lifted())
    with pytest.raises(InputError, match="is of another; name one of it or null"):
        turners(other, OtherMethods(methods.uv_generator), *rest)


# Pictures.


def test_only_what_the_map_lets_go_moves_in_the_side_view(tested: LiftedUnderTest) -> None:
    codes = tested.unseen_codes(2)
    output = tested.model(codes)
    views = [view_at_yaw(tested.views, output, torch.full((2,), yaw)) for yaw in (-0.7, 0.7)]
    still = torch.zeros_like(output.transformation)
    images, moves = zip(*(side_view(tested.model, output, view, still) for view in views), strict=True)
    torch.testing.assert_close(*images)
    assert float(moves[0].abs().max()) == 0
    free, border = side_view(tested.model, output, views[0], torch.ones_like(still))
    held, kept = side_view(tested.model, output, views[0], output.transformation)
    assert float((free - images[0]).abs().max()) > 0.05
    # The border of a map is 0 whatever the networks say.
    assert bool((kept < 1e-6).all()) and bool((border > 0.05).all())


def test_a_camera_in_front_sees_the_render(tested: LiftedUnderTest) -> None:
    output = tested.model(tested.unseen_codes(2))
    image, _ = side_view(tested.model, output, output.view, output.transformation, side_deg=0.0)
    torch.testing.assert_close(image, tested.model.render(output).image.clamp(-1, 1), atol=1e-4, rtol=0)


def test_the_side_camera_stands_to_the_viewers_right(tested: LiftedUnderTest) -> None:
    """A nose points to the left there."""
    output = tested.model(tested.unseen_codes(1))
    depth = torch.full_like(output.depth, 1.0)
    depth[:, 7:9, 7:9] = 0.93
    albedo = torch.full_like(output.albedo, -1.0)
    albedo[:, :, 7:9, 7:9] = 1.0
    shape = replace(output, depth=depth, albedo=albedo, view=torch.zeros_like(output.view))
    image, _ = side_view(tested.model, shape, shape.view, shape.transformation, side_deg=40.0)
    columns = torch.arange(16.0)
    # White is empty, too: only what is brighter than black and inside counts.
    bright = (image.mean(dim=1) > 0) & (torch.arange(16)[None, None, :] > 3) & (torch.arange(16)[None, None, :] < 12)
    assert float((bright[0, 7:9].float() * columns).sum() / bright[0, 7:9].sum()) < 7.0


def test_light_brightens_the_half_towards_it() -> None:
    image = torch.full((1, 3, 16, 16), -1.0)
    image[:, :, :, :8] = 1.0
    assert float(towards(image, LEFT)) == 1 and float(towards(image, RIGHT)) == -1 and float(towards(image, TOP)) == 0
    assert float(towards(image.transpose(2, 3), TOP)) == 1


def test_every_figure_has_its_rows(tested: LiftedUnderTest) -> None:
    pairs = turned_figures.pairs_figure(tested, PEOPLE, 2)
    rotation = turned_figures.rotation_figure(tested, 1)
    lighting = lighting_figure(tested, PEOPLE, 2)
    between = interpolation_figure(tested, 3, 1)
    ablated = ablation_figure(tested, 2)
    for figure in (pairs, rotation, lighting, between, ablated):
        assert figure.picture is not None and len(figure.rows) > 0
    assert cells(rotation, "border_moves") == pytest.approx([0.0] * 7, abs=1e-6)
    assert [row[0] for row in lighting.rows] == list(LIGHTS)
    assert sum(cells(between, "render_share")) == pytest.approx(1, abs=1e-5) and len(between.rows) == STEPS
    assert [row[0] for row in ablated.rows] == ["no_flip", "no_flip", PROPOSED, PROPOSED]
    assert relit_figure.NAME == lighting.name


@pytest.mark.parametrize(("angle", "asked"), [("yaw", YAWS_DEG), ("pitch", PITCHES_DEG)])
def test_turns_are_read_by_the_judge(tested: LiftedUnderTest, angle: str, asked: tuple[float, ...]) -> None:
    figure = turned_figures.turns_figure(tested, angle, PEOPLE, 1)
    assert cells(figure, "asked_deg", method=RENDERED) == list(asked) == cells(figure, "asked_deg", method=MANIPULATED)
    codes = tested.unseen_codes(PEOPLE)
    if angle == "yaw":
        assert tested.judge is not None
        turned = LiftedTurner(tested.views).turned(
            tested.generator.broadcast(codes), torch.full((PEOPLE,), -math.pi / 3)
        )
        read = tested.judge(turned).rotation[:, 1].rad2deg()
        assert cells(figure, "read_deg", method=RENDERED)[0] == pytest.approx(float(read.mean()), abs=1e-3)
        assert cells(figure, "error_deg", method=RENDERED)[0] == pytest.approx(
            float((read + 60).abs().mean()), abs=1e-3
        )
    without = turned_figures.turns_figure(replace(tested, judge=None), angle, 2, 1)
    assert all(math.isnan(value) for value in cells(without, "read_deg"))


def test_a_style_leaves_depth_alone(tested: LiftedUnderTest) -> None:
    figure = style_figure(tested, PEOPLE, 1)
    assert figure.picture is not None and cells(figure, "depth_change", method=LIFTED) == [0.0]
    assert math.isnan(cells(figure, "depth_change", method=MIXED)[0])
    before = cells(figure, "colour_to_style_before")
    assert all(value > 0 for value in before)


def test_identities_are_those_of_the_same_codes(tested: LiftedUnderTest) -> None:
    ways = [LiftedTurner(tested.views), LiftedTurner(tested.views, "generator")]
    curves, summary = identity_against_yaw(tested, ways, PEOPLE, yaws_deg=(-30.0, 0.0, 30.0))
    assert (curves.name, summary.name) == (CURVES, SUMMARY) and curves.picture is not None
    assert "Fig. 7" in curves.title and [row[0] for row in curves.rows] == [RENDERED] * 3 + [MANIPULATED] * 3
    # The picture at yaw 0 is as like itself as can be.
    assert cells(curves, "similarity_to_front", yaw_asked_deg=0.0) == pytest.approx([1, 1], abs=1e-5)
    assert cells(summary, "picture_less_than_first", method=RENDERED) == [0.0, 0.0]


# Runs.


def test_the_shipped_overlay_names_every_argument_and_explains_it() -> None:
    settings = yaml.safe_load(CONFIG.read_text())["trainer"]["callbacks"][0]
    assert settings["class_path"] == "evaluation.lifted_gan.figures.LiftedGanFigures"
    assert set(settings["init_args"]) == set(inspect.signature(LiftedGanFigures).parameters)
    assert set(settings["init_args"]["methods"]) == {field.name for field in fields(OtherMethods)}
    for line in CONFIG.read_text().splitlines():
        assert "#" in line or line.strip() in ("init_args:",), line


def test_ablations_write_where_the_overlay_looks_for_them() -> None:
    for name in (NO_FLIP, NO_PERTURBATION, NO_IDENTITY, NO_ALBEDO):
        settings = yaml.safe_load((CONFIG.parent / f"lifted_gan/{name}.yaml").read_text())
        assert settings["model"]["init_args"]["output"] == f"runs/lifted_gan/{name}.safetensors"
        assert settings["run"]["name"] == f"lifted_gan_{name}"


def test_a_test_run_writes_all_of_them(files: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_toy_face(monkeypatch)
    weights = lifted_module({"generator": files["generator"]}, PLAIN).average.save(tmp_path / "lifted.safetensors")
    other = lifted_module({"generator": files["generator"]}, PLAIN).average.save(tmp_path / "no_flip.safetensors")
    judge = save_observer(tmp_path / "judge.safetensors", tiny_judge())
    (tmp_path / "photos").mkdir()
    for index in range(6):
        Image.new("RGB", (16, 16), (40 * index, 0, 255)).save(tmp_path / "photos" / f"{index}.png")
    drawing = LiftedGanFigures(
        ablations={"no_flip": str(other)},
        judge=str(judge),
        reader=files["coefficients"],
        methods=OtherMethods(step_size=files["step_size"], directions=files["directions"]),
        real_pictures=str(tmp_path / "photos"),
        features=str(judge),
        people=3,
        turned=2,
        compared=3,
        shown=1,
    )
    module = lifted_module({"generator": files["generator"]}, PLAIN, weights=str(weights))
    data = LatentPairDataModule(batch_size=2, train_pairs=4, test_pairs=2, max_latents=1)
    quiet_trainer(tmp_path, callbacks=[drawing]).test(module, data, verbose=False)
    figures = {figure.name for figure in read_figures(tmp_path)}
    assert len(figures) == 12 and {CURVES, SUMMARY, "lifted_gan_errors", "lifted_gan_frechet"} <= figures
    numbers = json.loads((tmp_path / LiftedGanFigures.FILE).read_text())
    assert numbers["lifted_gan_errors/judge/LiftedGAN/yaw_deg"] == numbers["lifted_gan_errors/judge/no_flip/yaw_deg"]
    assert numbers["lifted_gan_errors/face reconstruction/LiftedGAN/depth"] > 0
    assert numbers["lifted_gan_frechet/LiftedGAN/random/frechet_judge_to_real"] > 0


def test_what_cannot_be_drawn_is_refused(files: dict[str, str], tmp_path: Path) -> None:
    names: list[FigureName] = ["frechet"]
    with pytest.raises(InputError, match="for frechet, got null for both"):
        LiftedGanFigures(names)
    with pytest.raises(InputError, match="for errors, got null for all"):
        LiftedGanFigures(["errors"])
    with pytest.raises(InputError, match="people of at least 2"):
        LiftedGanFigures(people=1, shown=1)
    with pytest.raises(InputError, match="shown of at most people"):
        LiftedGanFigures(people=2, shown=3)
    model = tiny_lifted()
    path = model.save(tmp_path / "lifted.safetensors")
    with pytest.raises(InputError, match="the one in question"):
        open_ablations({PROPOSED: str(path)}, model.generator)
    with pytest.raises(InputError, match="trained for"):
        open_ablations({"no_flip": str(path)}, load_generator(files["generator"]))
    judge = save_observer(tmp_path / "judge.safetensors", tiny_judge())
    drawing = LiftedGanFigures(judge=str(judge), people=3)
    with pytest.raises(InputError, match="expected a LiftedGanModule on a LatentPairDataModule"):
        drawing.setup(quiet_trainer(tmp_path), lifted_module({"generator": files["generator"]}, PLAIN), "test")
