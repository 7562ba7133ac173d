"""Tables of LiftedGAN: errors of depth and pose, Fréchet distances, and the paper's claims about them."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from datamodules.latent_pairs import PairRecipe
from datamodules.portraits import PortraitSampler
from evaluation.figures import Cell, Figure, numbers_of
from evaluation.generator_quality import FeatureReader
from evaluation.lifted_gan import ablation, frechet, identities, interpolated_figure, relit_figure, style_figure
from evaluation.lifted_gan.ablation import CONSTANT, PUBLISHED, errors_figure
from evaluation.lifted_gan.claims import (
    ablation_claims,
    frechet_claims,
    identity_claims,
    interpolation_claims,
    lifted_gan_claims,
    lighting_claims,
    rotation_claims,
    style_claims,
)
from evaluation.lifted_gan.frechet import OTHER_HALF, OWN, RANDOM, RealPictures, frechet_figure
from evaluation.lifted_gan.published import NO_FLIP, NO_PERTURBATION, PROPOSED, TABLE_2
from evaluation.lifted_gan.shape_errors import (
    ShapeReference,
    angle_errors_deg,
    constant_errors,
    judged_reference,
    normalised_depth_error,
    portrait_reference,
    reconstructed_reference,
    shape_errors,
)
from evaluation.lifted_gan.turned_figures import TURN_COLUMNS, TURNS
from evaluation.lifted_gan.turning import MANIPULATED, RENDERED
from evaluation.lifted_gan.under_test import LiftedUnderTest
from evaluation.lifted_gan.views import LiftedViews
from evaluation.run_records import RunRecord
from evaluation.run_report import compare_runs
from evaluation.stylefaceuv.identity_against_yaw import LARGE, SUMMARY_COLUMNS
from evaluation.stylefaceuv.known_portraits import encoded_portraits
from models.code_encoder import CodeEncoder
from models.lifted_gan import LiftedGAN, pose_of_view
from models.observers import IdentityNet, LandmarkNet
from renderers.camera import PerspectiveCamera
from renderers.errors import InputError
from renderers.face_renderer import FaceRenderer
from tests.lifted_gan_files import TINY
from tests.tiny_rig import LinearFaces, tiny_generator, tiny_judge
from tests.toy_face import toy_face_model

PEOPLE = 5


@pytest.fixture(scope="module")
def tested() -> LiftedUnderTest:
    """Two untrained lifted generators of 16 pixels."""
    torch.manual_seed(0)
    generator = tiny_generator()
    views = [LiftedViews(LiftedGAN(generator, TINY).eval().requires_grad_(False)) for _ in range(2)]
    landmarker = LandmarkNet(working_size=16, widths=(4, 8, 8), blocks=(1, 1)).eval()
    embedder = IdentityNet(embedding_dim=8, base_width=4, working_size=16).eval().requires_grad_(False)
    recipe = PairRecipe(0, 1, 0.7)
    return LiftedUnderTest(views[0], recipe, landmarker, embedder, tiny_judge(), {NO_FLIP: views[1]})


def number(figure: Figure, column: str, *about: Cell) -> float:
    """The number of a column in the first row that begins with these cells."""
    row = next(row for row in figure.rows if row[: len(about)] == about)
    return float(row[figure.columns.index(column)])


# Errors.


def test_depth_is_compared_without_its_distance_and_scale() -> None:
    torch.manual_seed(0)
    depth, other = torch.rand(2, 1, 64, 64), torch.rand(2, 1, 64, 64)
    mask = torch.zeros_like(depth)
    mask[:, :, 16:48, 16:48] = 1
    beside = torch.where(mask > 0, 7 + 0.3 * depth, torch.inf)
    torch.testing.assert_close(normalised_depth_error(depth, beside, mask), torch.zeros(2), atol=1e-5, rtol=0)
    assert normalised_depth_error(depth, other, mask).tolist() == pytest.approx([2**0.5] * 2, rel=0.05)
    assert normalised_depth_error(depth, -depth, mask).tolist() == pytest.approx([2.0] * 2, rel=1e-5)
    assert normalised_depth_error(depth, torch.ones_like(depth), mask).tolist() == pytest.approx([1.0] * 2, rel=1e-5)
    assert bool(normalised_depth_error(depth, depth, torch.zeros_like(mask)).isnan().all())


def test_angles_are_compared_without_their_means() -> None:
    torch.manual_seed(0)
    rotation = torch.randn(10, 3)
    shifted = rotation + torch.tensor([0.3, -0.2, 0.1])
    torch.testing.assert_close(angle_errors_deg(shifted, rotation), torch.zeros(3), atol=1e-4, rtol=0)
    errors = angle_errors_deg(torch.tensor([[0.0, 0.1, 0.0], [0.0, -0.1, 0.0]]), torch.zeros(2, 3))
    assert errors.tolist() == pytest.approx([0.0, math.degrees(0.1), 0.0])


def test_a_lifted_generator_is_exact_against_itself(tested: LiftedUnderTest) -> None:
    codes, model = tested.unseen_codes(PEOPLE), tested.model
    output = model(codes)
    render = model.render(output)
    rotation = pose_of_view(output.view, model.settings).rotation
    own = ShapeReference("itself", codes, rotation, render.depth[:, None], render.mask)
    errors = shape_errors(tested.views, own)
    assert errors.depth == pytest.approx(0, abs=1e-5) and errors.rotation_deg == pytest.approx((0, 0, 0), abs=1e-4)
    assert shape_errors(tested.ablations[NO_FLIP], own).depth > 0.1


def test_a_face_that_misses_its_reference_counts_as_unrelated(
    tested: LiftedUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    codes, model = tested.unseen_codes(2), tested.model
    render = model.render(model(codes))
    own = ShapeReference("itself", codes, torch.zeros(2, 3), render.depth[:, None], render.mask)
    hidden = replace(render, mask=render.mask * torch.tensor([1.0, 0.0])[:, None, None, None])
    monkeypatch.setattr(model, "render", lambda output: hidden)
    assert shape_errors(tested.views, own).depth == pytest.approx(2**0.5 / 2, abs=1e-4)


def test_one_shape_and_pose_for_all_costs_what_faces_differ_by() -> None:
    torch.manual_seed(0)
    shape, mask = torch.rand(1, 1, 8, 8), torch.ones(6, 1, 8, 8)
    rotation = torch.zeros(6, 3)
    rotation[:, 1] = torch.tensor([-0.2, 0.2]).repeat(3)
    same = ShapeReference("same", torch.zeros(6, 4), rotation, shape + torch.arange(6.0)[:, None, None, None], mask)
    errors = constant_errors(same)
    assert errors.depth == pytest.approx(0, abs=1e-4)
    assert errors.rotation_deg == pytest.approx((0, math.degrees(0.2), 0), abs=1e-4)
    assert math.isnan(constant_errors(ShapeReference("pose alone", torch.zeros(6, 4), rotation)).depth)


def test_references_are_truth_and_what_is_read(tested: LiftedUnderTest) -> None:
    generator = tested.generator
    encoder = CodeEncoder(generator.w_dim, widths=(4,), blocks=(1,), num_features=4, working_size=8)
    encoder.set_statistics(generator)
    known = encoded_portraits(PortraitSampler("coarse"), generator, encoder.eval(), 2, "coarse")
    truth = portrait_reference(known, tested.size)
    drawn = known.drawn(tested.size)
    torch.testing.assert_close(truth.rotation, drawn.parameters.rotation)
    torch.testing.assert_close(truth.codes, encoder(drawn.image))
    assert truth.depth is not None and truth.mask is not None and bool(truth.depth[truth.mask > 0].isfinite().all())
    judged = judged_reference(tested, PEOPLE)
    assert judged is not None and tested.judge is not None and judged.depth is None
    torch.testing.assert_close(judged.rotation, tested.judge(tested.pictures(tested.unseen_codes(PEOPLE))).rotation)
    model = toy_face_model()
    faces = LinearFaces(model)
    renderer = FaceRenderer(model, PerspectiveCamera(), tested.size)
    read = reconstructed_reference(tested, PEOPLE, faces, model.sizes, renderer)
    parameters = faces.parameters_of(generator.broadcast(read.codes))
    torch.testing.assert_close(read.rotation, parameters.rotation)
    torch.testing.assert_close(read.depth, renderer(parameters).depth)
    assert judged_reference(LiftedUnderTest(tested.views, tested.recipe, tested.landmarker, tested.embedder), 2) is None


def test_table_2_has_a_row_for_each_and_the_published_ones(tested: LiftedUnderTest) -> None:
    judged = judged_reference(tested, PEOPLE)
    assert judged is not None
    codes, output = judged.codes, tested.model(judged.codes)
    render = tested.model.render(output)
    shaped = ShapeReference("itself", codes, judged.rotation, render.depth[:, None], render.mask)
    figure = errors_figure(tested, [judged, shaped])
    assert [row[:2] for row in figure.rows[:6]] == [
        (against, name) for against in ("judge", "itself") for name in (CONSTANT, NO_FLIP, PROPOSED)
    ]
    assert math.isnan(number(figure, "depth", "judge", PROPOSED)) and number(figure, "depth", "itself", PROPOSED) < 1e-5
    assert number(figure, "depth", PUBLISHED, PROPOSED) == 0.435 and len(figure.rows) == 6 + len(TABLE_2)
    numbers = numbers_of([figure], {figure.name: ("against", "method")})
    assert numbers["lifted_gan_errors/judge/LiftedGAN/faces"] == PEOPLE
    assert not any("judge" in name and name.endswith("/depth") for name in numbers)


# Distances.


def colours(shift: float, pictures: Tensor) -> RealPictures:
    reader = FeatureReader("frechet_colour", torch.nn.Identity(), lambda images: images.mean(dim=(2, 3)))
    return RealPictures.of([pictures + shift, pictures], reader, len(pictures))


def test_distances_are_to_real_pictures(tested: LiftedUnderTest) -> None:
    pictures = tested.pictures(tested.unseen_codes(30))
    figure = frechet_figure(tested, colours(0.5, pictures))
    column = "frechet_colour_to_real"
    # Three colours times the square of the shift.
    assert number(figure, column, frechet.PICTURES, OWN) == pytest.approx(0.75, rel=1e-3)
    assert number(figure, column, OTHER_HALF) == pytest.approx(0.75, rel=1e-3)
    assert number(figure, column, RENDERED, RANDOM) != number(figure, column, RENDERED, OWN)
    assert "Not FID" in figure.caption and "truncation 0.7" in figure.caption and figure.rows[-1][3] == 43.05
    with pytest.raises(InputError, match="60 real pictures"):
        RealPictures.of([pictures], colours(0, pictures).features, 30)


# Claims.


def table(name: str, columns: tuple[str, ...], *rows: tuple[Cell, ...]) -> Figure:
    return Figure(name, name, name, columns, rows)


def test_large_yaws_are_reached_or_not() -> None:
    def rows(error: float) -> list[tuple[Cell, ...]]:
        found: list[tuple[Cell, ...]] = []
        for name, size in ((MANIPULATED, 20.0), (RENDERED, error)):
            found += [(name, yaw, 5, yaw, 1.0, size if abs(yaw) > 20 else 99.0, 0.5) for yaw in (-60.0, 0.0, 60.0)]
        return found

    for error, holds in ((5.0, True), (30.0, False)):
        (claim,) = rotation_claims("run", table(TURNS["yaw"], TURN_COLUMNS, *rows(error)))
        assert claim.holds is holds and claim.values == {MANIPULATED: 20.0, RENDERED: error}
    (claim,) = rotation_claims("run", table(TURNS["yaw"], TURN_COLUMNS, *rows(math.nan)))
    assert claim.holds is None and "judge" in claim.missing


def test_identity_is_told_apart_by_its_errors() -> None:
    def summary(gap: float, error: float) -> Figure:
        rows: list[tuple[Cell, ...]] = [
            (RENDERED, LARGE, 9.0, 0.8, 0.0, 0.0, 1.0, 0.7, 0.0, 0.0, 5.0, 1.0, 0.0, 0.0),
            (MANIPULATED, LARGE, 9.0, 0.8, 0.0, 0.0, 1.0, 0.7 + gap, gap, error, 20.0, 1.0, 0.0, 0.1),
        ]
        return table(identities.SUMMARY, SUMMARY_COLUMNS, *rows)

    verdicts = [identity_claims("run", summary(*each))[0].holds for each in ((-0.3, 0.1), (0.3, 0.1), (-0.1, 0.1))]
    assert verdicts == [True, False, None]
    # What L_idt did not train against says so, too: a change that is larger by 0.0 ± 0.1 tells nothing.
    judged = identity_claims("run", summary(-0.3, 0.1))[1]
    assert judged.holds is None and "identity_change_by_judge_spreads" in judged.measure
    assert "LiftedGAN's M 20" in identity_claims("run", summary(-0.3, 0.1))[0].measure


def errors_table(**depths: float) -> Figure:
    columns = ("against", "method", "faces", "depth", "yaw_deg", "pitch_deg", "roll_deg", "frechet_judge_to_real")
    rows: list[tuple[Cell, ...]] = [("truth", CONSTANT, 9.0, 0.5, 9.0, 9.0, 9.0, math.nan)]
    for number, (name, depth) in enumerate({**depths, PROPOSED: 0.4}.items()):
        rows.append(("truth", name, 9.0, depth, 2.0, 4.0, 1.0, 10.0 + number))
    published: tuple[Cell, ...] = (PUBLISHED, NO_FLIP, math.nan, 0.1, 9.0, 5.0, 1.0, 28.0)
    return table(ablation.TABLE, columns, *rows, published)


def test_each_term_must_bring_depth_nearer() -> None:
    claims = ablation_claims("run", errors_table(no_flip=0.6, no_perturbation=0.3))
    assert [claim.holds for claim in claims] == [True, False, None, None, True, True]
    # Without the perturbation loss pictures are nearer to real ones, as in the paper.
    assert claims[-1].values == {PROPOSED: 12.0, NO_PERTURBATION: 11.0}
    assert all("ablations" in claim.missing for claim in claims[2:4])


def test_other_claims() -> None:
    light = [(name, 9, 0.1, 0.1, share) for name, share in (("left", 0.9), ("right", 0.4))]
    columns = ("light_from", "faces", "shading_towards_light", "brighter_towards_light", "share_brighter")
    assert lighting_claims("run", table(relit_figure.NAME, columns, *light))[0].holds is False
    steps = [(0.5, 9, 0.1, 0.1, 0.1, 0.5, 0.6), (1.0, 9, 0.1, 0.1, 0.1, 0.5, 0.7)]
    between = table(interpolated_figure.NAME, interpolated_figure.COLUMNS, *steps)
    assert interpolation_claims("run", between)[0].holds is True
    # Nearer to the style's colours, or as far as before, as where nothing was transferred.
    for after, holds in ((0.1, True), (0.2, False)):
        styles = [
            (name, 9, moved, after, 0.2, 0.0) for name, moved in ((style_figure.LIFTED, 1.0), (style_figure.MIXED, 2.0))
        ]
        assert style_claims("run", table(style_figure.NAME, style_figure.COLUMNS, *styles))[0].holds is holds
    distances = [(frechet.PICTURES, OWN, 9, 10.0), (RENDERED, OWN, 9, 20.0), (RENDERED, RANDOM, 9, 40.0)]
    names = ("pictures", "pose", "count", "frechet_judge_to_real")
    (claim,) = frechet_claims("run", table(frechet.TABLE, names, *distances))
    assert claim.holds is True and claim.values[f"{RENDERED}, random poses"] == 40.0


def test_claims_of_a_run_reach_the_report(tmp_path: Path) -> None:
    run = RunRecord(tmp_path, {}, "", {}, {ablation.TABLE: errors_table(no_flip=0.6)}, {})
    claims = lifted_gan_claims([run], ["run"])
    assert len(claims) == 5
    page = compare_runs([run], ["run"], "title")[0].text()
    assert "What LiftedGAN claims" in page and claims[0].text in page
    assert lifted_gan_claims([RunRecord(tmp_path, {}, "", {}, {}, {})], ["run"]) == []
