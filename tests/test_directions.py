"""Linear directions of W: what is found, written, read again and moved along, and `lightning directions`."""

import math
import shutil
import weakref
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import cli
from commands.directions import angles_table
from datamodules.latent_pairs import PairRecipe
from evaluation.direction_finding import DirectionSettings, find_directions
from evaluation.direction_tables import AMOUNTS, DirectionCurve, angles_figure, curves_figure, direction_curves
from evaluation.figures import read_figures
from models.latent_directions import (
    DirectionQuality,
    LatentDirection,
    LatentDirections,
    LatentMove,
    load_directions,
    move_codes,
    save_directions,
)
from models.stylefaceuv import CodeCoefficients
from models.stylegan2 import Generator, load_generator
from models.stylegan2.digest import generator_digest
from models.stylerig import FaceReconstruction, Provenance
from models.stylerig.face_encoder import FaceEncoder
from models.stylerig.sliders import read_slider
from models.weights import save_weights
from renderers.camera import PerspectiveCamera
from renderers.errors import InputError
from tests.tiny_stylerig import LAYERS, WIDTH, write_networks
from tests.toy_face import SIZES, toy_face_model

SMALL = DirectionSettings(("yaw", "first"), codes=600, held_out=300, share=0.1)


class LinearReader(FaceReconstruction):
    """Reads yaw along one axis of W and the first expression along another, without any noise."""

    def forward(self, codes):
        packed = torch.zeros(len(codes), self.sizes.total)
        packed[:, self.sizes.slice("rotation")] = codes[:, 0, :3] * torch.tensor([0.0, 0.5, 0.0])
        packed[:, self.sizes.slice("expression").start] = codes[:, 0, 4] - codes[:, 0, 7]
        return packed


@pytest.fixture(scope="module")
def generator(tmp_path_factory) -> Generator:
    return load_generator(write_networks(tmp_path_factory.mktemp("networks"))["generator"])


@pytest.fixture(scope="module")
def found(generator) -> LatentDirections:
    return find_directions(generator, LinearReader(LAYERS, WIDTH, SIZES, hidden=4), toy_face_model(), SMALL)


def direction(name: str = "yaw", spread: float = 2.0, boundary: float = 0.5) -> LatentDirection:
    normal = torch.zeros(WIDTH)
    normal[3] = 1.0
    return LatentDirection(name, normal, spread, boundary)


def test_codes_move_by_spreads_along_the_normal_in_every_layer():
    codes = torch.randn(3, LAYERS, WIDTH)
    moved = direction().move(codes, torch.tensor([0.0, 1.0, -0.5]))
    expected = codes.clone()
    expected[:, :, 3] += torch.tensor([0.0, 2.0, -1.0])[:, None]
    torch.testing.assert_close(moved, expected)
    both = move_codes(codes, [LatentMove(direction(), 1.0), LatentMove(direction("smile", 1.0), 0.25)])
    torch.testing.assert_close(both[:, :, 3], codes[:, :, 3] + 2.25)
    assert move_codes(codes, []) is codes


def test_positions_are_distances_from_the_hyperplane_in_spreads():
    codes = torch.zeros(2, LAYERS, WIDTH)
    codes[1, :, 3] = 2.5
    torch.testing.assert_close(direction().positions(codes), torch.tensor([-0.25, 1.0]))
    moved = direction().move(codes, 1.5)
    torch.testing.assert_close(direction().positions(moved) - direction().positions(codes), torch.full((2,), 1.5))


def test_moves_pass_gradients_in_double_precision():
    codes = torch.randn(2, LAYERS, WIDTH, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda each: direction().move(each, 0.7), (codes,))


