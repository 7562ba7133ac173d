"""The measurements of the demo against worlds in which every figure is known."""

import math

import pytest
import torch
from torch import Tensor, nn

from datamodules.portraits import PortraitSampler
from evaluation.picture_readers import JudgeReader, LandmarkReader, PoseReading
from evaluation.rasterizer_benchmark import RasterizerMeasurement
from evaluation.reading_changes import median_of
from evaluation.stylerig import demo_results
from evaluation.stylerig.demo_results import GeneratorMeasurement, measure_generator, targets_of
from evaluation.stylerig.edits import (
    EditMeasurement,
    Transfer,
    TransferMeasurement,
    _changes_at,
    edited_by,
    measure_edits,
    transfer_by,
)
from evaluation.stylerig.known_people import check_paints_portraits, edits_of_known_people
from evaluation.stylerig.reconstruction import ReconstructionMeasurement, measure_reconstruction
from evaluation.stylerig.true_turns import measure_true_turns, share_of_turn, turned_latents
from models.morphable import FaceParameters, ParameterSizes
from models.observers import Judge, JudgeReading
from models.stylegan2 import Generator
from models.stylerig import CONTROLLABLE, FaceReconstruction, SteeringNetwork
from renderers.errors import InputError
from renderers.face_renderer import FaceRenderer
from renderers.rotation import rotation_distance

LAYERS = 3


class CodeGenerator(Generator):
    """Pictures that hold a code's numbers: pixel (i, j) of every channel is number j of layer i."""

    num_layers, w_dim, resolution, z_dim = LAYERS, LAYERS, LAYERS, LAYERS

    def __init__(self) -> None:
        nn.Module.__init__(self)
        self.mean_w, self.std_w = torch.zeros(LAYERS), torch.full((LAYERS,), 0.1)

    def synthesis(self, codes: Tensor) -> Tensor:
        return codes[:, None].expand(-1, 3, -1, -1)

    def forward(self, z: Tensor) -> Tensor:
        return self.synthesis((0.1 * z)[:, None].expand(-1, LAYERS, -1))


class YawReader(LandmarkReader):
    """Yaw is the sum of the layers' first numbers; what should stay is the sum of their second ones."""

    def __init__(self) -> None:
        self.seen = torch.zeros(0)

    def read(self, images: Tensor, codes: Tensor) -> PoseReading:
        yaw = images[:, 0, :, 0].sum(dim=1)
        self.seen = images
        return PoseReading(torch.stack([images[:, 0, :, 1].sum(dim=1), yaw, torch.zeros_like(yaw)], dim=1))

    def changes(self, before: PoseReading, after: PoseReading, edited: str = "rotation") -> dict[str, Tensor]:
        return {"kept": (after.rotation - before.rotation)[:, 0].abs()}


def pairs() -> tuple[Tensor, Tensor]:
    """Yaw 0 asked to be 0.6, of which the layers give 0.3, 0.2 and 0.1; each layer of v moves what should stay by 0.001."""
    w, v = torch.zeros(4, LAYERS, LAYERS), torch.zeros(4, LAYERS, LAYERS)
    v[:, :, 0] = torch.tensor([0.3, 0.2, 0.1])
    v[:, :, 1] = 0.001
    return w, v


def turned(share: float, kept: float = 0.0) -> Transfer:
    def transfer(codes: Tensor, sources: Tensor) -> Tensor:
        edited = codes.clone()
        edited[:, :, 0] = codes[:, :, 0] + share * (sources - codes)[:, :, 0]
        edited[:, 0, 1] += kept
        return edited

    return transfer


