"""Ways of turning faces, identity against yaw, Fréchet distances with renders pasted in, and the paper's claims about them."""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor

from datamodules.latent_pairs import LatentPairDataModule, PairRecipe
from datamodules.portraits import PortraitSampler
from evaluation.claims import Claim
from evaluation.figures import Cell, Figure, read_figures
from evaluation.generator_quality import FeatureReader
from evaluation.run_records import RunRecord
from evaluation.run_report import compare_runs
from evaluation.stylefaceuv import frechet, image_measures, view_consistency
from evaluation.stylefaceuv.alignment import turned_parameters
from evaluation.stylefaceuv.claims import detail_claims, frechet_claims, stylefaceuv_claims, turn_claims, view_claims
from evaluation.stylefaceuv.figures import FigureName, StyleFaceUVFigures
from evaluation.stylefaceuv.frechet import folder_pictures, frechet_figure
from evaluation.stylefaceuv.identity_against_yaw import (
    COLUMNS,
    LARGE,
    SMALL,
    SUMMARY,
    SUMMARY_COLUMNS,
    identity_against_yaw,
)
from evaluation.stylefaceuv.turned_identities import TRUE_TURNS, true_turns, turned_identities
from evaluation.stylefaceuv.turned_views import turned_views_figure
from evaluation.stylefaceuv.turning import (
    ALONE,
    COARSE,
    DETAILED,
    MOVED,
    RIGGED,
    FacesCutOut,
    FaceTurner,
    MovedCodes,
    OwnPictures,
    RiggedCodes,
    TurnedRenders,
    own_faces,
    turners_of,
)
from evaluation.stylefaceuv.under_test import FacesUnderTest, under_test
from evaluation.stylefaceuv.ways_compared import frechet_distances, identities, turned_views
from lightning_modules.stylefaceuv import StyleFaceUV
from lightning_modules.stylefaceuv_settings import UVSettings
from models.lifted_gan import LiftedGAN
from models.observers import IdentityNet, LandmarkNet
from models.perceptual import ObserverFeatures, PerceptualLoss
from models.stylefaceuv import MirrorStep
from models.stylerig import SteeringNetwork
from models.stylerig.rig import Rig
from renderers.errors import InputError
from renderers.rotation import euler_to_matrix
from tests.lifted_gan_files import TINY
from tests.tiny_rig import LAYERS, WIDTH, LinearFaces, tiny_judge
from tests.tiny_stylefaceuv import write_uv_networks
from tests.tiny_stylerig import RESOLUTION, quiet_trainer, use_toy_face
from tests.toy_face import toy_face_model, toy_parameters

PEOPLE = 5


@pytest.fixture(scope="module")
def tested(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FacesUnderTest]:
    """An untrained UV generator of the toy face whose step size reaches the yaw that is read."""
    with pytest.MonkeyPatch.context() as patch:
        use_toy_face(patch)
        files = write_uv_networks(tmp_path_factory.mktemp("networks"))
        options: dict[str, Any] = {**files, "settings": UVSettings(perceptual=0.0)}
        module = StyleFaceUV(**options)
        torch.manual_seed(2)
        landmarker = LandmarkNet(working_size=16, widths=(4, 8, 8), blocks=(1, 1)).eval()
        embedder = IdentityNet(embedding_dim=8, base_width=4, working_size=16).eval().requires_grad_(False)
        features = PerceptualLoss(ObserverFeatures(landmarker, embedder))
        yield under_test(module, PairRecipe(0, 1), landmarker, embedder, features, tiny_judge())


@pytest.fixture(scope="module")
def sampler() -> PortraitSampler:
    return PortraitSampler("coarse")


def rig_of(*components: str) -> Rig:
    model = toy_face_model()
    network = SteeringNetwork(LAYERS, WIDTH, components, model.sizes)
    return Rig(LinearFaces(model), [network]).eval().requires_grad_(False)


class Unmoved(FaceTurner):
    """Shows the same pictures whatever is asked."""

    def __init__(self, pictures: Tensor) -> None:
        self.name, self.pictures = "unmoved", pictures

    def turned(self, codes: Tensor, yaw: Tensor) -> Tensor:
        return self.pictures[: len(codes)]


