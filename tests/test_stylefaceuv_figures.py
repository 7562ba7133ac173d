"""Figures and tables of StyleFaceUV: what they measure, against known cases, and how `lightning test` writes them."""

import inspect
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor

from datamodules.latent_pairs import LatentPairDataModule, PairRecipe
from datamodules.portraits import PortraitSampler
from evaluation.figures import Figure, read_figures
from evaluation.stylefaceuv.coarse_faces import coarse_faces_figure
from evaluation.stylefaceuv.figures import StyleFaceUVFigures, table_numbers
from evaluation.stylefaceuv.image_measures import TABLE as IMAGES
from evaluation.stylefaceuv.image_measures import image_measures_figure
from evaluation.stylefaceuv.interpolation import interpolation_figure
from evaluation.stylefaceuv.known_portraits import (
    KnownPortraits,
    embedded_portraits,
    portraits_of_embeddings,
    posed_as,
    turned,
)
from evaluation.stylefaceuv.measures import common_mask, hidden_in, masked_ssim, pasted
from evaluation.stylefaceuv.truth import TABLE as TRUTH
from evaluation.stylefaceuv.truth import depth_difference, shape_error, truth_figure
from evaluation.stylefaceuv.under_test import (
    COARSE,
    DETAILED,
    ONE_VIEW,
    ORIGINAL,
    SYMMETRIC,
    FacesUnderTest,
    under_test,
)
from evaluation.stylefaceuv.view_consistency import TABLE as SIDES
from evaluation.stylefaceuv.view_consistency import rmse_difference, view_consistency_figures
from lightning_modules.image_error import masked_psnr
from lightning_modules.stylefaceuv import StyleFaceUV
from lightning_modules.stylefaceuv_settings import UVSettings
from models.code_encoder import CodeEncoder
from models.morphable import FaceParameters
from models.morphable.procedural import procedural_model
from models.observers import IdentityNet, LandmarkNet, save_observer
from models.perceptual import ObserverFeatures, PerceptualLoss
from models.portrait_embedding import PortraitEmbedding, save_embedding
from models.stylefaceuv.sources import FaceSources
from models.stylefaceuv.surface import UVSurface
from models.stylefaceuv.texture_frame import TextureFrame
from models.stylefaceuv.uv_generator import UVGenerator
from models.stylegan2.digest import generator_digest
from renderers.camera import PerspectiveCamera
from renderers.errors import InputError
from renderers.face_renderer import FaceRender, FaceRenderer
from renderers.images import to_unit
from renderers.rasterizer import interpolate
from renderers.rotation import euler_to_matrix
from renderers.shading import vertex_normals
from tests.conftest import ROOT
from tests.tiny_rig import tiny_judge
from tests.tiny_stylefaceuv import write_uv_networks
from tests.tiny_stylerig import quiet_trainer, use_toy_face

CONFIG = ROOT / "configs/demo/stylefaceuv_figures.yaml"
TINY = UVSettings(perceptual=0.0)