def test_rotation_edits_have_known_figures() -> None:
    """Three quarters of the way: between one and two layers, which leave 0.3 and 0.1 of 0.6, at 0.15."""
    result = measure_edits(CodeGenerator(), turned(0.75, 0.0005), YawReader(), *pairs(), "rotation", batch_size=3)
    assert result.pairs == 4 and list(result.mixing) == [1, 2]
    assert result.unedited.axis_error_deg["yaw"] == pytest.approx(math.degrees(0.6), rel=1e-4)
    assert result.error_ratio == pytest.approx(0.25, rel=1e-2)
    assert result.unedited.moved == 0 and result.edited.moved == pytest.approx(math.degrees(0.45), rel=1e-2)
    assert result.yaw_slope == pytest.approx(0.75, rel=1e-4)
    assert result.slope == pytest.approx(0.75, rel=1e-2) and result.frechet_to_unedited is None
    # Style mixing: 0.001 at an error of 0.3 and 0.002 at 0.1, so 0.00175 at 0.15.
    assert result.change_ratio["kept"] == pytest.approx(0.0005 / 0.00175, rel=1e-2)


@pytest.mark.parametrize("share", [0.0, -0.5])
def test_edits_no_better_than_none_are_reported(share: float) -> None:
    """One layer of style mixing beats them already, so that no change at all would have done as well."""
    result = measure_edits(CodeGenerator(), turned(share, 0.01), YawReader(), *pairs(), "rotation")
    assert result.error_ratio == pytest.approx(1 - share, rel=1e-2) and result.yaw_slope == pytest.approx(share, abs=1e-5)
    assert result.change_ratio["kept"] == math.inf


def test_pairs_that_ask_for_nothing_are_reported() -> None:
    w = pairs()[0]
    result = measure_edits(CodeGenerator(), turned(1.0), YawReader(), w, w, "rotation")
    assert result.error_ratio == math.inf and math.isnan(result.yaw_slope)


def test_pictures_are_read_within_their_range() -> None:
    reader = YawReader()
    measure_edits(CodeGenerator(), turned(1.0), reader, *(9 * codes for codes in pairs()), "rotation")
    assert reader.seen.max() <= 1


def test_changes_are_interpolated_between_the_last_two_steps() -> None:
    steps = [TransferMeasurement(0.0, error, {}, {"x": change}) for error, change in ((30.0, 0.0), (20.0, 1.0), (10.0, 3.0))]
    assert _changes_at(15.0, steps) == {"x": 2.0}
    assert _changes_at(40.0, steps) == {"x": 1.0} and _changes_at(1.0, steps) == {"x": 3.0}
    assert _changes_at(20.0, [steps[1], steps[1]]) == {"x": 1.0}


def test_medians_of_two_pairs_are_their_mean() -> None:
    """Not the smaller error of both, which would flatter."""
    w, v = (codes[:2].clone() for codes in pairs())
    v[1] *= 2
    result = measure_edits(CodeGenerator(), turned(0.5), YawReader(), w, v, "rotation")
    assert result.unedited.axis_error_deg["yaw"] == pytest.approx(math.degrees(0.9), rel=1e-4)
    assert result.unedited.error == pytest.approx(math.degrees(0.9), rel=1e-3)