def column(figure: Figure, name: str) -> list[float]:
    return [float(row[figure.columns.index(name)]) for row in figure.rows]


# Ways of turning.


def test_a_turned_face_keeps_the_place_that_portraits_are_aligned_by() -> None:
    model, own, shown = toy_face_model(), toy_parameters(3), toy_parameters(3, seed=1)
    yaw = torch.tensor([-1.0, 0.0, 1.0])
    turned = turned_parameters(model, own, shown, yaw)
    torch.testing.assert_close(turned.rotation[:, 1], yaw)
    torch.testing.assert_close(turned.rotation[:, ::2], shown.rotation[:, ::2])

    def anchor(parameters: object) -> Tensor:
        marks = model.vertices(parameters.identity, torch.zeros(3, 2))[:, model.landmark_indices]  # type: ignore[attr-defined]
        point = 0.9 * marks[:, 36:48].mean(dim=1) + 0.1 * marks[:, [48, 54]].mean(dim=1)
        rotation = euler_to_matrix(parameters.rotation)  # type: ignore[attr-defined]
        return (rotation @ point[:, :, None])[:, :, 0] + parameters.translation  # type: ignore[attr-defined]

    torch.testing.assert_close(anchor(turned), anchor(shown))
    # Unturned, nothing moves.
    same = turned_parameters(model, own, own, own.rotation[:, 1])
    torch.testing.assert_close(same.pack(), own.pack())


def test_moved_codes_show_the_yaw_that_is_asked(tested: FacesUnderTest) -> None:
    codes, yaw = tested.unseen_codes(3), torch.tensor([-0.4, 0.0, 0.3])
    moved = MovedCodes(tested.faces.generator, tested.views.step)  # type: ignore[arg-type]
    read = tested.faces.parameters(moved.moved(codes, yaw)).rotation[:, 1]
    torch.testing.assert_close(read, yaw, atol=0.05, rtol=0)
    torch.testing.assert_close(moved.turned(codes, yaw), tested.pictures(moved.moved(codes, yaw)))


@pytest.mark.parametrize("detailed", [True, False])
def test_renders_lie_in_turned_pictures_or_on_black(tested: FacesUnderTest, detailed: bool) -> None:
    codes, yaw = tested.unseen_codes(2), torch.tensor([-0.5, 0.5])
    moved = MovedCodes(tested.faces.generator, tested.views.step)  # type: ignore[arg-type]
    pasted = TurnedRenders(tested.faces, moved, detailed)
    pictures, face, coverage = pasted.parts(codes, yaw)
    image, bare = pasted.turned(codes, yaw), (coverage == 0).expand_as(face)
    assert pasted.name == (DETAILED if detailed else COARSE) and pictures is not None
    assert 0.1 < float(coverage.mean()) < 0.9
    torch.testing.assert_close(image[bare], moved.turned(codes, yaw)[bare])
    inside = (coverage == 1).expand_as(face)
    torch.testing.assert_close(image[inside], face[inside] * 2 - 1)
    alone = TurnedRenders(tested.faces, moved, detailed, alone=True)
    assert alone.name.endswith(ALONE) and bool((alone.turned(codes, yaw)[bare] == -1).all())
    torch.testing.assert_close(alone.turned(codes, yaw)[inside], image[inside])


def test_faces_are_cut_out_where_the_detailed_face_would_be(tested: FacesUnderTest) -> None:
    codes = tested.unseen_codes(2)
    own, pictures = own_faces(tested.faces, codes), tested.pictures(codes)
    yaw = tested.faces.parameters(codes).rotation[:, 1]
    _, _, coverage = TurnedRenders(tested.faces, OwnPictures(tested.faces.generator)).parts(codes, yaw)
    assert bool((own[(coverage == 0).expand_as(own)] == -1).all())
    inside = (coverage == 1).expand_as(own)
    torch.testing.assert_close(own[inside], pictures[inside])


def test_faces_are_cut_out_where_the_head_is_and_not_where_it_should_be(tested: FacesUnderTest) -> None:
    class Stays(OwnPictures):
        """Does not turn at all, whatever is asked."""

    codes = tested.unseen_codes(2)
    unturned = FacesCutOut(tested.faces, Stays(tested.faces.generator)).turned(codes, torch.tensor([1.0, -1.0]))
    torch.testing.assert_close(unturned, own_faces(tested.faces, codes))


