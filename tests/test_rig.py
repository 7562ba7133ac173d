"""Rigs of one or several networks: order, choice, feedback, ranges, and opening them from files."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from models.morphable import FaceParameters, ParameterSizes
from models.morphable.loading import save_face_model
from models.stylegan2.loading import load_generator
from models.stylerig import (
    FaceReconstruction,
    ParameterStatistics,
    Provenance,
    RigNet,
    RigNetwork,
    RigSources,
    SteeringNetwork,
)
from models.stylerig.opening import open_rig
from models.stylerig.rig import Rig
from models.stylerig.sliders import Slider, read_slider
from models.stylerig.support import support_warnings, supported_range
from renderers.camera import PerspectiveCamera
from renderers.errors import InputError
from tests.tiny_stylerig import LAYERS, WIDTH, write_networks
from tests.toy_face import SIZES, toy_face_model, toy_parameters

# A world in which everything is linear: a code is a parameter vector, and F reads it as it is.
LINEAR_LAYERS, LINEAR_WIDTH = 1, SIZES.total


class _LinearReading(FaceReconstruction):
    def __init__(self) -> None:
        super().__init__(LINEAR_LAYERS, LINEAR_WIDTH, SIZES, hidden=2)
        self.net = nn.Sequential(nn.Identity())
        self.output_scale.fill_(1.0)


class _ShortEdit(RigNetwork):
    """Goes a share of the way that is asked, in every parameter it is given; `spill` of that also into the translation."""

    kind = "short"

    def __init__(self, components: Sequence[str], gain: float = 1.0, spill: float = 0.0) -> None:
        super().__init__(LINEAR_LAYERS, LINEAR_WIDTH, components, SIZES)
        self.gain, self.spill = gain, spill
        self.seen: list[tuple[Tensor, Tensor]] = []

    def edit(self, codes: Tensor, own: Tensor, target: Tensor) -> Tensor:
        self.seen.append((own, target))
        change = self.gain * (target - own)
        moved = torch.zeros_like(change)
        moved[:, self.control_index] = change[:, self.control_index]
        where = SIZES.slice("translation")
        moved[:, where] = self.spill * change[:, self.control_index].sum(dim=1, keepdim=True)
        return codes + moved[:, None]

    @property
    def is_trained(self) -> bool:
        return True

    def layout(self) -> dict[str, Any]:
        return {}

    @classmethod
    def from_layout(
        cls, num_layers: int, w_dim: int, components: Sequence[str], sizes: ParameterSizes, layout: Mapping[str, Any]
    ) -> "_ShortEdit":
        return cls(components)


def codes_of(parameters: FaceParameters) -> Tensor:
    return parameters.pack()[:, None]


@pytest.fixture
def own() -> FaceParameters:
    return toy_parameters(4)


@pytest.fixture
def target() -> FaceParameters:
    return toy_parameters(4, seed=9)


def test_edits_what_is_asked_and_nothing_else(own: FaceParameters, target: FaceParameters) -> None:
    rig = Rig(_LinearReading(), [_ShortEdit(("rotation",)), _ShortEdit(("expression",)), _ShortEdit(("illumination",))])
    assert rig.components == ("rotation", "expression", "illumination")
    found = rig.parameters_of(rig.edit(codes_of(own), target, ("expression", "rotation")))
    expected = own.with_components_from(target, ("rotation", "expression"))
    torch.testing.assert_close(found.pack(), expected.pack())


def test_networks_follow_pie_and_see_what_the_one_before_left(own: FaceParameters, target: FaceParameters) -> None:
    parts = ("expression", "illumination", "identity", "rotation")
    networks = {part: _ShortEdit((part,), spill=0.1) for part in parts}
    rig = Rig(_LinearReading(), list(networks.values()))
    order = [components for _, components in rig.plan(parts)]
    assert order == [("identity",), ("rotation",), ("illumination",), ("expression",)]
    rig.edit(codes_of(own), target, parts)
    translation = SIZES.slice("translation")
    for earlier, later in zip(order, order[1:], strict=False):
        before, after = (networks[part[0]].seen[0][0] for part in (earlier, later))
        assert not torch.equal(before[:, translation], after[:, translation])
        # What it does not edit, it is asked to keep as it is by now.
        asked = networks[later[0]].seen[0][1]
        assert torch.equal(asked[:, translation], after[:, translation])


def test_one_network_for_all_is_called_once(own: FaceParameters, target: FaceParameters) -> None:
    network = _ShortEdit(("rotation", "expression", "illumination"))
    rig = Rig(_LinearReading(), [network])
    found = rig.parameters_of(rig.edit(codes_of(own), target, ("illumination", "rotation")))
    assert len(network.seen) == 1
    expected = own.with_components_from(target, ("rotation", "illumination"))
    torch.testing.assert_close(found.pack(), expected.pack())
    torch.testing.assert_close(network.seen[0][1], expected.pack())


def test_a_network_of_its_own_goes_before_one_for_all(own: FaceParameters, target: FaceParameters) -> None:
    alone, joint = _ShortEdit(("rotation",)), _ShortEdit(("rotation", "expression", "illumination"))
    rig = Rig(_LinearReading(), [joint, alone])
    assert [
        (network is alone, components) for network, components in rig.plan(("rotation", "expression", "illumination"))
    ] == [
        (True, ("rotation",)),
        (False, ("illumination", "expression")),
    ]
    rig.edit(codes_of(own), target, ("rotation",))
    assert len(alone.seen) == 1 and not joint.seen


def test_two_networks_of_one_control_are_refused() -> None:
    with pytest.raises(InputError, match="expected one rig for rotation, got 2"):
        Rig(_LinearReading(), [_ShortEdit(("rotation",)), _ShortEdit(("rotation",))])


def test_what_no_network_controls_is_refused(own: FaceParameters) -> None:
    rig = Rig(_LinearReading(), [_ShortEdit(("rotation",))])
    with pytest.raises(
        InputError, match="expected one of rotation, which this rig controls, got expression; add a rig"
    ):
        rig.edit(codes_of(own), own, ("rotation", "expression"))
    with pytest.raises(InputError, match="got translation"):
        rig.edit(codes_of(own), own, ("translation",))


@pytest.mark.parametrize("gain", [0.6, 1.4])
@pytest.mark.parametrize("rounds", [0, 1, 2, 4])
def test_feedback_takes_the_miss_down_by_its_share_each_round(gain: float, rounds: int) -> None:
    own, target = toy_parameters(3), toy_parameters(3, seed=9, spread=0.3)
    rig = Rig(_LinearReading(), [_ShortEdit(("rotation",), gain)])
    found = rig.parameters_of(rig.edit(codes_of(own), target, ("rotation",), feedback=rounds))
    # In a linear world a step leaves (1 - gain) of the miss.
    expected = (1 - gain) ** (rounds + 1) * (own.rotation - target.rotation)
    torch.testing.assert_close(found.rotation - target.rotation, expected, atol=1e-5, rtol=1e-4)


def test_feedback_does_not_run_away_from_a_target_out_of_reach() -> None:
    own = toy_parameters(1, spread=0.0)
    target = own.replace(rotation=torch.tensor([[0.1, -0.5, 0.0]]))
    network = _ShortEdit(("rotation",), gain=0.1)
    network.normalise_by(ParameterStatistics(torch.zeros(SIZES.total), torch.full((SIZES.total,), 0.05)))
    Rig(_LinearReading(), [network]).edit(codes_of(own), target, ("rotation",), feedback=8)
    asked = network.seen[-1][1][0, SIZES.slice("rotation")]
    torch.testing.assert_close(asked, torch.tensor([0.1 + 3 * 0.05, -0.5 - 3 * 0.05, 0.0]))


def test_feedback_may_look_with_other_eyes(own: FaceParameters, target: FaceParameters) -> None:
    rig = Rig(_LinearReading(), [_ShortEdit(("rotation",))])

    def biased(codes: Tensor) -> FaceParameters:
        read = rig.parameters_of(codes)
        return read.replace(rotation=read.rotation + 0.1)

    found = rig.parameters_of(rig.edit(codes_of(own), target, ("rotation",), feedback=1, estimator=biased))
    torch.testing.assert_close(found.rotation, target.rotation - 0.1)


def test_many_codes_in_chunks_are_the_same(target: FaceParameters) -> None:
    rig = Rig(_LinearReading(), [_ShortEdit(("rotation",), 0.7)])
    own = toy_parameters(2500)
    whole = rig.edit(codes_of(own), target[0], ("rotation",), feedback=1, chunk=2500)
    torch.testing.assert_close(rig.edit(codes_of(own), target[0], ("rotation",), feedback=1, chunk=999), whole)
    each = toy_parameters(2500, seed=4)
    chunked = rig.edit(codes_of(own), each, ("rotation",), chunk=999)
    torch.testing.assert_close(chunked, rig.edit(codes_of(own), each, ("rotation",), chunk=2500))
    with pytest.raises(InputError, match="for each of 4 codes, got 3"):
        rig.edit(codes_of(target), target[:3], ("rotation",))


def test_sliders_edit_from_what_is_read(own: FaceParameters) -> None:
    model = toy_face_model()
    rig = Rig(_LinearReading(), [_ShortEdit(("rotation",)), _ShortEdit(("expression",))])
    sliders = [Slider("yaw", 20.0), Slider("second", 0.5, relative=True)]
    found = rig.parameters_of(rig.edit_by(codes_of(own), sliders, model, chunk=3))
    assert read_slider(found, "yaw", model).tolist() == pytest.approx([20] * 4, abs=1e-3)
    torch.testing.assert_close(found.expression[:, 1], own.expression[:, 1] + 0.5)
    torch.testing.assert_close(found.rotation[:, [0, 2]], own.rotation[:, [0, 2]])
    assert torch.equal(rig.edit_by(codes_of(own), [], model), codes_of(own))


def test_feedback_of_a_slider_corrects_what_it_changes(own: FaceParameters) -> None:
    model = toy_face_model()
    network = _ShortEdit(("rotation",), gain=0.8)
    rig = Rig(_LinearReading(), [network])

    def biased(codes: Tensor) -> FaceParameters:
        return rig.parameters_of(codes).replace(rotation=rig.parameters_of(codes).rotation + 0.05)

    rig.edit_by(codes_of(own), [Slider("yaw", 20.0)], model, feedback=1, estimator=biased)
    (_, first), (_, second) = ((step[0], step[1][:, SIZES.slice("rotation")]) for step in network.seen)
    assert torch.equal(first[:, [0, 2]], second[:, [0, 2]])
    torch.testing.assert_close(second[:, 1] - first[:, 1], 0.2 * (first[:, 1] - own.rotation[:, 1]) - 0.05)


def trained(network: RigNetwork, seed: int = 5) -> RigNetwork:
    rng = torch.Generator().manual_seed(seed)
    for parameter in network.parameters():
        parameter.data.copy_(0.1 * torch.randn(parameter.shape, generator=rng))
    return network


def test_gradients_flow_to_codes_and_targets_through_every_network_and_feedback(target: FaceParameters) -> None:
    torch.manual_seed(0)
    networks = [
        trained(RigNet(LAYERS, WIDTH, ("rotation",), SIZES, latent=4)),
        trained(SteeringNetwork(LAYERS, WIDTH, ("expression",), SIZES)),
    ]
    rig = Rig(FaceReconstruction(LAYERS, WIDTH, SIZES, hidden=8), networks).double().requires_grad_(False)
    codes = torch.randn(2, LAYERS, WIDTH).double().requires_grad_()
    asked = target[:2].to(dtype=torch.float64).pack().requires_grad_()

    def edited(codes: Tensor, asked: Tensor) -> Tensor:
        return rig(codes, FaceParameters.unpack(asked, SIZES), ("rotation", "expression"), feedback=1)

    assert torch.autograd.gradcheck(edited, (codes, asked), fast_mode=True)
    assert not rig.edit(codes, FaceParameters.unpack(asked, SIZES), ("rotation",)).requires_grad


def test_networks_of_other_sizes_are_refused() -> None:
    reading = FaceReconstruction(LAYERS, WIDTH, SIZES, hidden=8)
    with pytest.raises(InputError, match="take both from one generator"):
        Rig(reading, [RigNet(LAYERS + 1, WIDTH, ("rotation",), SIZES)])
    with pytest.raises(InputError, match="at least one rig network"):
        Rig(reading, [])


@pytest.fixture
def seen_rig() -> Rig:
    """Means of 0; yaw 0.1 radians and everything else 0.2 either way, but the second expression constant."""
    std = torch.full((SIZES.total,), 0.2)
    std[SIZES.slice("rotation").start + 1] = 0.1
    std[SIZES.slice("expression").start + 1] = 1.0
    network = _ShortEdit(("rotation", "expression", "illumination"))
    network.normalise_by(ParameterStatistics(torch.zeros(SIZES.total), std))
    return Rig(_LinearReading(), [network])


def test_supported_ranges_are_those_of_the_training(seen_rig: Rig) -> None:
    model = toy_face_model()
    assert supported_range(seen_rig, "yaw", model) == pytest.approx((-17.19, 17.19), abs=0.01)
    assert supported_range(seen_rig, "first", model, spread=2.0) == pytest.approx((-0.4, 0.4))
    low, high = supported_range(seen_rig, "light_warmth", model)
    assert low < -0.3 and high > 0.3
    with pytest.raises(InputError, match="add a rig that was trained for identity"):
        supported_range(seen_rig, "id0", model)


def test_warnings_name_slider_codes_and_range(seen_rig: Rig) -> None:
    model, own = toy_face_model(), toy_parameters(3, spread=0.0)
    fine = [Slider("yaw", 15.0), Slider("pitch", -30.0), Slider("light_azimuth", 30.0)]
    assert support_warnings(seen_rig, own, fine, model) == []
    assert support_warnings(
        seen_rig, own, [Slider("yaw", (10.0, 40.0, -50.0)), Slider("second", 0.3, relative=True)], model
    ) == [
        "yaw: asked -50 deg for 2 of 3 codes, faces in this rig's training had -17 deg to 17 deg; expect to fall short",
        "second: asked 0.30 for 3 of 3 codes, but faces in this rig's training did not vary in it; expect no effect to rely on",
    ]


class _Files:
    """A generator, F, face model and rigs on disk."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.generator = write_networks(folder)["generator"]
        self.face_model = str(save_face_model(folder / "face.safetensors", toy_face_model(), "toy"))
        self.camera = PerspectiveCamera(3.0, 9.0, (0.1, 0.0))
        self.provenance = Provenance.of(load_generator(self.generator), toy_face_model(), self.camera)
        self.reading = str(
            FaceReconstruction(LAYERS, WIDTH, SIZES, hidden=8).save(folder / "f.safetensors", self.provenance)
        )
        self.sources = RigSources(self.generator, self.reading, self.face_model)

    def rig(self, component: str, sources: RigSources | None = None, provenance: Provenance | None = None) -> Path:
        network = trained(RigNet(LAYERS, WIDTH, (component,), SIZES, latent=4))
        path = self.folder / f"{component}.safetensors"
        return network.save(path, provenance or self.provenance, sources or self.sources)


