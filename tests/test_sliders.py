"""Named expressions and sliders in units that people think in."""

import math

import pytest
import torch

from models.morphable import FaceParameters, MorphableModel
from models.morphable.loading import load_face_model
from models.stylerig.expressions import canonical_name, expression_control, expression_controls
from models.stylerig.light import light_of
from models.stylerig.sliders import (
    Slider,
    apply_sliders,
    coefficients_of,
    components_of,
    read_slider,
    slider_names,
    transfer,
    unit_of,
    values_asked,
)
from renderers.errors import InputError
from tests.toy_face import toy_face_model, toy_parameters

ICT = (
    "browDown_L", "browDown_R", "browInnerUp_L", "browInnerUp_R", "cheekRaiser_L", "cheekRaiser_R", "eyeLookUp_L", "jawOpen",
    "mouthRollLower", "mouthShrugUpper", "mouthSmile_L", "mouthSmile_R", "mouthFrown_L", "mouthFrown_R",
)  # fmt: skip


@pytest.fixture(scope="module")
def shipped() -> MorphableModel:
    return load_face_model("procedural:coarse")


def named(names: tuple[str, ...]) -> MorphableModel:
    """The toy face with as many expressions as names."""
    tensors = toy_face_model().tensors()
    basis = tensors["expression_basis"][..., :1].expand(-1, -1, len(names)).contiguous()
    return MorphableModel.from_tensors({**tensors, "expression_basis": basis}, names)


def own_of(model: MorphableModel, batch: int = 2) -> FaceParameters:
    rng = torch.Generator().manual_seed(3)
    return FaceParameters.unpack(0.1 * torch.randn(batch, model.sizes.total, generator=rng), model.sizes)


def apply(model: MorphableModel, *sliders: Slider) -> tuple[FaceParameters, FaceParameters]:
    own = own_of(model)
    return own, apply_sliders(own, sliders, model)


def test_every_composite_is_there_for_the_shipped_face(shipped: MorphableModel) -> None:
    controls = expression_controls(shipped)
    composites = [name for name, control in controls.items() if control.is_composite]
    assert set(shipped.expression_names) < set(controls)
    assert {"smile", "frown", "open_mouth", "surprise", "blink", "pucker", "brow_raise"} <= set(composites)
    for name in composites:
        # A composite that moved the face by less than a millimetre would be a misspelt one.
        full = torch.zeros(1, shipped.sizes.expression)
        for index, weight in controls[name].weights:
            full[:, index] = weight
        assert (
            shipped.vertices(torch.zeros(1, shipped.sizes.identity), full).sub(shipped.mean_shape).norm(dim=2).max()
            > 0.01
        )


def test_composites_need_all_their_blendshapes() -> None:
    controls = expression_controls(named(ICT))
    assert {"smile", "frown", "open_mouth"} <= set(controls)
    assert not {"surprise", "blink", "pucker"} & set(controls)
    assert not any(control.is_composite for control in expression_controls(toy_face_model()).values())


@pytest.mark.parametrize(
    "theirs, ours",
    [
        ("mouthSmile_L", "mouth_smile_left"),
        ("mouthSmileRight", "mouth_smile_right"),
        ("eyeLookUp_L", "look_up_left"),
        ("cheekRaiser_R", "cheek_raise_right"),
        ("mouthRollLower", "lip_roll_lower"),
        ("jawLeft", "jaw_left"),
        ("mouth_left", "mouth_left"),
    ],
)
def test_spellings_of_other_face_models(theirs: str, ours: str) -> None:
    assert canonical_name(theirs) == ours


def test_expressions_answer_to_any_spelling() -> None:
    model = named(ICT)
    for name in ("mouthSmile_L", "mouth_smile_left", "mouthSmileLeft", "e10"):
        assert expression_control(model, name).weights == ((10, 1.0),)


def test_a_blendshape_goes_before_a_composite_of_its_name() -> None:
    model = named(("smile", *ICT))
    assert not expression_control(model, "smile").is_composite


@pytest.mark.parametrize(
    "name, advice",
    [("smiel", "did you mean smile"), ("jaw_opne", "did you mean jaw_open"), ("yawn", "did you mean yaw")],
)
def test_unknown_names_get_the_nearest_ones(shipped: MorphableModel, name: str, advice: str) -> None:
    with pytest.raises(InputError, match=advice):
        apply(shipped, Slider(name, 1.0))


def test_numbers_out_of_range_are_refused(shipped: MorphableModel) -> None:
    for name, message in (("e64", "from e0 to e63"), ("id80", "id0 to id79")):
        with pytest.raises(InputError, match=message):
            apply(shipped, Slider(name, 1.0))