def test_what_is_no_direction_is_refused():
    with pytest.raises(InputError, match="length 1"):
        replace(direction(), normal=torch.ones(WIDTH))
    with pytest.raises(InputError, match="without : = /"):
        direction("a:b")
    with pytest.raises(InputError, match="spread above 0"):
        direction(spread=0.0)
    with pytest.raises(InputError, match=f"width {WIDTH}"):
        direction().move(torch.zeros(1, LAYERS, WIDTH + 1), 1.0)
    with pytest.raises(InputError, match="finite amount"):
        LatentMove(direction(), float("nan"))
    with pytest.raises(InputError, match="different names"):
        LatentDirections((direction(), direction()), "0", {})


def test_a_file_gives_back_what_was_written(tmp_path, generator):
    quality = DirectionQuality(0.97, 0.9, -31.0, 30.0, "degrees", margin=0.4, beyond_margin=0.9)
    written = LatentDirections(
        (replace(direction(), quality=quality), direction("smile")), generator_digest(generator), {"seed": 3}
    )
    read = load_directions(save_directions(tmp_path / "d.safetensors", written))
    assert read.names == ("yaw", "smile") and read.found == {"seed": 3}
    assert read.named("yaw").quality == quality and read.named("smile").quality is None
    assert (read.named("yaw").spread, read.named("yaw").boundary) == (2.0, 0.5)
    assert torch.equal(read.named("smile").normal, direction().normal)
    read.require(generator)
    with pytest.raises(InputError, match="expected one of the directions yaw, smile, got 'age'"):
        read.named("age")
    torch.manual_seed(7)
    other = Generator([8, 8, 8], z_dim=10, w_dim=WIDTH, mapping_layers=2)
    with pytest.raises(InputError, match="weights differ"):
        read.require(other)
    save_weights(tmp_path / "x.safetensors", {"normals": torch.ones(1)}, "latent-directions", {})
    with pytest.raises(InputError, match="finite normals"):
        load_directions(tmp_path / "x.safetensors")


def test_files_of_earlier_versions_know_no_margin(tmp_path):
    known = DirectionQuality(0.9, 0.8, -1.0, 1.0, "degrees")
    old = {name: value for name, value in asdict(known).items() if value is not None}
    assert "margin" not in old
    entry = {"name": "yaw", "spread": 2.0, "boundary": 0.5, "quality": old}
    config = {"directions": [entry], "generator_digest": "0" * 64, "found": {}}
    path = save_weights(tmp_path / "d.safetensors", {"normals": direction().normal[None]}, "latent-directions", config)
    assert load_directions(path).named("yaw").quality == known


def test_angles_are_those_between_the_normals():
    diagonal = torch.zeros(WIDTH)
    diagonal[3] = diagonal[4] = 0.5**0.5
    other = replace(direction("pitch"), normal=diagonal)
    against = replace(direction("smile"), normal=-direction().normal)
    found = LatentDirections((direction(), other, against), "0", {})
    expected = torch.tensor([[0.0, 45.0, 180.0], [45.0, 0.0, 135.0], [180.0, 135.0, 0.0]])
    torch.testing.assert_close(found.angles_deg(), expected, atol=1e-2, rtol=0)
    figure = angles_figure(found)
    assert figure.columns == ("direction", "yaw", "pitch", "smile") and figure.rows[1][:2] == (
        "pitch",
        pytest.approx(45, abs=1e-2),
    )
    assert angles_table(found).splitlines()[2].split() == ["pitch", "45.0", "0.0", "135.0"]


def test_what_a_reader_sees_linearly_is_found(found, generator):
    reader, model = LinearReader(LAYERS, WIDTH, SIZES, hidden=4), toy_face_model()
    codes = PairRecipe(seed=5, max_latents=1).pairs(generator, "test", torch.arange(50)).w
    for name, unit in (("yaw", "degrees"), ("first", "strength")):
        each = found.named(name)
        assert abs(float(torch.linalg.vector_norm(each.normal)) - 1) < 1e-6
        assert each.quality is not None and each.quality.accuracy > 0.97 and each.quality.correlation > 0.9
        assert each.quality.low < each.quality.high and each.quality.unit == unit
        before, after = (
            read_slider(reader.parameters_of(moved), name, model) for moved in (codes, each.move(codes, 1.0))
        )
        assert (after > before).all()