def test_ways_follow_from_what_there_is(tested: FacesUnderTest) -> None:
    faces, step = tested.faces, tested.views.step
    assert [each.name for each in turners_of(faces, step, rig_of("rotation"))] == [DETAILED, COARSE, MOVED, RIGGED]
    alone = turners_of(faces, step, rig_of("rotation"), alone=True)
    assert [each.name for each in alone] == [name + ALONE for name in (DETAILED, COARSE, MOVED, RIGGED)]
    assert isinstance(alone[-1], FacesCutOut)
    # The release's step knows the mirrored yaw alone.
    for without in (None, MirrorStep(LAYERS, WIDTH, (1,))):
        assert [each.name for each in turners_of(faces, without)] == [DETAILED + ALONE, COARSE + ALONE]
    with pytest.raises(InputError, match="rotation"):
        RiggedCodes(faces.generator, rig_of("expression"))


def test_a_rig_is_asked_for_the_yaw_and_nothing_else(tested: FacesUnderTest, monkeypatch: pytest.MonkeyPatch) -> None:
    rig, codes = rig_of("rotation"), tested.unseen_codes(2)
    asked: dict[str, Any] = {}

    def edit(codes: Tensor, target: object, components: tuple[str, ...]) -> Tensor:
        asked.update(target=target, components=components)
        return codes

    monkeypatch.setattr(rig, "edit", edit)
    RiggedCodes(tested.faces.generator, rig).turned(codes, torch.tensor([0.5, -0.5]))
    own, target = rig.parameters_of(codes), asked["target"]
    assert asked["components"] == ("rotation",)
    assert target.rotation[:, 1].tolist() == [0.5, -0.5]
    torch.testing.assert_close(target.rotation[:, ::2], own.rotation[:, ::2])
    torch.testing.assert_close(target.expression, own.expression)


# Identity against yaw.


def test_identity_of_faces_that_do_not_turn_is_whole(tested: FacesUnderTest) -> None:
    codes, pictures = tested.unseen_codes(PEOPLE), tested.pictures(tested.unseen_codes(PEOPLE))
    seen = turned_identities(Unmoved(pictures), codes, pictures, tested.embedder, tested.judge, (-30.0, 0.0))
    torch.testing.assert_close(seen.to_picture, torch.ones(2, PEOPLE))
    torch.testing.assert_close(seen.to_front, torch.ones(2, PEOPLE))
    torch.testing.assert_close(seen.identity_change, torch.zeros(2, PEOPLE))
    assert bool((seen.recognised == 1).all())
    vectors = tested.embedder(pictures)
    others = ((vectors @ vectors.T).sum(dim=1) - 1) / (PEOPLE - 1)
    torch.testing.assert_close(seen.to_others[0], others)
    assert tested.judge is not None
    read = tested.judge(pictures).rotation[:, 1].rad2deg()
    torch.testing.assert_close(seen.yaw_error_deg[0], (read + 30).abs())


