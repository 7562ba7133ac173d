"""Figures of pictures of StyleRig on networks whose edits are known: mixing, conditional generation, limits and sweeps."""


import pytest
import torch
from torch import Tensor, nn

from datamodules.latent_pairs import PairRecipe
from evaluation.figures import Figure
from evaluation.stylerig import figure_parts
from evaluation.stylerig.conditional_generation import conditional_generation
from evaluation.stylerig.figure_parts import shown_codes, source_codes
from evaluation.stylerig.known_limits import known_limits
from evaluation.stylerig.mixing_figures import mixing_figures
from evaluation.stylerig.pictures import SIZE
from evaluation.stylerig.rig_under_test import RigUnderTest
from evaluation.stylerig.sweep_figures import sweep_figures
from models.observers import Judge, JudgeReading
from models.stylegan2 import Generator
from models.stylerig import FaceReconstruction, RigNetwork, SteeringNetwork
from renderers.camera import PerspectiveCamera
from renderers.face_renderer import FaceRenderer
from tests.toy_face import SIZES, toy_face_model

LAYERS, WIDTH = 2, 64
NAMES = ["mouth_smile_left", "mouth_smile_right"]


class WideGenerator(Generator):
    """Pictures of 8 x 8 that hold the numbers of the first layer, reduced to [-1, 1]."""

    num_layers, w_dim, resolution, z_dim = LAYERS, WIDTH, 8, WIDTH

    def __init__(self) -> None:
        nn.Module.__init__(self)
        self.mean_w, self.std_w = torch.zeros(WIDTH), torch.ones(WIDTH)

    def mapping(self, z: Tensor) -> Tensor:
        return 0.1 * z

    def synthesis(self, codes: Tensor, noise: str = "const") -> Tensor:
        return codes[:, :1].reshape(-1, 1, 8, 8).expand(-1, 3, -1, -1)


class CodeParameters(FaceReconstruction):
    """Parameters are the first numbers of the first layer."""

    def __init__(self) -> None:
        nn.Module.__init__(self)
        self.sizes = SIZES

    def forward(self, codes: Tensor) -> Tensor:
        return codes[:, 0, : SIZES.total]


class PictureJudge(Judge):
    """Reads the same numbers from pictures."""

    def __init__(self) -> None:
        nn.Module.__init__(self)
        self.sizes = SIZES

    def forward(self, images: Tensor) -> JudgeReading:
        numbers = images[:, 0].flatten(1)
        parts = {name: numbers[:, SIZES.slice(name)] for name in JudgeReading._fields if name != "features"}
        return JudgeReading(**parts, features=numbers)

    def component_spread(self, component: str) -> Tensor:
        return torch.full((getattr(SIZES, component),), 0.1)


def exact(components: tuple[str, ...], share: float = 1.0) -> RigNetwork:
    """A network that changes the numbers of its components as asked, or by a share of it, and no others."""
    network = SteeringNetwork(LAYERS, WIDTH, components, SIZES)
    with torch.no_grad():
        for row, column in enumerate(network.control_index):
            network.decoder_weight[0, row, column] = share
    network.parameter_std.fill_(0.1)
    network.decoder_weight.data.mul_(0.1)
    return network


def rig(*components: str, share: float = 1.0, judged: bool = True) -> RigUnderTest:
    face_model = toy_face_model()
    face_model.expression_names = tuple(NAMES)
    camera = PerspectiveCamera(focal_length=4.0, distance=10.0)
    return RigUnderTest(
        WideGenerator(),
        CodeParameters(),
        exact(components, share),
        nn.Identity(),
        FaceRenderer(face_model, camera, (8, 8)),
        face_model,
        PairRecipe(),
        PictureJudge() if judged else None,
    )


def column(figure: Figure, name: str) -> Tensor:
    return torch.tensor([float(row[figure.columns.index(name)]) for row in figure.rows])


@pytest.mark.parametrize("judged", [True, False])
def test_every_cell_of_a_mixing_grid_is_measured(judged: bool) -> None:
    pose, light = mixing_figures(rig("rotation", "illumination", judged=judged), sources=3, targets=4)
    assert [pose.name, light.name] == ["mixing_rotation", "mixing_illumination"] and "Fig. 9" in pose.title
    for figure, unit in ((pose, "deg"), (light, "spreads")):
        cells = [row[:2] for row in figure.rows]
        assert cells == [(source, target) for source in (1, 2, 3) for target in (1, 2, 3, 4)]
        assert column(figure, f"distance_before_{unit}").min() > 0
        assert column(figure, f"distance_after_{unit}").max() < 1e-2
        assert column(figure, "change_of_expression").max() < 1e-4
        assert figure.picture is not None and figure.picture.height == 4 * (SIZE + 2)
        assert "3 sources, 4 targets" in figure.caption and ("the judge" in figure.caption) == judged
        assert ("no judge was given" in figure.caption) != judged


