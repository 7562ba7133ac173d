"""Figures of pictures of PIE: what they show, what their numbers are, and how `lightning test` writes them."""

import inspect
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from torch import Tensor, nn

from datamodules.latent_pairs import PairRecipe
from datamodules.portrait_batches import EmbeddingDataModule
from evaluation.figures import Figure, read_figures
from evaluation.pie import illumination_grid as illumination
from evaluation.pie.edit_grids import COLUMNS, expression_edits, pose_edits, pose_grid
from evaluation.pie.embedded import EmbeddedPortraits
from evaluation.pie.feedback import TABLE as FEEDBACK
from evaluation.pie.figures import PieFigures, table_numbers
from evaluation.pie.limits import limits, peak_signal_to_noise, worst_fits
from evaluation.pie.linear_edits import linear_edits
from evaluation.pie.opening import rig_of
from evaluation.pie.pose_edits import TABLE as TABLE_2
from evaluation.pie.published import ALL_TERMS, IMAGE2STYLEGAN, SYNTHESIS
from evaluation.pie.reenactment import TABLE as TABLE_3
from evaluation.pie.reenactment_grid import reenactment_grid
from evaluation.pie.relighting import scale_invariant_distance
from evaluation.pie.relighting_grid import relighting_grid
from evaluation.pie.sequential import sequential_edits, steps
from evaluation.pie.shown_edits import SIZE, in_common, shown_places
from lightning_modules.pie.module import PIE
from lightning_modules.pie.settings import EnergyWeights
from models.latent_directions import LatentDirection, LatentDirections
from models.observers import IdentityNet, LandmarkNet
from models.portrait_embedding import PortraitEmbedding, Source, save_embedding
from models.stylegan2.digest import generator_digest
from models.stylerig import Provenance, RigNet, RigSources
from models.stylerig.face_encoder import FaceEncoder
from models.stylerig.opening import OpenedRig
from models.stylerig.rig import Rig
from renderers.camera import PerspectiveCamera
from renderers.errors import InputError
from renderers.rotation import rotation_distance
from renderers.shading import shade_spherical_harmonics
from tests.conftest import ROOT
from tests.tiny_pie import pie, write_pie_networks
from tests.tiny_rig import LAYERS, WIDTH, LinearFaces, exact_steering, tiny_generator, tiny_judge
from tests.tiny_stylerig import quiet_trainer, use_toy_face
from tests.toy_face import toy_face_model

CONFIG = ROOT / "configs/demo/pie_figures.yaml"
KINDS: tuple[Source, ...] = ("photo", "photo", "portrait", "sample")