def test_differences_are_paired_and_by_size_of_turn(tested: FacesUnderTest) -> None:
    codes, pictures = tested.unseen_codes(PEOPLE), tested.pictures(tested.unseen_codes(PEOPLE))
    first, second = Unmoved(pictures), MovedCodes(tested.faces.generator, tested.views.step)  # type: ignore[arg-type]
    yaws = (-45.0, 0.0, 45.0)
    curves, summary = identity_against_yaw([first, second], codes, pictures, tested.embedder, yaws_deg=yaws)
    assert curves.columns == COLUMNS and summary.columns == SUMMARY_COLUMNS and curves.picture is not None
    seen = turned_identities(second, codes, pictures, tested.embedder, None, yaws)
    large = seen.to_picture[[0, 2]].mean(dim=0) - 1
    row = dict(zip(summary.columns, next(row for row in summary.rows if row[:2] == (MOVED, LARGE)), strict=True))
    assert row["picture_less_than_first"] == pytest.approx(float(large.mean()), abs=1e-5)
    assert row["picture_less_than_first_se"] == pytest.approx(float(large.std()) / PEOPLE**0.5, abs=1e-5)
    by_judge = identity_against_yaw([first, second], codes, pictures, tested.embedder, tested.judge, yaws_deg=yaws)[1]
    judged = turned_identities(second, codes, pictures, tested.embedder, tested.judge, yaws).identity_change[[0, 2]]
    row = dict(zip(by_judge.columns, next(row for row in by_judge.rows if row[:2] == (MOVED, LARGE)), strict=True))
    assert row["identity_change_by_judge_spreads"] == pytest.approx(float(judged.mean()), rel=1e-4)
    # The first way changes nothing.
    assert row["judge_less_than_first"] == pytest.approx(float(judged.mean()), rel=1e-4)
    assert row["judge_less_than_first_se"] == pytest.approx(float(judged.mean(dim=0).std()) / PEOPLE**0.5, rel=1e-3)
    # Nobody read the yaw.
    assert all(math.isnan(value) for value in column(curves, "yaw_read_deg"))
    assert len(curves.rows) == 6 and column(curves, "yaw_asked_deg") == [*yaws, *yaws]


def test_portraits_are_turned_as_far_as_they_go(tested: FacesUnderTest, sampler: PortraitSampler) -> None:
    seen = true_turns(sampler, 2, RESOLUTION, tested.embedder, None, False, (-60.0, 0.0, 40.0))
    assert seen.name == TRUE_TURNS and seen.yaws_deg == (0.0, 40.0)
    torch.testing.assert_close(seen.to_front[0], torch.ones(2))
    assert bool((seen.to_front[1] < 1).all())


# Pictures and distances.


def test_fig_4_has_a_row_for_each_way_and_a_column_for_each_yaw(tested: FacesUnderTest) -> None:
    figure = turned_views(tested, rig_of("rotation"), 2)
    assert len(figure.rows) == 2 * 4 * 7 and column(figure, "yaw_asked_deg")[:7] == [-60, -30, -15, 0, 15, 30, 60]
    assert figure.picture is not None
    small = turned_views_figure(
        turners_of(tested.faces, None), tested.unseen_codes(1), tested.pictures(tested.unseen_codes(1)), tested.embedder
    )
    assert small.picture is not None and small.picture.height < figure.picture.height / 3


def test_fig_4_shows_lifted_faces_of_the_same_codes(tested: FacesUnderTest) -> None:
    torch.manual_seed(0)
    lifted = LiftedGAN(tested.faces.generator, TINY).eval()
    plain, compared = turned_views(tested, None, 1), turned_views(tested, None, 1, lifted)
    assert len(compared.rows) == len(plain.rows) + 7 and any("LiftedGAN" in row for row in compared.rows)


def plain_features() -> FeatureReader:
    return FeatureReader("frechet_colour", torch.nn.Identity(), lambda images: images.mean(dim=(2, 3)))


def test_distances_are_to_real_pictures_and_to_other_codes(tested: FacesUnderTest) -> None:
    codes, others = tested.unseen_codes(12), tested.unseen_codes(12, 12)
    generated = tested.pictures(codes)
    # The very pictures, then the same shifted: a distance of 3 colours times the square of the shift.
    figure = frechet_figure(
        tested.faces, [], codes, others, plain_features(), lambda: [generated[:5], generated[5:], generated + 0.5]
    )
    rows = {(row[0], row[2]): row for row in figure.rows if not str(row[1]).startswith(frechet.PUBLISHED)}
    assert figure.columns[-2:] == ("frechet_colour_to_real", "frechet_colour_to_generator")
    assert rows["StyleGAN2", "none"][4] == pytest.approx(0, abs=1e-5)
    assert rows[frechet.OTHER_HALF, "none"][4] == pytest.approx(3 * 0.25, rel=1e-4)
    assert float(rows[COARSE, "hard"][4]) > 1e-4 and {(DETAILED, "hard"), (DETAILED, "soft")} <= set(rows)
    assert "Not FID" in figure.caption and figure.rows[-1][4] == 43.05
    with pytest.raises(InputError, match="24 real pictures"):
        frechet_figure(tested.faces, [], codes, others, plain_features(), lambda: [generated])
    with pytest.raises(InputError, match="at least 2 codes"):
        frechet_figure(tested.faces, [], codes[:1], others[:1], plain_features(), lambda: [generated])