def test_one_angle_leaves_the_others(shipped: MorphableModel) -> None:
    own, target = apply(shipped, Slider("yaw", 30.0))
    assert target.rotation[:, 1].tolist() == pytest.approx([math.radians(30)] * 2)
    assert torch.equal(target.rotation[:, [0, 2]], own.rotation[:, [0, 2]])
    for name in ("identity", "expression", "reflectance", "illumination", "translation"):
        assert torch.equal(getattr(target, name), getattr(own, name))


def test_relative_angles_start_from_what_is_read(shipped: MorphableModel) -> None:
    own, target = apply(shipped, Slider("pitch", -10.0, relative=True))
    torch.testing.assert_close(target.rotation[:, 0], own.rotation[:, 0] - math.radians(10))


def test_one_value_for_each_code(shipped: MorphableModel) -> None:
    _, target = apply(shipped, Slider("roll", (5.0, -5.0)))
    assert read_slider(target, "roll", shipped).tolist() == pytest.approx([5, -5])
    with pytest.raises(InputError, match="1 value of roll or one for each of 2 codes, got 3"):
        apply(shipped, Slider("roll", (1.0, 2.0, 3.0)))


def test_one_blendshape_leaves_the_others(shipped: MorphableModel) -> None:
    own, target = apply(shipped, Slider("jaw_open", 0.7))
    index = shipped.expression_names.index("jaw_open")
    others = [number for number in range(shipped.sizes.expression) if number != index]
    assert (target.expression[:, index] == 0.7).all()
    assert torch.equal(target.expression[:, others], own.expression[:, others])


def test_a_composite_sets_its_blendshapes(shipped: MorphableModel) -> None:
    _, target = apply(shipped, Slider("smile", 0.8))
    found = {
        name: float(target.expression[0, shipped.expression_names.index(name)])
        for name in ("mouth_smile_left", "cheek_raise_right")
    }
    assert found == pytest.approx({"mouth_smile_left": 0.8, "cheek_raise_right": 0.4})
    assert read_slider(target, "smile", shipped).tolist() == pytest.approx([0.8, 0.8])


def test_composites_add_up_and_named_blendshapes_win_in_any_order(shipped: MorphableModel) -> None:
    own = own_of(shipped)
    sliders = [
        Slider("surprise", 1.0),
        Slider("open_mouth", 0.4),
        Slider("brow_inner_up_left", 0.1),
        Slider("jaw_open", 0.2, relative=True),
    ]
    expected = {"jaw_open": 0.5 + 0.4 + 0.2, "brow_inner_up_left": 0.1, "brow_inner_up_right": 1.0}
    for order in (sliders, sliders[::-1]):
        target = apply_sliders(own, order, shipped)
        found = {name: float(target.expression[0, shipped.expression_names.index(name)]) for name in expected}
        assert found == pytest.approx(expected)


def test_relative_composites_start_from_what_is_read(shipped: MorphableModel) -> None:
    own, target = apply(shipped, Slider("smile", 0.3, relative=True))
    torch.testing.assert_close(read_slider(target, "smile", shipped), read_slider(own, "smile", shipped) + 0.3)


def test_identity_coefficients_by_number(shipped: MorphableModel) -> None:
    own, target = apply(shipped, Slider("id2", -1.5), Slider("id5", 0.5, relative=True))
    expected = own.identity.clone()
    expected[:, 2] = -1.5
    expected[:, 5] += 0.5
    torch.testing.assert_close(target.identity, expected)


def test_light_in_degrees_shares_and_brightness(shipped: MorphableModel) -> None:
    own, target = apply(shipped, Slider("light_azimuth", 40.0), Slider("light_brightness", 0.2, relative=True))
    before, after = light_of(own.illumination), light_of(target.illumination)
    torch.testing.assert_close(after.azimuth, torch.full((2,), math.radians(40)))
    torch.testing.assert_close(after.brightness, before.brightness + 0.2)
    torch.testing.assert_close(after.elevation, before.elevation)
    torch.testing.assert_close(after.strength, before.strength)
    assert read_slider(target, "light_azimuth", shipped).tolist() == pytest.approx([40, 40], abs=1e-3)


def test_light_cannot_become_less_than_even(shipped: MorphableModel) -> None:
    _, target = apply(shipped, Slider("light_strength", -5.0, relative=True))
    assert read_slider(target, "light_strength", shipped).tolist() == pytest.approx([0, 0], abs=1e-5)