def embeddings(
    generator: Any, total: int, sources: tuple[Source, ...] = KINDS, noise: float = 0.0
) -> tuple[PortraitEmbedding, ...]:
    """Pictures of the generator's codes, and these codes, or others near them, as their embeddings."""
    rng = torch.Generator().manual_seed(4)
    codes = generator.mean_w + torch.randn(len(sources), LAYERS, WIDTH, generator=rng) * generator.std_w
    images = ((generator.synthesis(codes, noise="const").clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    codes = codes + noise * torch.randn(codes.shape, generator=rng) * generator.std_w
    digest = generator_digest(generator)
    return tuple(
        PortraitEmbedding(
            f"face_{i}",
            source,
            {},
            codes[i],
            None,
            images[i],
            torch.zeros(68, 2),
            torch.zeros(total),
            None,
            {"total": 0.0},
            {},
            digest,
        )
        for i, source in enumerate(sources)
    )


def world(*components: str, judge: bool = True) -> EmbeddedPortraits:
    """Portraits whose rig edits components exactly, as a linear reader of codes sees them."""
    generator, model, camera = tiny_generator(), toy_face_model(), PerspectiveCamera()
    torch.manual_seed(6)
    encoder = FaceEncoder(model.sizes, (4, 8), (1, 1), 8, 16)
    nn.init.normal_(encoder.readout.weight, std=0.1)
    rig = Rig(LinearFaces(model), [exact_steering(component) for component in components]).eval()
    opened = OpenedRig(
        generator, model, camera, rig, Provenance.of(generator, model, camera), RigSources("g", "f", "m")
    )
    return EmbeddedPortraits(
        label=ALL_TERMS,
        embeddings=embeddings(generator, model.sizes.total),
        opened=opened,
        encoder=encoder.eval().requires_grad_(False),
        landmarker=LandmarkNet(working_size=16, widths=(4, 8, 8), blocks=(1, 1)).eval(),
        embedder=IdentityNet(embedding_dim=8, base_width=4, working_size=16).eval().requires_grad_(False),
        judge=tiny_judge() if judge else None,
        recipe=PairRecipe(0),
    )


def other_setting(embedded: EmbeddedPortraits, label: str = IMAGE2STYLEGAN) -> EmbeddedPortraits:
    """The same portraits, embedded less well."""
    others = embeddings(embedded.opened.generator, embedded.encoder.sizes.total, noise=0.5)
    return replace(embedded, label=label, embeddings=others)


def cell(figure: Figure, column: str, **where: object) -> float:
    """The one number of a column in the row of these cells."""
    index = figure.columns.index
    (row,) = (row for row in figure.rows if all(row[index(name)] == value for name, value in where.items()))
    return float(row[index(column)])


def test_settings_are_compared_on_the_portraits_that_all_embedded_in_one_order() -> None:
    first = world("rotation")
    second = other_setting(first)
    second = replace(second, embeddings=second.embeddings[3:0:-1])
    shared = in_common([first, second])
    assert [[each.name for each in setting.embeddings] for setting in shared] == [["face_1", "face_2", "face_3"]] * 2
    assert torch.equal(shared[1].codes[2], second.embeddings[0].w_plus)


def test_pictures_show_portraits_of_every_source_in_turn() -> None:
    assert shown_places(world("rotation"), 3) == [0, 2, 3]
    assert shown_places(world("rotation"), 9) == [0, 2, 3, 1]


def test_pose_grid_shows_each_setting_and_measures_all_portraits() -> None:
    settings = [world("rotation"), other_setting(world("rotation"))]
    (figure,) = pose_grid(settings, shown=2)
    assert figure.columns == COLUMNS and len(figure.rows) == 2 * 6 * 3
    assert figure.picture is not None and figure.picture.height == 18 + 2 * 2 * (SIZE + 2)
    assert cell(figure, "portraits", setting=ALL_TERMS, source="photo", edit="yaw +35°") == 2
    # The second photo is measured, though it is not shown.
    opened, edit = settings[1].opened, pose_edits(settings[1].opened.face_model)[3]
    own = opened.rig.parameters_of(settings[1].codes)
    asked = edit.target(own)
    assert torch.allclose(asked.rotation[:, 1], torch.tensor(35.0).deg2rad())
    images = settings[1].pictures(settings[1].edit(settings[1].codes, asked, ("rotation",)))
    error = rotation_distance(asked.rotation, settings[1].read(images).rotation).rad2deg()
    where = {"setting": IMAGE2STYLEGAN, "source": "photo", "edit": "yaw +35°"}
    assert cell(figure, "error_by_mofa", **where) == pytest.approx(float(error[:2].mean()), rel=1e-4)
    difference = settings[1].identities(images) - settings[1].identities(settings[1].portraits)
    assert cell(figure, "recognition", **where) == pytest.approx(
        float(difference.square().sum(dim=1)[:2].mean()), rel=1e-4
    )


def test_without_a_judge_its_columns_are_empty_and_the_caption_says_so() -> None:
    (figure,) = pose_grid([world("rotation", judge=False)], shown=1)
    assert "no judge was given" in figure.caption
    assert all(
        row[figure.columns.index("error_by_judge")] != row[figure.columns.index("error_by_judge")]
        for row in figure.rows
    )


def test_what_no_rig_controls_is_not_drawn() -> None:
    assert pose_grid([world("expression")]) == []
    assert illumination.illumination_grid([world("rotation")]) == []
    assert sequential_edits(world("rotation")) == []
    assert reenactment_grid([world("illumination")], {}) == []


def with_names(embedded: EmbeddedPortraits, *names: str) -> EmbeddedPortraits:
    embedded.opened.face_model.expression_names = names
    return embedded


def test_expressions_are_asked_by_name_or_number_as_strongly_as_unseen_pictures_have_them() -> None:
    embedded = world("expression")
    read = embedded.opened.rig.parameters_of(embedded.unseen_codes(200)).expression
    edits = expression_edits(embedded)
    ends = read.quantile(torch.tensor([0.02, 0.98]), dim=0).T.flatten()
    assert [edit.label.split()[0] for edit in edits] == ["e0", "e0", "e1", "e1"]
    own = embedded.opened.rig.parameters_of(embedded.codes)
    for number, edit in enumerate(edits):
        asked = edit.target(own).expression[:, number // 2]
        assert torch.allclose(asked, ends[number].expand(4), atol=0.006)
    named = expression_edits(with_names(embedded, "jaw_open", "mouth_pucker"))
    assert [edit.label.rsplit(" ", 1)[0] for edit in named] == ["open mouth", "pucker"]


def test_each_column_of_the_illumination_grid_asks_for_one_coefficient(monkeypatch: pytest.MonkeyPatch) -> None:
    embedded, changes = world("illumination"), {}
    run = illumination.run_edit

    def recording(setting: EmbeddedPortraits, edit: Any, *more: Any) -> Any:
        result = run(setting, edit, *more)
        own = setting.opened.rig.parameters_of(setting.codes).illumination
        changes[edit.label] = (result.asked.illumination - own)[0].reshape(3, 9)
        return result

    monkeypatch.setattr(illumination, "run_edit", recording)
    (figure,) = illumination.illumination_grid([embedded], shown=1, amount=2.0)
    assert len(changes) == 12 and len(figure.rows) == 12 * 3
    for index, change in enumerate(list(changes.values())[:9]):
        moved = change.abs() > 1e-6
        assert moved[:, index].all() and moved.sum() == 3
    for channel, change in enumerate(list(changes.values())[9:]):
        assert (change.abs() > 1e-6).nonzero().tolist() == [[channel, 3]]
    # The tiny rig's spreads are 1: two of them in one coefficient of each colour.
    assert cell(figure, "asked_change_spreads", source="photo", coefficients="3: -x") == pytest.approx(2 * 3**0.5)


def test_the_sphere_is_lit_as_a_face_would_be() -> None:
    # Light from the image's right and above: the coefficients of -x and -y are negative.
    light = torch.zeros(3, 9)
    light[:, 3], light[:, 1] = -0.3, -0.1
    sphere = illumination.light_sphere(light.flatten(), 31)
    pixels = torch.from_numpy(np.array(sphere)).int()
    assert pixels[0, 0, 3] == 0 and pixels[15, 15, 3] == 255
    assert pixels[15, 28, 0] > pixels[15, 15, 0] > pixels[15, 2, 0]
    assert pixels[2, 15, 0] > pixels[28, 15, 0]
    ahead = shade_spherical_harmonics(
        torch.full((1, 1, 3), 0.6), torch.tensor([[[0.0, 0.0, 1.0]]]), light.flatten()[None]
    )
    assert abs(int(pixels[15, 15, 0]) - 255 * float(ahead[0, 0, 0])) < 1


def test_sequential_edits_go_on_from_the_code_before() -> None:
    embedded = world("rotation", "illumination", "expression")
    (figure,) = sequential_edits(embedded, shown=2)
    photos = [row for row in figure.rows if row[1] == "photo"]
    assert [row[4] for row in photos] == [
        "rotation", "rotation", "illumination", "rotation", "illumination", "expression",
    ]  # fmt: skip
    rig, codes = embedded.opened.rig, embedded.codes
    asked_first = None
    for edit in steps(embedded):
        asked = edit.target(rig.parameters_of(codes))
        asked_first = asked if asked_first is None else asked_first
        codes = rig.edit(codes, asked, edit.components)
    assert asked_first is not None
    error = rotation_distance(asked_first.rotation, embedded.read(embedded.pictures(codes)).rotation).rad2deg()
    assert float(photos[3][5]) == pytest.approx(float(error[:2].mean()), rel=1e-3)


def test_the_worst_fits_come_first() -> None:
    embedded = world("rotation")
    spoilt = replace(embedded.embeddings[2], w_plus=embedded.embeddings[0].w_plus)
    embedded = replace(embedded, embeddings=(*embedded.embeddings[:2], spoilt, embedded.embeddings[3]))
    (figure,) = worst_fits(embedded, shown=2)
    assert figure.rows[0][0] == "face_2" and len(figure.rows) == 4
    assert float(figure.rows[0][2]) < 45 < float(figure.rows[1][2])
    assert figure.picture is not None and figure.picture.height == 18 + 2 * (SIZE + 2)


def test_peak_signal_to_noise_of_a_known_difference() -> None:
    images = torch.zeros(2, 3, 4, 4)
    # A tenth of the range from 0 to 1: 20 dB.
    assert torch.allclose(peak_signal_to_noise(images + 0.2, images), torch.tensor([20.0, 20.0]), atol=1e-3)


def test_limits_show_large_edits_of_what_is_controlled() -> None:
    large, fits = limits([world("expression")], shown=1)
    assert (large.name, fits.name) == ("pie_limits_large_edits", "pie_limits_worst_fits")
    (label,) = {row[3] for row in large.rows}
    assert str(label).startswith("3 x e0 ")


def directions_of(embedded: EmbeddedPortraits, *names: str) -> LatentDirections:
    normals = torch.nn.functional.normalize(
        torch.randn(len(names), WIDTH, generator=torch.Generator().manual_seed(9)), dim=1
    )
    each = tuple(LatentDirection(name, normal, 2.0, 0.0) for name, normal in zip(names, normals, strict=True))
    return LatentDirections(each, generator_digest(embedded.opened.generator), {})


def test_linear_edits_move_every_layer_along_the_normal() -> None:
    embedded = world("rotation")
    directions = directions_of(embedded, "yaw", "unknown")
    (figure,) = linear_edits([embedded, other_setting(embedded)], directions, shown=1, amounts=(0.0, 1.5))
    assert {row[3] for row in figure.rows} == {"yaw"} and len(figure.rows) == 2 * 2 * 3
    still = {"setting": ALL_TERMS, "source": "photo", "amount_spreads": 0.0}
    assert cell(figure, "change_by_mofa", **still) == 0 == cell(figure, "change_by_judge", **still)
    moved = embedded.codes + 1.5 * 2.0 * directions.directions[0].normal
    pose = [embedded.read(embedded.pictures(codes)).rotation[:2, 1].rad2deg() for codes in (moved, embedded.codes)]
    change = cell(figure, "change_by_mofa", setting=ALL_TERMS, source="photo", amount_spreads=1.5)
    assert change == pytest.approx(float((pose[0] - pose[1]).mean()), abs=1e-3)


def test_directions_of_another_generator_are_refused() -> None:
    embedded = world("rotation")
    foreign = replace(directions_of(embedded, "yaw"), generator_digest="other")
    with pytest.raises(InputError, match="expected the generator in whose W"):
        linear_edits([embedded], foreign)


def test_reenactment_takes_the_pose_of_the_reference() -> None:
    embedded = world("rotation")
    reference = embedded.portraits[3].flip(-1)
    (figure,) = reenactment_grid([embedded, other_setting(embedded)], {"face_2": reference}, shown=2)
    assert [row[1:4] for row in figure.rows[:3]] == [
        ("self", "face_2", "face_2, another picture"),
        ("cross", "face_0", "face_2"),
        ("cross", "face_2", "face_3"),
    ]
    chosen = embedded.select(["face_2"])
    asked = embedded.read(reference[None]).rotation
    own = chosen.opened.rig.parameters_of(chosen.codes)
    edited = chosen.edit(chosen.codes, own.replace(rotation=asked), ("rotation",))
    error = rotation_distance(asked, chosen.read(chosen.pictures(edited)).rotation).rad2deg()
    assert cell(figure, "pose_error_by_mofa_deg", setting=ALL_TERMS, transfer="self") == pytest.approx(
        float(error), abs=1e-3
    )


def test_relighting_takes_the_light_of_the_reference() -> None:
    embedded = world("illumination")
    (figure,) = relighting_grid([embedded, other_setting(embedded)], shown=3)
    assert [row[:3] for row in figure.rows[:3]] == [
        (ALL_TERMS, "face_0", "face_2"),
        (ALL_TERMS, "face_2", "face_3"),
        (ALL_TERMS, "face_3", "face_0"),
    ]
    # Rows: input, reference, and each setting; below them is one column for each portrait.
    assert figure.picture is not None and figure.picture.height == 18 + 4 * (SIZE + 2)
    own = embedded.opened.rig.parameters_of(embedded.codes[2:3])
    asked = own.replace(illumination=embedded.parameters.illumination[3:4])
    light = embedded.read(embedded.pictures(embedded.edit(embedded.codes[2:3], asked, ("illumination",)))).illumination
    wanted = embedded.read(embedded.portraits[3:4]).illumination
    where = {"setting": ALL_TERMS, "portrait": "face_2"}
    expected = float(scale_invariant_distance(light, wanted))
    assert cell(figure, "light_error_by_mofa", **where) == pytest.approx(expected, abs=1e-4)
    assert relighting_grid([world("rotation")]) == []
    assert relighting_grid([replace(embedded, embeddings=embedded.embeddings[:1])]) == []


def test_numbers_of_tables_say_what_they_are_about() -> None:
    table = Figure(
        FEEDBACK, "", "", ("setting", "component", "rounds", "unit", "editing_error", "editing_error_judge"),
        ((ALL_TERMS, "rotation", 1, "rad", 0.1, float("nan")),),
    )  # fmt: skip
    other = Figure("pie_pose", "", "", ("setting", "error"), ((ALL_TERMS, 1.0),))
    assert table_numbers([table, other]) == {f"{FEEDBACK}/{ALL_TERMS}/rotation/1/editing_error": 0.1}


@pytest.fixture
def networks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    use_toy_face(monkeypatch)
    return write_pie_networks(tmp_path)


def write_embeddings(module: PIE, folder: Path, noise: float = 0.0, count: int = 3) -> Path:
    sources: tuple[Source, ...] = ("sample", "photo", "sample")
    for embedding in embeddings(module.generator, toy_face_model().sizes.total, sources[:count], noise):
        save_embedding(folder / f"{embedding.name}.safetensors", embedding)
    return folder


def data() -> EmbeddingDataModule:
    return EmbeddingDataModule(samples=3, test_samples=1)


def test_a_test_run_writes_tables_and_figures_beside_the_baselines(
    networks: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    module = pie(networks, tmp_path / "own")
    write_embeddings(module, tmp_path / "own")
    folders = {IMAGE2STYLEGAN: tmp_path / "i2s", SYNTHESIS: tmp_path / "synthesis"}
    baselines = {name: str(write_embeddings(module, folder, 0.3)) for name, folder in folders.items()}
    (tmp_path / "i2s/face_1.safetensors").unlink()
    callback = PieFigures(
        baselines=baselines, rigs=[networks["rig"]], edits=4, feedback_edits=2, pairs=2, shown=2, density="coarse"
    )
    quiet_trainer(tmp_path, callbacks=[callback]).test(module, data(), verbose=False)
    assert f"1 of 3 portraits of {SYNTHESIS} are left out: not all settings have them" in capsys.readouterr().out
    figures = {figure.name: figure for figure in read_figures(tmp_path)}
    mine = {
        "pie_pose",
        "pie_loss_ablation",
        "pie_reenactment_pictures",
        "pie_limits_large_edits",
        "pie_limits_worst_fits",
    }
    assert mine | {TABLE_2, TABLE_3, FEEDBACK} <= set(figures)
    # This rig controls the pose alone, no folder is of the direct optimisation, and there are no directions.
    absent = {
        "pie_illumination",
        "pie_expression",
        "pie_relighting",
        "pie_relighting_pictures",
        "pie_hierarchy",
        "pie_linear_edits",
    }
    assert not absent & set(figures)
    assert {row[0] for row in figures["pie_pose"].rows} == {ALL_TERMS, IMAGE2STYLEGAN}
    assert [row[0] for row in figures["pie_loss_ablation"].rows][0] == SYNTHESIS
    numbers = yaml.safe_load((tmp_path / PieFigures.FILE).read_text())
    assert numbers[f"{FEEDBACK}/{IMAGE2STYLEGAN}/rotation/1/editing_error"] > 0


def test_further_rigs_stand_beside_the_modules_own(networks: dict[str, str], tmp_path: Path) -> None:
    module = pie(networks, tmp_path)
    torch.manual_seed(1)
    further = RigNet(LAYERS, WIDTH, ("illumination",), toy_face_model().sizes, latent=4)
    provenance = Provenance.of(module.generator, toy_face_model(), module.energies.loss.renderer.camera)
    path = further.save(tmp_path / "light.safetensors", provenance, RigSources("g", "f", "m"))
    with pytest.raises(InputError, match="expected trained rigs"):
        rig_of(module, [str(path)])
    nn.init.normal_(further.decoder_weight, std=0.1)
    further.save(path, provenance, RigSources("g", "f", "m"))
    opened = rig_of(module, [networks["rig"], str(path)])
    assert opened.rig.components == ("rotation", "illumination") and len(opened.rig.networks) == 2
    codes: Tensor = module.generator.broadcast(module.generator.mean_w[None])
    expected = module.energies.encoder(module.generator.synthesis(codes, noise="const").clamp(-1, 1))
    assert torch.allclose(opened.rig.parameters_of(codes).pack(), expected)


def test_what_cannot_be_drawn_is_refused_before_anything_is_computed(networks: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected a baseline named all terms"):
        PieFigures(["hierarchy"])
    with pytest.raises(InputError, match="expected directions for linear_edits"):
        PieFigures(["linear_edits"])
    for name, value in (("edits", 1), ("feedback_edits", 0), ("pairs", 0), ("shown", 0), ("feedback", -1)):
        with pytest.raises(InputError, match=f"expected {name} of at least"):
            PieFigures(["pose"], **{name: value})  # type: ignore[arg-type]
    module = pie(networks, tmp_path / "own")
    with pytest.raises(InputError, match="expected PIE on a EmbeddingDataModule"):
        PieFigures(["pose"]).setup(quiet_trainer(tmp_path), module, "test")
    write_embeddings(module, tmp_path / "own")
    loss_of_fit = EnergyWeights(10.0, 0.0, 0.0, 0.0, 0.0, recognition=0.0, edited_recognition=0.0)
    cases: list[tuple[str, PieFigures, PIE]] = [
        ("expected another setting in each baseline", PieFigures(["pose"], baselines={ALL_TERMS: "there"}), module),
        ("expected embeddings in", PieFigures(["pose"], baselines={"other": str(tmp_path / "nowhere")}), module),
        ("expected an embedder", PieFigures(["pose"]), pie(networks, tmp_path / "own", loss_of_fit)),
        (
            "expected a judge of the face model's sizes",
            PieFigures(["pose"], judge=str(ROOT / "assets/demo_judge.safetensors")),
            module,
        ),
    ]
    coarse = replace(
        embeddings(module.generator, toy_face_model().sizes.total, ("portrait",))[0], origin={"density": "coarse"}
    )
    save_embedding(tmp_path / "coarse/face_0.safetensors", coarse)
    cases.append(("set density to coarse", PieFigures(["pose"]), pie(networks, tmp_path / "coarse")))
    for message, callback, tested in cases:
        with pytest.raises(InputError, match=message):
            quiet_trainer(tmp_path, callbacks=[callback]).test(tested, data(), verbose=False)
    assert not (tmp_path / "figures").exists()


def test_the_shipped_overlay_names_every_argument_and_explains_it() -> None:
    settings = yaml.safe_load(CONFIG.read_text())["trainer"]["callbacks"][0]
    assert settings["class_path"] == "evaluation.pie.figures.PieFigures"
    assert set(settings["init_args"]) == set(inspect.signature(PieFigures).parameters)
    for line in CONFIG.read_text().splitlines():
        assert "#" in line or line.strip() in ("init_args:",), line