def test_the_quality_is_that_of_held_out_codes(found, generator):
    yaw = found.named("yaw")
    pairs = PairRecipe(seed=0, max_latents=1).pairs(generator, "validate", torch.arange(SMALL.held_out // 2))
    codes = torch.cat([pairs.w, pairs.v])
    reading = read_slider(LinearReader(LAYERS, WIDTH, SIZES, hidden=4).parameters_of(codes), "yaw", toy_face_model())
    position = yaw.positions(codes)
    assert yaw.quality is not None
    assert float(torch.corrcoef(torch.stack([position, reading]))[0, 1]) == pytest.approx(
        yaw.quality.correlation, abs=1e-4
    )
    order, count = reading.argsort(), int(SMALL.held_out * SMALL.share)
    right = torch.cat([position[order[:count]] < 0, position[order[-count:]] > 0]).double().mean()
    assert float(right) == pytest.approx(yaw.quality.accuracy, abs=1e-6)
    margin = yaw.quality.margin
    assert margin is not None and 0 < margin < 2
    beyond = torch.cat([position[order[:count]] < -margin, position[order[-count:]] > margin]).double().mean()
    assert float(beyond) == pytest.approx(yaw.quality.beyond_margin, abs=0.02)


def test_memory_does_not_grow_with_the_codes():
    """What lives at once, by the bytes of all tensors, stays far below what the codes would take."""
    count, width = 20_000, 64
    generator = Generator([4, 4], z_dim=4, w_dim=width, mapping_layers=1)
    reader = LinearReader(generator.num_layers, width, SIZES, hidden=4)
    settings = DirectionSettings(("yaw",), codes=count, held_out=2_000, share=0.02)
    with _LivingTensors() as living:
        find_directions(generator, reader, toy_face_model(), settings, batch_size=100)
    # Readings of all codes and their order are kept, and the extremes.
    assert living.peak < count * width * 4 / 3
    # Nothing is kept of each of the 200 batches, however small: memory freed around it could not be given back.
    assert living.most < 100


class _LivingTensors(TorchDispatchMode):
    """Counts tensors that computations make and that have not been freed, and their bytes; views count as tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes_of: dict[int, int] = {}
        self.now = self.peak = self.most = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for each in tree_leaves(result):
            # What works in place gives back a tensor that is counted already.
            if isinstance(each, torch.Tensor) and id(each) not in self.bytes_of:
                self.bytes_of[id(each)] = each.numel() * each.element_size()
                self.now += self.bytes_of[id(each)]
                self.peak, self.most = max(self.peak, self.now), max(self.most, len(self.bytes_of))
                weakref.finalize(each, self._freed, id(each))
        return result

    def _freed(self, number: int) -> None:
        self.now -= self.bytes_of.pop(number)


def test_curves_are_what_is_read_of_codes_that_move(found, generator):
    reader, model = LinearReader(LAYERS, WIDTH, SIZES, hidden=4), toy_face_model()
    curves = direction_curves(generator, found, {"one": reader, "two": reader}, model, codes=7, batch_size=3)
    assert [(curve.direction, curve.reader) for curve in curves] == [
        (d, r) for d in ("yaw", "first") for r in ("one", "two")
    ]
    yaw = found.named("yaw")
    # Half a radian for a step of 1 along the second axis of W.
    per_spread = math.degrees(0.5 * yaw.spread * float(yaw.normal[1]))
    steps = torch.tensor(curves[0].amounts)
    torch.testing.assert_close(curves[0].changes, (per_spread * steps)[:, None].expand(-1, 7), rtol=1e-3, atol=1e-2)
    assert curves[0].slope == pytest.approx(per_spread, rel=1e-3)
    made = PairRecipe(seed=0, max_latents=1).pairs(generator, "test", torch.arange(4))
    codes = torch.stack([made.w, made.v], dim=1).flatten(0, 1)[:7]
    own = read_slider(reader.parameters_of(codes), "yaw", model)
    torch.testing.assert_close(curves[1].readings[AMOUNTS.index(0.0)], own)
    figure = curves_figure(curves)
    assert figure.picture is not None and len(figure.rows) == 4 * len(AMOUNTS)
    (row,) = [row for row in figure.rows if row[:3] == ("yaw", "two", 1.0)]
    assert row[4] == pytest.approx(per_spread, rel=1e-3) and row[6] == 1.0
    with pytest.raises(InputError, match="of one or more"):
        direction_curves(generator, found, {}, model)


def test_changes_of_angles_go_the_short_way_and_leave_out_what_is_not_read():
    curve = DirectionCurve(
        "light_azimuth", "one", (-1.0, 0.0, 1.0), torch.tensor([[170.0, 0.0], [-170.0, 5.0], [-160.0, math.nan]])
    )
    torch.testing.assert_close(curve.changes[0], torch.tensor([-20.0, -5.0]))
    assert curve.slope == pytest.approx((10.0 - -12.5) / 2)
    rows = curves_figure([curve]).rows
    assert [row[6] for row in rows] == [1.0, 1.0, 0.5] and rows[2][4] == pytest.approx(10.0)


def test_spread_and_boundary_are_those_of_the_codes(found, generator):
    pairs = PairRecipe(seed=5, max_latents=1).pairs(generator, "test", torch.arange(1000))
    projections = pairs.w[:, 0] @ found.named("yaw").normal
    assert float(projections.std()) == pytest.approx(found.named("yaw").spread, rel=0.1)
    # Extremes of both signs lie on either side of it.
    assert float(projections.quantile(0.1)) < found.named("yaw").boundary < float(projections.quantile(0.9))


def test_directions_do_not_depend_on_the_batch(found, generator):
    reader = LinearReader(LAYERS, WIDTH, SIZES, hidden=4)
    again = find_directions(generator, reader, toy_face_model(), SMALL, batch_size=45)
    torch.testing.assert_close(again.named("yaw").normal, found.named("yaw").normal, atol=1e-3, rtol=0)
    other = find_directions(generator, reader, toy_face_model(), SMALL, seed=1)
    assert not torch.equal(other.named("yaw").normal, found.named("yaw").normal)


def test_what_cannot_be_found_is_refused(generator):
    reader = LinearReader(LAYERS, WIDTH, SIZES, hidden=4)
    with pytest.raises(InputError, match="differ in pitch"):
        find_directions(generator, reader, toy_face_model(), replace(SMALL, attributes=("pitch",)))
    with pytest.raises(InputError, match="smle"):
        find_directions(generator, reader, toy_face_model(), replace(SMALL, attributes=("smle",)))
    with pytest.raises(InputError, match="10 codes or more at either extreme"):
        DirectionSettings(codes=100)
    with pytest.raises(InputError, match="share above 0"):
        DirectionSettings(share=0.7)
    with pytest.raises(InputError, match="each once"):
        DirectionSettings(("yaw", "yaw"))


@pytest.fixture
def files(tmp_path: Path, monkeypatch) -> dict[str, str]:
    """A generator, F, F3D and a face encoder of the toy face, as the command line names them."""
    names = write_networks(tmp_path)
    generator, model = load_generator(names["generator"]), toy_face_model()
    present = Provenance.of(generator, model, PerspectiveCamera())
    f = FaceReconstruction(LAYERS, WIDTH, SIZES, hidden=16)
    torch.nn.init.normal_(f.net[-1].weight, std=0.1)
    f.save(tmp_path / "f.safetensors", present)
    encoder = FaceEncoder(SIZES, widths=(4, 8), blocks=(1, 1), num_features=8, working_size=16)
    torch.nn.init.normal_(encoder.readout.weight, std=1.0)
    encoder.save(tmp_path / "encoder.safetensors", replace(present, generator=None))
    f3d = CodeCoefficients(LAYERS, WIDTH, SIZES, (2,))
    torch.nn.init.normal_(f3d.geometry[-1].weight, std=0.1)
    f3d.save(tmp_path / "f3d.safetensors", present)
    monkeypatch.setattr("commands.directions.load_face_model", lambda source, sizes: toy_face_model())
    return names


@pytest.mark.parametrize("reader", ["f", "f3d", "encoder"])
def test_the_command_writes_directions_of_any_reader(files, tmp_path, capsys, reader):
    output = tmp_path / "out.safetensors"
    words = ["--generator", files["generator"], "--face-reconstruction", str(tmp_path / f"{reader}.safetensors")]
    sizes = ["--codes", "200", "--held-out", "100", "--share", "0.1", "--attributes", "yaw", "light-azimuth"]
    cli.main(["directions", *words, *sizes, "--output", str(output)])
    read = load_directions(output)
    assert read.names == ("yaw", "light_azimuth") and read.found["codes"] == 200
    read.require(load_generator(files["generator"]))
    said = capsys.readouterr().out
    assert "2 directions in" in said and "deg" in said
    with pytest.raises(SystemExit):
        cli.main(["directions", *words, *sizes, "--output", str(output)])
    assert "--overwrite" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        cli.main(["directions", *words, *sizes, "--output", str(tmp_path / f"{reader}.safetensors"), "--overwrite"])
    assert "expected a file of directions to overwrite" in capsys.readouterr().err


def test_the_command_writes_tables_and_curves_by_two_readers(files, tmp_path, capsys):
    words = [
        "--generator",
        files["generator"],
        "--face-reconstruction",
        str(tmp_path / "f.safetensors"),
        "--codes",
        "200",
    ]
    words += ["--held-out", "100", "--share", "0.1", "--attributes", "yaw", "smile", "--curve-codes", "4"]
    words += ["--output", str(tmp_path / "out.safetensors")]
    second = ["--second-reader", str(tmp_path / "encoder.safetensors")]
    words[words.index("smile")] = "first"
    cli.main(["directions", *words, "--report", str(tmp_path / "report"), *second])
    figures = {figure.name: figure for figure in read_figures(tmp_path / "report")}
    assert list(figures) == ["direction_quality", "direction_angles", "direction_curves"]
    assert [row[0] for row in figures["direction_quality"].rows] == ["yaw", "first"]
    readers = {row[1] for row in figures["direction_curves"].rows}
    assert readers == {"face reconstruction f.safetensors", "face encoder encoder.safetensors"}
    said = capsys.readouterr().out
    assert "angles, deg" in said and "outside the margin" in said and "tables and curves in" in said
    shutil.copy(tmp_path / "f.safetensors", tmp_path / "same.safetensors")
    for wrong, message in (
        (second, "expected --report FOLDER"),
        (["--report", str(tmp_path / "f.safetensors")], "is a file; name another"),
        (
            ["--report", str(tmp_path / "r"), "--second-reader", str(tmp_path / "same.safetensors")],
            "has the weights of",
        ),
        (["--curve-codes", "0"], "curve_codes of 1 or more"),
    ):
        with pytest.raises(SystemExit):
            cli.main(["directions", *words, "--overwrite", *wrong])
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == 1 and message in lines[0]


def test_a_reader_of_another_kind_is_one_line(files, tmp_path, capsys):
    words = ["--generator", files["generator"], "--face-reconstruction", files["landmarker"]]
    with pytest.raises(SystemExit) as stop:
        cli.main(["directions", *words, "--output", str(tmp_path / "o.safetensors")])
    lines = capsys.readouterr().err.splitlines()
    assert stop.value.code == 2 and len(lines) == 1 and "name one that reads codes" in lines[0]