def test_touched_components_come_in_one_order() -> None:
    sliders = [
        Slider("id1", 1.0),
        Slider("light_warmth", 0.1),
        Slider("smile", 1.0),
        Slider("yaw", 1.0),
        Slider("roll", 1.0),
    ]
    assert components_of(sliders) == ("rotation", "expression", "illumination", "identity")
    assert components_of([]) == ()


def test_changed_coefficients_are_those_that_differ(shipped: MorphableModel) -> None:
    sliders = [Slider("pitch", 9.0), Slider("light_brightness", 1.5), Slider("smile", 1.0), Slider("id7", 2.0)]
    own, target = apply(shipped, *sliders)
    assert torch.equal((own.pack() != target.pack()).all(dim=0), coefficients_of(sliders, shipped))


def test_every_slider_can_be_read_and_has_a_unit(shipped: MorphableModel) -> None:
    own = own_of(shipped)
    names = slider_names(shipped)
    assert len(set(names)) == len(names) and names[:3] == ("yaw", "pitch", "roll")
    for name in (*names[:40], "e63", "id79"):
        assert read_slider(own, name, shipped).shape == (2,) and unit_of(name)


def test_setting_what_is_read_changes_nothing(shipped: MorphableModel) -> None:
    own = own_of(shipped)
    names = ("yaw", "light_azimuth", "light_elevation", "light_strength", "light_warmth", "jaw_open", "id3")
    sliders = [Slider(name, tuple(read_slider(own, name, shipped).tolist())) for name in names]
    torch.testing.assert_close(apply_sliders(own, sliders, shipped).pack(), own.pack(), atol=1e-5, rtol=1e-4)


def test_absolute_values_of_relative_sliders(shipped: MorphableModel) -> None:
    own = own_of(shipped)
    found = values_asked(Slider("yaw", 5.0, relative=True), own, shipped)
    torch.testing.assert_close(found, torch.rad2deg(own.rotation[:, 1]) + 5)


def test_gradients_reach_what_was_read() -> None:
    model, vector = toy_face_model(), toy_parameters(2).pack().requires_grad_()
    own = FaceParameters.unpack(vector, model.sizes)
    sliders = [Slider("yaw", 5.0), Slider("first", 0.5, relative=True), Slider("light_azimuth", 20.0)]
    apply_sliders(own, sliders, model).pack().sum().backward()
    assert vector.grad is not None and vector.grad.isfinite().all()
    # An absolute angle forgets what was read.
    where = model.sizes.slice("rotation").start
    assert vector.grad[:, where + 1].tolist() == [0, 0] and vector.grad[:, where].tolist() == [1, 1]


def test_transfer_takes_whole_components() -> None:
    own, source = toy_parameters(3), toy_parameters(1, seed=1)
    target = transfer(own, source, ("rotation", "expression"))
    assert torch.equal(target.rotation, source.rotation.expand(3, 3))
    assert torch.equal(target.expression, source.expression.expand(3, -1))
    assert torch.equal(target.illumination, own.illumination) and torch.equal(target.translation, own.translation)
    with pytest.raises(InputError, match="got translation"):
        transfer(own, source, ("translation",))
    with pytest.raises(InputError, match="batch 3"):
        transfer(own, toy_parameters(2), ("rotation",))


@pytest.mark.parametrize(
    "name, value, message",
    [
        ("yaw", float("nan"), "finite numbers for yaw"),
        ("smile", (), "finite numbers for smile"),
        ("light_azimuth", 270.0, "light_azimuth in degrees from -180 to 180, got 270"),
        ("light_strength", -0.2, "light_strength of 0 or more"),
    ],
)
def test_values_that_cannot_be_meant_are_refused(name: str, value: float | tuple[float, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Slider(name, value)


def test_a_slider_comes_once(shipped: MorphableModel) -> None:
    with pytest.raises(InputError, match="each slider once, got yaw 2 times"):
        apply(shipped, Slider("yaw", 1.0), Slider("yaw", 2.0, relative=True))
    with pytest.raises(InputError, match="jaw_open and jawOpen are the same expression"):
        apply(shipped, Slider("jaw_open", 1.0), Slider("jawOpen", 2.0))
    with pytest.raises(InputError, match="smile and Smile are the same expression"):
        apply(shipped, Slider("smile", 0.5), Slider("Smile", 0.5))


def test_parameters_of_another_face_model_are_refused(shipped: MorphableModel) -> None:
    with pytest.raises(InputError, match="give the face model they were read for"):
        apply_sliders(toy_parameters(1), [Slider("yaw", 1.0)], shipped)