@pytest.fixture
def files(tmp_path: Path) -> _Files:
    return _Files(tmp_path)


def test_rigs_open_with_what_they_name(files: _Files) -> None:
    opened = open_rig([files.rig("rotation"), files.rig("expression")])
    assert opened.rig.components == ("rotation", "expression")
    assert opened.camera == files.camera and opened.provenance == files.provenance and opened.sources == files.sources
    assert opened.face_model.expression_names == ("first", "second") and opened.face_model.sizes == SIZES
    assert not any(parameter.requires_grad for parameter in opened.rig.parameters())
    codes = opened.generator.broadcast(opened.generator.mapping(torch.randn(2, 10)))
    edited = opened.rig.edit_by(codes, [Slider("yaw", 20.0), Slider("first", 1.0)], opened.face_model)
    assert edited.shape == codes.shape and not torch.equal(edited, codes)
    assert opened.to("cpu") is opened


@pytest.mark.parametrize("role", ["generator", "face_reconstruction", "face_model"])
def test_a_part_that_moved_is_named_by_its_option(files: _Files, role: str) -> None:
    path = files.rig("rotation", replace(files.sources, **{role: str(files.folder / "moved.safetensors")}))
    with pytest.raises(InputError, match=rf"found none there; give --{role}$"):
        open_rig([path])
    assert open_rig([path], **{role: getattr(files.sources, role)}).rig.components == ("rotation",)