def test_photos_of_a_folder_are_real_pictures(tested: FacesUnderTest, tmp_path: Path) -> None:
    for index in range(8):
        Image.new("RGB", (20, 20), (20 * index, 0, 255)).save(tmp_path / f"{index}.png")
    pictures = torch.cat(list(folder_pictures(tmp_path, 16, 8)))
    assert pictures.shape == (8, 3, 16, 16) and float(pictures[1, 0].mean()) == pytest.approx(20 / 127.5 - 1)
    with pytest.raises(InputError, match="expected 9 photos"):
        list(folder_pictures(tmp_path, 16, 9))
    figure = frechet_distances(tested, None, 4, plain_features(), str(tmp_path), None)
    assert [row[1] for row in figure.rows[4:7]] == [frechet.OTHER_POSE] * 3
    with pytest.raises(InputError, match="got null"):
        frechet_distances(tested, None, 4, plain_features(), None, None)


# Claims.


def table(name: str, columns: tuple[str, ...], *rows: tuple[Cell, ...]) -> Figure:
    return Figure(name, name, name, columns, rows)


def turns(gap: float, error: float, judged: float = math.nan) -> Figure:
    of_first = (1.0, 0.0, 0.0)
    rows = [
        (DETAILED, SMALL, 9.0, 0.9, 0.0, 0.0, 1.0, 0.9, 0.0, 0.0, 2.0, *of_first),
        (DETAILED, LARGE, 9.0, 0.8, 0.0, 0.0, 1.0, 0.8, 0.0, 0.0, 5.0, *of_first),
        (MOVED, SMALL, 9.0, 0.9, 0.0, 0.1, 1.0, 0.9, 0.0, 0.1, 2.0, 1 + judged, judged, 0.1),
        (MOVED, LARGE, 9.0, 0.8 + gap, gap, error, 1.0, 0.8, 0.0, 0.1, 20.0, 1 + judged, judged, 0.1),
    ]
    return table(SUMMARY, SUMMARY_COLUMNS, *rows)


def test_turns_are_told_apart_by_their_errors() -> None:
    verdicts = [turn_claims("run", turns(*each))[0].holds for each in ((-0.3, 0.1), (0.3, 0.1), (-0.1, 0.1))]
    assert verdicts == [True, False, None]
    moved, rig, loses = turn_claims("run", turns(-0.3, 0.1))
    assert "20" in moved.measure and rig.holds is None and RIGGED in rig.missing and loses.holds is True


def test_the_judge_has_a_verdict_of_its_own_on_turns() -> None:
    verdicts = [turn_claims("run", turns(-0.3, 0.1, judged))[1] for judged in (0.3, -0.3, 0.1)]
    # A larger change of identity is worse.
    assert [claim.holds for claim in verdicts] == [True, False, None]
    assert "by_judge" in verdicts[0].measure and verdicts[0].values == {DETAILED: 1.0, MOVED: 1.3}


def test_maps_must_beat_the_coefficients_by_every_measure() -> None:
    measures = ("psnr_db", "ssim", "perceptual", "judged_identity_spreads")
    columns = ("view", "face", "codes", *measures, *(name + image_measures.ERROR for name in measures))
    figure = table(
        image_measures.TABLE,
        columns,
        ("original", "coarse", 5, 20.0, 0.8, 0.3, math.nan, *([math.nan] * 4)),
        ("original", "detailed", 5, 25.0, 0.9, 0.4, math.nan, 1.0, 0.06, 0.01, math.nan),
    )
    # What lies within the errors has no verdict.
    assert [(claim.measure.split()[3], claim.holds) for claim in detail_claims("run", figure)] == [
        ("psnr_db,", True),
        ("ssim,", None),
        ("perceptual,", False),
    ]