@pytest.fixture(scope="module")
def sampler() -> PortraitSampler:
    return PortraitSampler("coarse")


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Networks of the toy face; the step size mirrors the yaw that is read."""
    use_toy_face(monkeypatch)
    return write_uv_networks(tmp_path)


def module(files: dict[str, str], **options: Any) -> StyleFaceUV:
    torch.manual_seed(0)
    return StyleFaceUV(**files, settings=TINY, **options)  # type: ignore[arg-type]


def tiny_looks() -> tuple[LandmarkNet, IdentityNet, PerceptualLoss]:
    torch.manual_seed(2)
    landmarker = LandmarkNet(working_size=16, widths=(4, 8, 8), blocks=(1, 1)).eval()
    embedder = IdentityNet(embedding_dim=8, base_width=4, working_size=16).eval().requires_grad_(False)
    return landmarker, embedder, PerceptualLoss(ObserverFeatures(landmarker, embedder))


def faces_of(files: dict[str, str], **options: Any) -> FacesUnderTest:
    return under_test(module(files), PairRecipe(0, 1), *tiny_looks(), **options)


def other_network(tested: FacesUnderTest, folder: Path, surface: UVSurface | None = None) -> str:
    """A file of a UV generator with other weights."""
    torch.manual_seed(5)
    own = tested.faces.network
    network = UVGenerator(own.channels, own.w_dim, own.blur_kernel, own.conv_clamp, 0.01, surface or own.surface)
    path = folder / "one_view.safetensors"
    network.save(
        path, tested.faces.provenance, FaceSources("generator.safetensors", "coefficients.safetensors", "shipped")
    )
    return str(path)


def known_portraits(tested: FacesUnderTest, sampler: PortraitSampler, count: int = 2) -> KnownPortraits:
    people = torch.arange(count)
    latents = sampler.latents(people, torch.zeros_like(people), 0)
    return KnownPortraits(sampler, latents, tested.unseen_codes(count), "a test")


def cells(figure: Figure, column: str, **where: object) -> list[float]:
    """The numbers of a column in the rows of these cells."""
    index = figure.columns.index
    rows = (row for row in figure.rows if all(row[index(name)] == value for name, value in where.items()))
    return [float(row[index(column)]) for row in rows]


def test_errors_count_inside_the_mask_alone() -> None:
    torch.manual_seed(0)
    picture = torch.rand(2, 3, 16, 16) * 0.8
    mask = torch.zeros(2, 1, 16, 16)
    mask[0, :, 4:12, 4:12] = 1
    render = torch.where(mask > 0, picture + 0.1, 0.0)
    assert torch.allclose(masked_psnr(render, picture, mask), torch.tensor([20.0, 0.0]), atol=1e-3)
    assert masked_ssim(picture * mask, picture, mask)[0] == pytest.approx(1.0, abs=1e-4)
    assert masked_ssim(torch.rand(2, 3, 16, 16), picture, mask)[0] < 0.5
    assert masked_ssim(render, picture, mask)[1] == 0
    with pytest.raises(InputError, match="at least 6 pixels"):
        masked_ssim(render[..., :4, :4], picture[..., :4, :4], mask[..., :4, :4])


def test_the_side_that_a_view_does_not_see_is_found() -> None:
    mesh, camera = procedural_model("coarse").region("face"), PerspectiveCamera()
    renderer = FaceRenderer(mesh, camera, 48, landmark_model=procedural_model("coarse"))

    def view(yaw: float) -> FaceRender:
        parameters = FaceParameters.zeros(1, mesh.sizes)
        return renderer(replace(parameters, rotation=torch.tensor([[0.0, math.radians(yaw), 0.0]])))

    right, left = view(45), view(-45)
    assert not bool(hidden_in(left, left, mesh, camera).any())
    hidden = hidden_in(right, left, mesh, camera)
    assert 0.2 < float(hidden.sum() / left.mask.sum()) < 0.8
    assert not bool((hidden & (left.mask == 0)).any())
    # A nose to the image's right hides the cheek on its right, which a nose to the left shows at the right.
    columns = torch.arange(48.0)
    seen = (left.mask > 0) & ~hidden
    assert (hidden * columns).sum() / hidden.sum() > (seen * columns).sum() / seen.sum() + 5
    # Surfaces that look away from the other camera are hidden in it, those that face it squarely are seen but behind the nose.
    assert left.fragments is not None
    normals = interpolate(left.fragments, mesh.faces, vertex_normals(right.vertices, mesh.faces))[..., 2][:, None]
    assert hidden[(normals < -0.1) & (left.mask > 0)].float().mean() > 0.95
    assert hidden[normals > 0.6].float().mean() < 0.05


def test_faces_are_not_compared_where_the_coarse_one_is_seen_from_inside() -> None:
    def render(depth: Tensor) -> FaceRender:
        mask = depth.isfinite().float()
        return FaceRender(torch.zeros(1, 3, 1, 4), mask, depth, torch.zeros(1, 68, 2), torch.zeros(1, 5, 3))

    whole = render(torch.tensor([[[[9.0, 9.0, 9.0, torch.inf]]]]))
    holed = render(torch.tensor([[[[9.01, 10.5, torch.inf, 9.0]]]]))
    assert common_mask([holed, whole]).flatten().tolist() == [1, 0, 0, 0]


def test_depths_are_compared_but_for_a_plane() -> None:
    rows, columns = torch.meshgrid(torch.arange(16.0), torch.arange(16.0), indexing="ij")
    true = (9 + 0.01 * columns**2).expand(2, 1, 16, 16)
    mask = torch.zeros(2, 1, 16, 16)
    mask[0, :, 2:14, 2:14] = 1
    tilted = torch.where(mask > 0, true + 0.3 + 0.02 * rows - 0.05 * columns, torch.inf)
    assert depth_difference(tilted, true, mask).abs().max() < 1e-3
    bump = true.clone()
    bump[0, :, 8, 8] += 0.1
    difference = depth_difference(bump, true, mask)
    assert float(difference[0, 0, 8, 8]) == pytest.approx(10, abs=0.2) and difference[1].abs().max() == 0


def test_shapes_are_compared_after_rigid_alignment() -> None:
    torch.manual_seed(1)
    points = torch.randn(3, 40, 3)
    matrix = euler_to_matrix(torch.tensor([[0.2, -1.0, 0.4]]).expand(3, -1))
    moved = points @ matrix.transpose(1, 2) + torch.tensor([0.1, 2.0, -1.0])
    assert shape_error(moved, points).max() < 1e-3
    # A mirrored shape is another one.
    assert shape_error(points * torch.tensor([-1.0, 1.0, 1.0]), points).min() > 10
    larger = shape_error(1.1 * points, points)
    centred = points - points.mean(dim=1, keepdim=True)
    assert torch.allclose(larger, 10 * centred.norm(dim=2).mean(dim=1), rtol=1e-3)


def test_portraits_are_turned_and_nothing_else(sampler: PortraitSampler) -> None:
    people = torch.arange(3)
    latents = sampler.latents(people, torch.zeros_like(people), 0)
    asked = torch.tensor([0.5, 0.0, -0.7])
    own, there = sampler.face_parameters(latents), sampler.face_parameters(turned(sampler, latents, asked))
    assert torch.allclose(there.rotation[:, 1], asked, atol=1e-4)
    assert torch.equal(there.rotation[:, ::2], own.rotation[:, ::2])
    for name in ("identity", "expression", "reflectance", "illumination"):
        assert torch.equal(getattr(there, name), getattr(own, name))
    with pytest.raises(InputError, match="yaw that synthetic portraits can have, got 80 degrees"):
        turned(sampler, latents, torch.full((3,), math.radians(80)))


def test_renders_move_as_the_truth_moves() -> None:
    read, own, asked = (FaceParameters.zeros(1) for _ in range(3))
    read = replace(read, rotation=torch.full((1, 3), 0.1), identity=torch.ones(1, 80))
    asked = replace(asked, rotation=torch.tensor([[0.0, 0.4, 0.0]]), translation=torch.tensor([[0.0, 0.0, 0.2]]))
    moved = posed_as(read, own, asked)
    assert torch.allclose(moved.rotation, torch.tensor([[0.1, 0.5, 0.1]]))
    assert torch.equal(moved.translation, asked.translation) and torch.equal(moved.identity, read.identity)


def test_coarse_faces_stand_beside_the_pictures_of_their_codes(files: dict[str, str]) -> None:
    tested = faces_of(files)
    figure = coarse_faces_figure(tested, shown=3)
    assert len(figure.rows) == 3 and figure.picture is not None
    original = tested.posed(tested.unseen_codes(3))[ORIGINAL]
    coarse, detailed = tested.renders(original, original).values()
    mask = coarse.mask * detailed.mask
    expected = masked_psnr(detailed.image, to_unit(original.target), mask)
    assert cells(figure, "psnr_db_detailed") == pytest.approx(expected.tolist(), rel=1e-4)
    same = (tested.embedder(pasted(original.target, coarse)) * tested.embedder(original.target)).sum(dim=1)
    assert cells(figure, "identity_cosine_coarse") == pytest.approx(same.tolist(), rel=1e-4)


def test_both_networks_are_compared_on_both_sides(
    files: dict[str, str], tmp_path: Path, sampler: PortraitSampler
) -> None:
    tested = faces_of(files)
    picture, table = view_consistency_figures(
        faces_of(files, one_view=other_network(tested, tmp_path)), 4, 2, known_portraits(tested, sampler)
    )
    assert picture.picture is not None and len(picture.rows) == 2
    yaws, moved = cells(picture, "yaw_deg"), cells(picture, "moved_yaw_deg")
    # The step size of the tiny networks mirrors nearly exactly; the most turned comes first.
    assert moved == pytest.approx([-yaw for yaw in yaws], abs=8) and abs(yaws[0]) >= abs(yaws[1])
    assert {row[2] for row in table.rows} == {COARSE, ONE_VIEW, DETAILED}
    for against in ("moved picture", "true portrait"):
        shares = [
            cells(table, "pixels_percent", against=against, side=side, face=DETAILED)[0] for side in ("hidden", "seen")
        ]
        assert sum(shares) == pytest.approx(100)
    (seen,), (error,) = (
        cells(table, column, against="moved picture", side="seen", face=DETAILED) for column in ("psnr_db", "rmse")
    )
    assert seen == pytest.approx(-20 * math.log10(error))


def test_the_same_network_twice_has_the_same_errors(files: dict[str, str], tmp_path: Path) -> None:
    tested = faces_of(files)
    twice = replace(tested, one_view=tested.faces.network)
    (_, table) = view_consistency_figures(twice, 3, 1, None)
    for side in ("hidden", "seen"):
        errors = [cells(table, "rmse", side=side, face=face)[0] for face in (ONE_VIEW, DETAILED)]
        assert errors[0] == errors[1] or all(map(math.isnan, errors))
    assert "true portrait" not in {row[0] for row in table.rows}


def test_errors_of_the_hidden_side_are_told_apart_face_by_face() -> None:
    torch.manual_seed(0)
    other = torch.stack([torch.rand(400) + 0.5, torch.ones(400), torch.ones(400)], dim=1).double()
    noise = torch.randn(400).double()
    mine = other.clone()
    mine[:, 0] += 0.3 + 0.1 * noise
    gap, error = rmse_difference(mine, other)
    means = mine[:, 0].mean().sqrt(), other[:, 0].mean().sqrt()
    assert gap == pytest.approx(float(means[0] - means[1]))
    # By the delta method of the two means.
    delta = mine[:, 0] / (2 * means[0]) - other[:, 0] / (2 * means[1])
    assert error == pytest.approx(float(delta.std()) / 20, rel=0.02)
    # Faces without a pixel there do not count.
    assert rmse_difference(torch.cat([mine, torch.zeros(3, 3)]), torch.cat([other, torch.zeros(3, 3)])) == (gap, error)
    assert all(map(math.isnan, rmse_difference(torch.zeros(2, 3), torch.zeros(2, 3))))
    assert math.isnan(rmse_difference(mine[:1], other[:1])[1])


def test_interpolation_measures_the_way_between_codes(files: dict[str, str]) -> None:
    tested = faces_of(files)
    figure = interpolation_figure(tested, pairs=2, shown=1)
    assert figure.picture is not None and cells(figure, "step_to") == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    for kind in ("picture", "render", "shape"):
        assert sum(cells(figure, f"{kind}_share")) == pytest.approx(1, rel=1e-4)
    codes = tested.unseen_codes(4)
    shapes = []
    for step in (0.0, 0.2):
        between = codes[0::2].lerp(codes[1::2], step)
        shapes.append(tested.faces.shape(tested.faces.parameters(between), tested.faces.maps(between)))
    change = (shapes[1] - shapes[0]).square().sum(dim=2).mean(dim=1).sqrt().mean() * 100
    assert cells(figure, "shape_change_mm")[0] == pytest.approx(float(change), rel=1e-3)


def test_image_measures_of_both_views_and_all_faces(files: dict[str, str]) -> None:
    tested = faces_of(files, judge=tiny_judge())
    figure = image_measures_figure(tested, people=3)
    assert [row[:2] for row in figure.rows] == [
        (view, face) for view in (ORIGINAL, SYMMETRIC) for face in (COARSE, DETAILED)
    ]
    views = tested.posed(tested.unseen_codes(3))
    render = tested.renders(views[SYMMETRIC], views[ORIGINAL])[DETAILED]
    joined, target = pasted(views[SYMMETRIC].target, render), views[SYMMETRIC].target
    distance = (tested.landmarker(joined) - tested.landmarker(target)).norm(dim=2).mean() * 100 / 16
    assert cells(figure, "landmark_percent", view=SYMMETRIC, face=DETAILED) == pytest.approx(
        [float(distance)], rel=1e-3
    )
    assert all(math.isfinite(value) for value in cells(figure, "judged_identity_spreads"))
    coarse, detailed = (
        torch.cat(
            [
                masked_psnr(each[name].image, to_unit(views[ORIGINAL].target), common_mask(list(each.values())))
                for each in [tested.renders(views[ORIGINAL], views[ORIGINAL])]
            ]
        )
        for name in (COARSE, DETAILED)
    )
    error = float((detailed - coarse).std()) / 3**0.5
    assert cells(figure, "psnr_db_gain_se", view=ORIGINAL, face=DETAILED) == pytest.approx([error], rel=1e-3)
    assert math.isnan(cells(figure, "psnr_db_gain_se", view=ORIGINAL, face=COARSE)[0])
    without = image_measures_figure(replace(tested, judge=None), people=3)
    assert (
        all(math.isnan(value) for value in cells(without, "judged_identity_spreads")) and "no judge" in without.caption
    )


def test_truth_compares_all_faces_in_all_views(files: dict[str, str], sampler: PortraitSampler) -> None:
    tested = faces_of(files)
    figure = truth_figure(tested, known_portraits(tested, sampler), shown=1)
    assert [row[1] for row in figure.rows[:3]] == ["mean face", COARSE, DETAILED]
    assert list(dict.fromkeys(row[0] for row in figure.rows)) == ["own", "yaw -45", "yaw 0", "yaw 45"]
    # The toy face is not the portraits' face model.
    assert all(math.isnan(value) for value in cells(figure, "shape_mm"))


def test_numbers_of_tables_say_what_they_are_about() -> None:
    columns = ("view", "face", "codes", "psnr_db", "judged_identity_spreads")
    table = Figure(IMAGES, "", "", columns, ((ORIGINAL, COARSE, 3, 20.0, float("nan")),))
    other = Figure("stylefaceuv_coarse_faces", "", "", ("code", "psnr_db_coarse"), ((0, 1.0),))
    place = f"{IMAGES}/{ORIGINAL}/{COARSE}"
    assert table_numbers([table, other]) == {f"{place}/codes": 3.0, f"{place}/psnr_db": 20.0}


def callback(folder: Path, **options: Any) -> StyleFaceUVFigures:
    """With tiny observers on disk."""
    landmarker, embedder, _ = tiny_looks()
    paths = {
        "landmarker": str(save_observer(folder / "small_landmarks.safetensors", landmarker)),
        "embedder": str(save_observer(folder / "small_identity.safetensors", embedder)),
    }
    return StyleFaceUVFigures(**{**paths, "people": 2, "portraits": 2, "shown": 1, "density": "coarse", **options})


def trained(files: dict[str, str], folder: Path) -> StyleFaceUV:
    first = module(files)
    path = first.average.save(folder / "uv_generator.safetensors", first.provenance, first.sources)
    return module(files, weights=str(path))


def data() -> LatentPairDataModule:
    return LatentPairDataModule(batch_size=2, train_pairs=4, test_pairs=2, max_latents=1)


def test_a_test_run_writes_tables_and_figures(files: dict[str, str], tmp_path: Path) -> None:
    model = trained(files, tmp_path)
    encoder = CodeEncoder(model.generator.w_dim, (4, 8), (1, 1), 8, 16)
    encoder.set_statistics(model.generator)
    path = encoder.save(tmp_path / "encoder.safetensors", model.generator)
    mine = ["coarse_faces", "view_consistency", "interpolation", "image_measures", "truth"]
    one_view = other_network(faces_of(files), tmp_path)
    drawing = callback(tmp_path, figures=mine, code_encoder=str(path), one_view=one_view)
    quiet_trainer(tmp_path, callbacks=[drawing]).test(model, data(), verbose=False)
    figures = {figure.name: figure for figure in read_figures(tmp_path)}
    names = {
        "stylefaceuv_coarse_faces",
        "stylefaceuv_view_consistency",
        "stylefaceuv_interpolation",
        IMAGES,
        SIDES,
        TRUTH,
    }
    assert names <= set(figures)
    assert {row[2] for row in figures[SIDES].rows} == {COARSE, ONE_VIEW, DETAILED}
    numbers = yaml.safe_load((tmp_path / StyleFaceUVFigures.FILE).read_text())
    assert numbers[f"{IMAGES}/{ORIGINAL}/{DETAILED}/psnr_db"] > 0 and numbers[f"{TRUTH}/own/{COARSE}/portraits"] == 2


def embedding(tested: FacesUnderTest, sampler: PortraitSampler, index: int = 1, **changes: Any) -> PortraitEmbedding:
    """Of the synthetic portrait of a number, with its truth."""
    person = torch.tensor([(1 << 27) + index])
    truth = sampler.face_parameters(sampler.latents(person, torch.zeros_like(person), 0)).pack()[0]
    own = PortraitEmbedding(
        f"portrait_{index}",
        "portrait",
        {"index": index, "seed": 0},
        tested.unseen_codes(1)[0],
        None,
        torch.zeros(3, 16, 16, dtype=torch.uint8),
        torch.zeros(68, 2),
        torch.zeros(257),
        truth,
        {"total": 0.0},
        {},
        generator_digest(tested.faces.generator),
    )
    return replace(own, **changes)


def test_embeddings_of_portraits_stand_in_for_the_encoder(
    files: dict[str, str], tmp_path: Path, sampler: PortraitSampler
) -> None:
    tested = faces_of(files)
    save_embedding(tmp_path / "own/portrait_1.safetensors", embedding(tested, sampler))
    save_embedding(tmp_path / "own/photo.safetensors", embedding(tested, sampler, source="photo", origin={}))
    (found,) = embedded_portraits(tmp_path / "own", tested.faces.generator)
    known = portraits_of_embeddings(tested, [found], "coarse")
    assert torch.equal(known.codes, tested.unseen_codes(1))
    drawn: Tensor = known.drawn(16).parameters.pack()
    assert torch.allclose(drawn[0], embedding(tested, sampler).truth, atol=1e-4)  # type: ignore[arg-type]
    save_embedding(tmp_path / "photos/photo.safetensors", embedding(tested, sampler, source="photo", origin={}))
    with pytest.raises(InputError, match="expected embeddings of synthetic portraits in"):
        embedded_portraits(tmp_path / "photos", tested.faces.generator)
    save_embedding(tmp_path / "foreign/portrait_1.safetensors", embedding(tested, sampler, generator_digest="0" * 64))
    with pytest.raises(InputError, match="they are of 000000000000"):
        embedded_portraits(tmp_path / "foreign", tested.faces.generator)
    elsewhere = replace(tested, faces=replace(tested.faces, camera=PerspectiveCamera(3.0, 10.0)))
    with pytest.raises(InputError, match="expected the camera of the synthetic portraits"):
        portraits_of_embeddings(elsewhere, [found], "coarse")


def test_what_cannot_be_drawn_is_refused_before_anything_is_computed(files: dict[str, str], tmp_path: Path) -> None:
    for name, value in (("people", 1), ("portraits", 0), ("shown", 0)):
        with pytest.raises(InputError, match=f"expected {name} of at least"):
            callback(tmp_path, **{name: value})
    with pytest.raises(InputError, match="expected a code_encoder or embeddings for truth"):
        callback(tmp_path, figures=["truth"])
    with pytest.raises(InputError, match="expected a code encoder or a folder of embeddings"):
        callback(tmp_path, code_encoder="encoder", embeddings="folder")
    with pytest.raises(InputError, match="expected a StyleFaceUV on a LatentPairDataModule"):
        callback(tmp_path).setup(quiet_trainer(tmp_path), trained(files, tmp_path), "test")
    one_view_alone = {**files, "step_size": None}
    drawing = callback(tmp_path, figures=["view_consistency"])
    with pytest.raises(InputError, match="expected a step_size, a code_encoder or embeddings for view_consistency"):
        model = StyleFaceUV(**one_view_alone, settings=replace(TINY, views="one"))  # type: ignore[arg-type]
        quiet_trainer(tmp_path, callbacks=[drawing]).test(model, data(), verbose=False)
    other_frame = other_network(faces_of(files), tmp_path, UVSurface("face", True, TextureFrame(0.1, 0.1, 0.9, 0.9)))
    judge = str(ROOT / "assets/demo_judge.safetensors")
    for message, options in (
        ("expected a UV generator of the surface", {"one_view": other_frame}),
        ("expected a judge of the face model's sizes", {"judge": judge}),
        ("expected a file at", {"code_encoder": str(tmp_path / "nowhere.safetensors")}),
    ):
        trainer = quiet_trainer(tmp_path, callbacks=[callback(tmp_path, **options)])
        with pytest.raises(InputError, match=message):
            trainer.test(trained(files, tmp_path), data(), verbose=False)
    assert not (tmp_path / "figures").exists()


def test_the_shipped_overlay_names_every_argument_and_explains_it() -> None:
    settings = yaml.safe_load(CONFIG.read_text())["trainer"]["callbacks"][0]
    assert settings["class_path"] == "evaluation.stylefaceuv.figures.StyleFaceUVFigures"
    assert set(settings["init_args"]) == set(inspect.signature(StyleFaceUVFigures).parameters)
    for line in CONFIG.read_text().splitlines():
        assert "#" in line or line.strip() in ("init_args:",), line