class FirstNumbers(FaceReconstruction):
    """Every parameter is one of the first three numbers of the first layer."""

    sizes = ParameterSizes(LAYERS, LAYERS, LAYERS)

    def __init__(self) -> None:
        nn.Module.__init__(self)

    def forward(self, codes: Tensor) -> Tensor:
        return codes[:, 0].repeat(1, self.sizes.total // LAYERS)


def network_of(component: str) -> SteeringNetwork:
    network = SteeringNetwork(LAYERS, LAYERS, (component,), FirstNumbers.sizes)
    with torch.no_grad():
        network.decoder_weight[0, :LAYERS] = torch.eye(LAYERS)
    return network


def random_pairs() -> tuple[Tensor, Tensor]:
    return tuple(0.3 * torch.randn(2, 40, LAYERS, LAYERS, generator=torch.Generator().manual_seed(0)))  # type: ignore[return-value]


def copied(codes: Tensor, sources: Tensor) -> Tensor:
    return sources


def untouched(codes: Tensor, sources: Tensor) -> Tensor:
    return codes


def measured(component: str, transfer: Transfer) -> EditMeasurement:
    return measure_edits(CodeGenerator(), transfer, JudgeReader(MeanJudge()), *random_pairs(), component)


@pytest.mark.parametrize("component", CONTROLLABLE)
def test_copied_codes_are_exact_and_untouched_ones_unchanged(component: str) -> None:
    exact, none = measured(component, copied), measured(component, untouched)
    assert exact.error_ratio == pytest.approx(0, abs=1e-4) and exact.slope == pytest.approx(1)
    assert none.error_ratio == 1 and none.slope == 0 and none.code_change == none.frechet_to_unedited == 0
    assert set(none.edited.changes.values()) == {0.0} and none.edited.moved == 0
    assert exact.frechet_to_unedited == pytest.approx(exact.frechet_between_codes) and exact.frechet_between_codes > 0
    w, v = random_pairs()
    assert exact.code_change == pytest.approx(float((v - w).square().mean().sqrt()) / 0.1, rel=1e-4)
    assert (exact.yaw_slope is None) == (component != "rotation")


def test_each_component_names_what_should_stay() -> None:
    kept = {component: set(measured(component, copied).edited.changes) for component in CONTROLLABLE}
    assert kept == {
        "rotation": {"expression", "illumination", "identity"},
        "expression": {"rotation_deg", "illumination", "identity"},
        "illumination": {"rotation_deg", "expression", "identity"},
        "identity": {"rotation_deg", "expression", "illumination", "reflectance"},
    }


def test_entries_are_named_by_what_was_measured() -> None:
    rotation, expression = (measured(component, copied).as_dict() for component in ("rotation", "expression"))
    assert set(rotation["edited"]) == {"turn_deg", "rotation_error_deg", "axis_error_deg", "changes"}
    assert set(expression["edited"]) == {"moved", "error", "changes"} == set(expression["mixing"][1])
    assert (rotation["unit"], expression["unit"]) == ("deg", "spreads") and expression["component"] == "expression"


@pytest.mark.parametrize("component", ["expression", "illumination"])
def test_networks_that_steer_are_measured_as_others(component: str) -> None:
    """The first layer is set to that of the source, which is what F and the judge read."""
    network = network_of(component)
    w, v = random_pairs()
    edited = transfer_by(network, FirstNumbers(), component)(w, v)
    torch.testing.assert_close(edited[:, 0], v[:, 0])
    assert torch.equal(edited[:, 1:], w[:, 1:])
    assert measured(component, transfer_by(network, FirstNumbers(), component)).error_ratio == pytest.approx(0, abs=1e-4)


def test_edits_by_a_function_leave_what_it_leaves() -> None:
    w = random_pairs()[0]
    network = network_of("expression")
    torch.testing.assert_close(edited_by(network, FirstNumbers(), w, lambda own: own), w)
    moved = edited_by(network, FirstNumbers(), w, lambda own: own.replace(expression=own.expression + 1))
    torch.testing.assert_close(moved[:, 0], w[:, 0] + 1)


class Painter(CodeGenerator):
    """The mapping network passes on the numbers of a portrait's latent that are its true rotation in `KnownSampler`."""

    z_dim = 5

    def mapping(self, z: Tensor) -> Tensor:
        return z[:, :LAYERS]


class KnownSampler(PortraitSampler):
    """True rotations are the first three numbers of a latent."""

    latent_size = 5  # type: ignore[assignment]

    def __init__(self) -> None:
        nn.Module.__init__(self)
        self.face_model = type("Model", (), {"sizes": FirstNumbers.sizes})()

    def latents(self, person: Tensor, shot: Tensor, seed: int) -> Tensor:
        return 0.2 * torch.randn(len(person), 5, generator=torch.Generator().manual_seed(seed))

    def face_parameters(self, latents: Tensor) -> FaceParameters:
        return FaceParameters.zeros(len(latents), FirstNumbers.sizes).replace(rotation=latents[:, :LAYERS])


@pytest.mark.parametrize("offset", [0.0, 0.1])
def test_edits_of_known_people_have_known_figures(offset: float) -> None:
    """Without error where F is right; where F is off by the same yaw for all, asking for differences alone is exact."""

    class Off(FirstNumbers):
        def forward(self, codes: Tensor) -> Tensor:
            return super().forward(codes + torch.tensor([0.0, offset, 0.0]))

    arguments = (Painter(), network_of("rotation"), Off(), JudgeReader(MeanJudge()))
    result = edits_of_known_people(*arguments, KnownSampler(), "rotation", people=9)
    assert result.people == 9 and result.reading_error == pytest.approx(0, abs=0.05) and result.asked > 5
    assert result.reconstruction_error == pytest.approx(math.degrees(offset), abs=0.3)
    assert result.error == pytest.approx(math.degrees(offset), abs=0.3)
    assert result.error_of_differences == pytest.approx(0, abs=0.05)


def test_known_people_need_a_generator_of_portraits() -> None:
    with pytest.raises(InputError, match="paints portraits from latents of 5"):
        check_paints_portraits(CodeGenerator(), network_of("rotation"), KnownSampler())


class Points(nn.Module):
    """68 points, all at the numbers (0, 0) and (0, 1) of the picture's first layer."""

    def forward(self, images: Tensor) -> Tensor:
        return images[:, 0, :1, :2].expand(-1, 68, -1)


class FixedRenderer(FaceRenderer):
    def __init__(self) -> None:
        nn.Module.__init__(self)
        self.image_size = (1, 1)  # a third of the pictures'

    def project_landmarks(self, parameters: Tensor) -> Tensor:
        return parameters[:, None, :2].expand(-1, 68, -1)


class OffsetReconstruction(FaceReconstruction):
    def __init__(self) -> None:
        nn.Module.__init__(self)

    def parameters_of(self, codes: Tensor) -> Tensor:
        return codes[:, 0] / 3 + torch.tensor([0.1, 0.0, 0.0])


def test_reconstruction_has_known_figures() -> None:
    """Points off by 0.1 px of the rendering, which is 0.3 px of the picture; observed ones at 0 and 1 px, half a pixel off their mean."""
    codes = torch.zeros(10, LAYERS, LAYERS)
    codes[::2, 0, 0] = 1
    result = measure_reconstruction(
        CodeGenerator(), Points(), OffsetReconstruction(), FixedRenderer(), codes, batch_size=4
    )
    assert result.codes == 10 and result.mean_px == pytest.approx(0.3, rel=1e-4)
    assert result.median_px == pytest.approx(0.3, rel=1e-4) and result.worst_tenth_px == pytest.approx(0.3, rel=1e-4)
    assert result.mean_px_at_64 == pytest.approx(0.3 * 64 / LAYERS, rel=1e-4)
    assert result.constant_px == pytest.approx(0.5, rel=1e-4)


class MeanJudge(Judge):
    """Reads the first row of a picture as everything."""

    def __init__(self) -> None:
        nn.Module.__init__(self)

    def forward(self, images: Tensor) -> JudgeReading:
        row = images[:, 0, 0]
        light = row.repeat(1, 9)
        return JudgeReading(row, row, light, row, row, row)

    def component_spread(self, component: str) -> Tensor:
        return torch.ones(27 if component == "illumination" else LAYERS)


def test_generator_has_known_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Portraits drawn as the generator's samples, but twice as far from grey: half the spread, and a distance that follows."""

    class Portraits:
        def to(self, device: torch.device) -> "Portraits":
            return self

        def latents(self, people: Tensor, shots: Tensor, seed: int) -> Tensor:
            return torch.randn(len(people), LAYERS, generator=torch.Generator().manual_seed(7))

        def render(self, latents: Tensor, size: int) -> object:
            images = CodeGenerator().synthesis((0.2 * latents)[:, None].expand(-1, LAYERS, -1))
            return type("Shot", (), {"image": images})

    monkeypatch.setattr(demo_results, "PortraitSampler", Portraits)
    result = measure_generator(CodeGenerator(), MeanJudge(), 2000)
    assert result.samples == 2000
    for name in ("yaw", "pitch", "expression", "illumination"):
        assert result.spread_ratio[name] == pytest.approx(0.5, rel=0.05)
    # Three independent numbers with deviations 0.1 and 0.2: 3 (0.2 - 0.1)^2.
    assert result.frechet_to_portraits == pytest.approx(0.03, rel=0.1)
    assert result.frechet_between_halves < 0.001


def test_targets_hold_every_figure() -> None:
    edits = measure_edits(CodeGenerator(), turned(0.75, 0.0005), YawReader(), *pairs(), "rotation")
    rasterizer = RasterizerMeasurement(None, "no picture", 52000, 256, 25.0, 60.0, 2)
    generator = GeneratorMeasurement(10, 1.0, 0.5, dict.fromkeys(("yaw", "pitch", "expression", "illumination"), 0.9))
    targets = targets_of(rasterizer, generator, ReconstructionMeasurement(10, 1.0, 1.0, 1.0, 1.0, 3.0), edits)
    outcomes = [target.outcome for target in targets]
    assert outcomes[:3] == ["not measured", "not reached", "reached"] and set(outcomes[3:]) == {"reached"}
    assert len(targets) == 10


def test_judge_reader_names_what_should_stay() -> None:
    before, after = MeanJudge()(torch.zeros(2, 3, LAYERS, LAYERS)), MeanJudge()(torch.full((2, 3, LAYERS, LAYERS), 0.5))
    changes = JudgeReader(MeanJudge()).changes(before, after)
    assert {name: change.tolist() for name, change in changes.items()} == {
        name: pytest.approx([0.5, 0.5]) for name in ("expression", "illumination", "identity")
    }


def test_true_turns_change_the_rotation_alone() -> None:
    layout = PortraitSampler("coarse").layout
    own, source = torch.zeros(2, layout.total), torch.ones(2, layout.total)
    changed = turned_latents(layout, own, source).bool()
    part = layout.slices["rotation"]
    assert changed[:, part].all() and changed.sum() == 2 * (part.stop - part.start)


def test_the_median_portrait_is_turned_as_far_as_asked() -> None:
    sampler = PortraitSampler("coarse")
    people = torch.arange(40)
    own, source = sampler.latents(people, torch.zeros_like(people), 5).chunk(2)
    start = sampler.face_parameters(own).rotation

    def turn(share: float) -> float:
        rotation = sampler.face_parameters(turned_latents(sampler.layout, own, source, share)).rotation
        return median_of(rotation_distance(start, rotation).rad2deg())

    for asked in (2.0, 15.0, 1.2 * turn(1.0)):
        assert turn(share_of_turn(sampler, own, source, asked)) == pytest.approx(asked, rel=0.01)
    assert share_of_turn(sampler, own, source, turn(1.0)) == pytest.approx(1.0, abs=0.01)
    assert share_of_turn(sampler, own, source, 0.0) < 0.01 and share_of_turn(sampler, own, source, 170.0) == 4.0


def test_true_turns_are_read_against_the_poses_that_were_asked() -> None:
    torch.manual_seed(0)
    result = measure_true_turns(Judge().eval(), PortraitSampler("coarse"), pairs=2, image_size=16, seed=3, turn_deg=5.0)
    for turns in result:
        assert set(turns.changes) == {"expression", "illumination", "identity"}
        assert all(0 < change < math.inf for change in turns.changes.values())
        assert turns.error >= 0 and turns.moved >= 0


def test_true_turns_are_known_to_a_judge_without_error() -> None:
    """A judge that is told the truth: turns as asked, no error, and no change of anything else."""
    sampler = PortraitSampler("coarse")

    class Truth(MeanJudge):
        def forward(self, images: Tensor) -> JudgeReading:
            constant = images.new_ones(len(images), LAYERS)
            return JudgeReading(self.rotation, constant, constant.repeat(1, 9), constant, constant, constant)

    judge, drawn = Truth(), sampler.render

    def render(latents: Tensor, image_size: int) -> object:
        judge.rotation = sampler.face_parameters(latents).rotation
        return drawn(latents, image_size)

    sampler.render = render  # type: ignore[method-assign, assignment]
    result = measure_true_turns(judge, sampler, pairs=9, image_size=16, seed=3, turn_deg=10.0)
    assert result.as_asked.moved == pytest.approx(10, rel=0.01) and result.full.moved > 10
    assert [turns.error for turns in result] == pytest.approx([0, 0], abs=1e-2)
    assert all(change == 0 for turns in result for change in turns.changes.values())