def test_one_view_is_compared_on_the_hidden_side() -> None:
    columns = ("against", "side", "face", "faces", "pixels_percent", "rmse", "psnr_db", *view_consistency.DIFFERENCE)
    rows: list[tuple[Cell, ...]] = [
        ("true portrait", side, face, 5, 10.0, error, 20.0, error - (0.1 if side == "hidden" else 0.2), 0.02)
        for side, face, error in (
            ("hidden", "detailed (one view)", 0.2),
            ("hidden", "detailed", 0.1),
            ("seen", "detailed (one view)", 0.1),
            ("seen", "detailed", 0.2),
        )
    ]
    name = view_consistency.TABLE
    (claim,) = view_claims("run", table(name, columns, *rows))
    assert claim.holds is True and claim.values == {"detailed (one view)": 0.2, "detailed": 0.1}
    (unsure,) = view_claims("run", table(name, columns, (*rows[0][:-1], 0.06), *rows[1:]))
    assert unsure.holds is None and "more faces" in unsure.missing
    (without,) = view_claims("run", table(name, columns, rows[1], rows[3]))
    assert without.holds is None and "one view" in without.missing


def test_pasted_renders_must_come_nearer_to_real_pictures(tested: FacesUnderTest) -> None:
    columns = ("pictures", "pose", "seam", "count", "fid_to_real", "fid_to_generator")
    rows = [(COARSE, "own", "hard", 9, 30.0, 1.0), (DETAILED, "own", "hard", 9, 20.0, 1.0)]
    (claim,) = frechet_claims("run", table(frechet.TABLE, columns, *rows))
    assert claim.holds is True and "fid_to_real" in claim.measure


def test_claims_of_a_run_reach_the_report(tmp_path: Path) -> None:
    figures = {SUMMARY: turns(-0.3, 0.1)}
    run = RunRecord(tmp_path, {}, "", {}, figures, {})
    claims = stylefaceuv_claims([run], ["run"])
    assert len(claims) == 3 and all(isinstance(claim, Claim) for claim in claims)
    page = compare_runs([run], ["run"], "title")[0].text()
    assert "What StyleFaceUV claims" in page and claims[0].text in page
    assert stylefaceuv_claims([RunRecord(tmp_path, {}, "", {}, {}, {})], ["run"]) == []


def test_identities_of_whole_pictures_and_of_faces_alone(tested: FacesUnderTest) -> None:
    figures = identities(tested, None, 2, None)
    assert [figure.name for figure in figures] == [
        "stylefaceuv_identity_against_yaw",
        "stylefaceuv_identity_by_turn",
        "stylefaceuv_identity_against_yaw_of_faces",
        "stylefaceuv_identity_by_turn_of_faces",
    ]
    assert {row[0] for row in figures[2].rows} == {name + ALONE for name in (DETAILED, COARSE, MOVED)}


def test_a_test_run_writes_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_toy_face(monkeypatch)
    options: dict[str, Any] = {**write_uv_networks(tmp_path), "settings": UVSettings(perceptual=0.0)}
    first = StyleFaceUV(**options)
    weights = first.average.save(tmp_path / "uv_generator.safetensors", first.provenance, first.sources)
    (tmp_path / "photos").mkdir()
    for index in range(6):
        Image.new("RGB", (16, 16), (40 * index, 0, 255)).save(tmp_path / "photos" / f"{index}.png")
    names: list[FigureName] = ["turned_views", "identity_against_yaw", "frechet"]
    drawing = StyleFaceUVFigures(names, real_pictures=str(tmp_path / "photos"), turned=2, compared=3, shown=1)
    data = LatentPairDataModule(batch_size=2, train_pairs=4, test_pairs=2, max_latents=1)
    quiet_trainer(tmp_path, callbacks=[drawing]).test(StyleFaceUV(**options, weights=str(weights)), data, verbose=False)
    figures = {figure.name: figure for figure in read_figures(tmp_path)}
    assert {SUMMARY, f"{SUMMARY}_of_faces", frechet.TABLE, "stylefaceuv_turned_views"} <= set(figures)
    numbers = json.loads((tmp_path / StyleFaceUVFigures.FILE).read_text())
    assert numbers[f"{SUMMARY}/{DETAILED}/{LARGE}/faces"] == 2
    assert numbers[f"{frechet.TABLE}/{DETAILED}/own/hard/frechet_judge_to_real"] > 0
    with pytest.raises(InputError, match="for frechet, got null for all"):
        StyleFaceUVFigures(["frechet"])