def test_titles_name_the_figure_of_the_paper() -> None:
    titles = {part: mixing_figures(rig(part), 1, 1)[0].title for part in ("expression", "identity")}
    assert "Fig. 5" in titles["expression"] and "supplement Fig. 3" in titles["identity"]


def test_sources_go_from_one_end_to_the_other() -> None:
    rut = rig("expression")
    values = rut.face_reconstruction.parameters_of(source_codes(rut, "expression", 5)).expression
    ends = (values[-1] - values[0]).norm()
    assert ends > 0.25 and all((values[i + 1] - values[i]).norm() < ends for i in range(4))


@pytest.mark.parametrize("share", [1.0, 0.75])
def test_conditional_generation_removes_the_share_that_the_network_edits(share: float) -> None:
    (figure,) = conditional_generation(rig("expression", share=share), people=20, conditions=2, shown=3)
    assert figure.name == "conditional_expression" and "3 of 20 random people" in figure.caption
    before, after = column(figure, "std_before_spreads"), column(figure, "std_after_spreads")
    torch.testing.assert_close(after, (1 - share) * before, rtol=1e-3, atol=1e-4)
    before, after = column(figure, "bias_before_spreads"), column(figure, "bias_after_spreads")
    torch.testing.assert_close(after, (1 - share) * before, rtol=1e-3, atol=1e-4)
    assert len(figure.rows) == 2 and figure.picture is not None and figure.picture.height == 3 * (SIZE + 2)


def test_limits_show_what_was_asked_and_what_came() -> None:
    roll, asymmetry = known_limits(rig("rotation", "expression", share=0.5), people=6, shown=2)
    assert [roll.name, asymmetry.name] == ["limits_in_plane_rotation", "limits_asymmetric_expressions"]
    asked, achieved = column(roll, "asked_deg"), column(roll, "roll_mean_deg")
    # Half of the way from what each is to what is asked.
    torch.testing.assert_close(achieved - achieved[4], 0.5 * asked, rtol=1e-3, atol=1e-3)
    assert asked.min() == -40 and asked.max() == 40
    assert [row[:2] for row in asymmetry.rows] == [("smile", sides) for sides in ("left", "right", "both")]
    for side in ("left", "right"):
        wanted = 0.5 * column(asymmetry, f"asked_{side}")
        torch.testing.assert_close(column(asymmetry, f"achieved_{side}_mean"), wanted, rtol=1e-3, atol=1e-3)
        assert column(asymmetry, f"achieved_{side}_std").max() < 1e-4


def test_face_models_without_names_and_other_networks_have_no_limits_to_show() -> None:
    nameless = rig("expression")
    nameless.face_model.expression_names = ("first", "second")
    assert known_limits(nameless, people=2) == [] and known_limits(rig("illumination"), people=2) == []


def test_sweeps_hold_what_was_asked_of_each_slider() -> None:
    figures = sweep_figures(rig("rotation", "identity"), people=4, shown=2)
    assert [figure.name for figure in figures] == ["sweep_yaw", "sweep_pitch", "sweep_id0"]
    for figure in figures:
        # Pictures end at 1, which identity coefficients of 2 go beyond.
        asked = column(figure, "asked").clamp(-1, 1) if figure.name == "sweep_id0" else column(figure, "asked")
        torch.testing.assert_close(column(figure, "achieved_mean"), asked, rtol=1e-3, atol=1e-3)


def test_codes_are_where_the_rig_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Codes by seed come on the CPU; torch's device without memory stands for a GPU."""
    rut = rig("rotation")
    monkeypatch.setattr(figure_parts, "codes_of_seeds", lambda generator, seeds: torch.zeros(len(seeds), WIDTH))
    rut.network.to("meta")
    rut.generator.mean_w = rut.generator.mean_w.to("meta")
    assert shown_codes(rut, 3).device.type == source_codes(rut, "rotation", 3).device.type == "meta"


def test_captions_give_the_middle_of_an_even_number_of_cells() -> None:
    figure = mixing_figures(rig("rotation", share=0.5), sources=1, targets=2)[0]
    before, after = (float(column(figure, f"distance_{when}_deg").mean()) for when in ("before", "after"))
    assert f"{before:.2f} degrees unedited, {after:.2f} edited" in figure.caption


def test_codes_shown_are_the_same_every_time() -> None:
    first, second = (mixing_figures(rig("rotation"), 2, 2)[0] for _ in range(2))
    assert first.rows == second.rows