def test_rigs_of_different_origin_are_refused(files: _Files) -> None:
    first = files.rig("rotation")
    other = files.rig("expression", provenance=replace(files.provenance, camera_distance=7.0))
    with pytest.raises(
        InputError, match="rotation.safetensors and .*expression.safetensors do not belong together: .*camera"
    ):
        open_rig([first, other])


def test_rigs_of_different_face_reconstructions_need_one_named(files: _Files) -> None:
    other = FaceReconstruction(LAYERS, WIDTH, SIZES, hidden=8).save(files.folder / "other.safetensors", files.provenance)
    copy = files.folder / "copy.safetensors"
    copy.write_bytes(Path(files.reading).read_bytes())
    first = files.rig("rotation")
    paths = [first, files.rig("expression", replace(files.sources, face_reconstruction=str(other)))]
    with pytest.raises(InputError, match="one face reconstruction, .*f.safetensors and .*other.safetensors; give --face_reconstruction"):
        open_rig(paths)
    assert open_rig(paths, face_reconstruction=files.reading).sources.face_reconstruction == files.reading
    assert open_rig([first, files.rig("expression", replace(files.sources, face_reconstruction=str(copy)))]).rig.components


def test_another_generator_is_refused(files: _Files, tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    with pytest.raises(InputError, match="expected the generator that .*rotation.safetensors was trained for"):
        open_rig([files.rig("rotation")], generator=write_networks(tmp_path / "b", seed=1)["generator"])


def test_files_that_are_no_rigs_are_refused(files: _Files) -> None:
    with pytest.raises(InputError, match="expected a rig's weights, .* is of kind 'face-reconstruction'"):
        open_rig([files.reading])
    untrained = files.folder / "untrained.safetensors"
    RigNet(LAYERS, WIDTH, ("rotation",), SIZES, latent=4).save(untrained, files.provenance, files.sources)
    with pytest.raises(InputError, match="was never trained"):
        open_rig([untrained])
    with pytest.raises(InputError, match="at least one rig"):
        open_rig([])
