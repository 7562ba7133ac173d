"""Pictures and codes by seed, and files of codes."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open

import cli
from commands.devices import choose_device
from commands.generate import generate
from models.latent_codes import LatentCodes, load_codes, save_codes
from models.stylegan2 import Generator, load_generator
from models.stylegan2.digest import generator_digest
from models.stylegan2.loading import save_generator
from models.stylegan2.sampling import codes_of_seeds, latents_of_seeds, parse_seeds, pictures_of_codes
from models.weights import save_weights
from renderers.errors import InputError
from tests.stylegan2_files import write_rosinality
from tests.test_stylegan2_loading import tiny_rosinality_state


@pytest.fixture
def generator_file(tmp_path: Path) -> Path:
    torch.manual_seed(1)
    generator = Generator([8, 6, 4], z_dim=5, w_dim=7, mapping_layers=2)
    generator.mean_w.copy_(torch.randn(7))
    return save_generator(tmp_path / "g.safetensors", generator)


@pytest.mark.parametrize(
    "text, seeds", [("0-3", [0, 1, 2, 3]), ("7", [7]), ("3, 1,10-11", [3, 1, 10, 11]), ("5-5", [5]), ("4294967295", [2**32 - 1])]
)
def test_seeds(text, seeds):
    assert parse_seeds(text) == seeds


@pytest.mark.parametrize("text", ["", "a", "3-1", "-1", "1-", "1,,2", "1,1", "0-4,2", "4294967296", "0-99999999", "1.5", "1\n"])
def test_seeds_of_another_form_are_refused(text):
    with pytest.raises(InputError, match="expected"):
        parse_seeds(text)


def test_latents_are_those_of_the_ada_release():
    latents = latents_of_seeds([0, 85], 512)
    for row, seed in enumerate((0, 85)):
        expected = torch.from_numpy(np.random.RandomState(seed).randn(1, 512)).float()
        assert torch.equal(latents[row : row + 1], expected)


def test_a_seed_is_one_code_and_one_picture(generator_file, tmp_path):
    generate(generator_file, "0-4", tmp_path / "a", truncation=0.7)
    generate(generator_file, "3", tmp_path / "b", truncation=0.7)
    generate(generator_file, "4,3,9", tmp_path / "c", truncation=0.7, batch_size=2)
    assert {path.name for path in (tmp_path / "b").iterdir()} == {"seed0003.png", "grid.png", "codes.safetensors"}
    assert (tmp_path / "a" / "seed0003.png").read_bytes() == (tmp_path / "b" / "seed0003.png").read_bytes()
    codes = [load_codes(tmp_path / name / "codes.safetensors") for name in "abc"]
    assert torch.equal(codes[0].w_plus[3], codes[1].w_plus[0]) and torch.equal(codes[0].w_plus[3], codes[2].w_plus[1])
    pictures = [np.asarray(Image.open(tmp_path / name / "seed0003.png")).astype(int) for name in "ac"]
    assert abs(pictures[0] - pictures[1]).max() <= 1


def test_what_is_written(generator_file, tmp_path):
    generate(generator_file, "0-9", tmp_path / "out", truncation=0.5, noise="none")
    generator = load_generator(generator_file)
    codes = load_codes(tmp_path / "out" / "codes.safetensors")
    assert codes.names[0] == "seed0000" and codes.seeds is not None and codes.seeds.tolist() == list(range(10))
    assert codes.truncation == 0.5 and codes.w is not None
    codes.require(generator)
    w = generator.truncate(generator.mapping(latents_of_seeds(range(10), 5)), 0.5)
    torch.testing.assert_close(codes.w, w)
    torch.testing.assert_close(codes.w_plus, generator.broadcast(w))
    picture = np.asarray(Image.open(tmp_path / "out" / "seed0007.png"))
    image = generator.synthesis(codes.w_plus[7:8], "none")[0].permute(1, 2, 0)
    expected = ((image.clamp(-1, 1) + 1) * 127.5).numpy()
    assert picture.shape == (16, 16, 3) and abs(picture - expected).max() <= 0.51
    # Two rows of eight and two, with gaps of two pixels.
    assert Image.open(tmp_path / "out" / "grid.png").size == (8 * 18, 2 * 18)
    assert codes_of_seeds(generator, []).shape == (0, 7)


def test_wrong_requests_are_refused(generator_file, tmp_path):
    generate(generator_file, "0", tmp_path / "out")
    (tmp_path / "file").touch()
    for options in (
        {"output": tmp_path / "out"},
        {"output": tmp_path / "file"},
        {"seeds": "x"},
        {"batch_size": 0},
        {"device": "nowhere"},
        {"device": "meta"},
        {"truncation": 1e39},
        {"truncation": float("nan")},
        {"generator": tmp_path / "missing.pt"},
    ):
        with pytest.raises(InputError) as error:
            generate(**{"generator": generator_file, "seeds": "0", "output": tmp_path / "new", **options})
        assert "\n" not in str(error.value)
        assert not (tmp_path / "new").exists()
    generate(generator_file, "1", tmp_path / "out", overwrite=True)
    assert choose_device("cpu") == torch.device("cpu") and choose_device("auto").type in ("cpu", "cuda")


def test_command(generator_file, tmp_path, capsys):
    words = ["generate", "--generator", str(generator_file), "--seeds", "5", "--output", str(tmp_path / "o"), "--batch-size=3"]
    cli.main([*words, "--truncation", "0.7"])
    assert "1 picture of 16 px" in capsys.readouterr().out
    with pytest.raises(SystemExit) as stop:
        cli.main(words)
    assert stop.value.code == 2 and len(capsys.readouterr().err.splitlines()) == 1
    cli.main([*words, "--overwrite"])


def test_paths_that_cannot_be_are_one_line(generator_file, tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(["generate", "--generator", str(generator_file), "--seeds", "5", "--output", str(tmp_path / ("o" * 300))])
    error = capsys.readouterr().err
    assert stop.value.code == 2 and len(error.splitlines()) == 1 and "too long" in error and len(error) < 400


def test_overwriting_leaves_no_picture_of_other_codes(generator_file, tmp_path):
    folder = tmp_path / "out"
    generate(generator_file, "0-2", folder)
    (folder / "holiday.png").write_bytes(b"mine")
    generate(generator_file, "2-3", folder, truncation=0.5, overwrite=True)
    assert {path.name for path in folder.iterdir()} == {"seed0002.png", "seed0003.png", "grid.png", "codes.safetensors", "holiday.png"}
    # Interrupted after the codes: nothing that was drawn of other ones is left.
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("commands.generate.pictures_of_codes", lambda *arguments: (_ for _ in ()).throw(KeyboardInterrupt))
        generate(generator_file, "3-4", folder, overwrite=True)
    assert {path.name for path in folder.iterdir()} == {"codes.safetensors", "holiday.png"}
    assert load_codes(folder / "codes.safetensors").names == ("seed0003", "seed0004")


def test_warnings_are_lines_of_the_result(tmp_path, capsys):
    path = write_rosinality(tmp_path / "g.pt", tiny_rosinality_state())
    cli.main(["generate", "--generator", str(path), "--seeds", "5", "--output", str(tmp_path / "o")])
    cli.main(["convert", str(path), str(tmp_path / "g.safetensors")])
    captured = capsys.readouterr()
    assert captured.err == ""
    lines = captured.out.splitlines()
    assert [line for line in lines if line.startswith(f"note: {path} carries no mean of W")] == [lines[0], lines[2]]


def test_settings_of_cudnn_are_put_back(generator_file, tmp_path, monkeypatch):
    cudnn, seen = torch.backends.cudnn, []

    def observed(*arguments):
        seen.append((cudnn.deterministic, cudnn.allow_tf32))
        return pictures_of_codes(*arguments)

    monkeypatch.setattr("commands.generate.pictures_of_codes", observed)
    before = (cudnn.enabled, cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32)
    generate(generator_file, "0", tmp_path / "out")
    assert seen == [(True, False)] and (cudnn.enabled, cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32) == before


def codes_of(generator: Generator, **changes) -> LatentCodes:
    options = {"w_plus": torch.randn(3, 6, 7), "names": ("a", "b", "c"), "generator_digest": generator_digest(generator), **changes}
    return LatentCodes(**options)


def test_codes_there_and_back(generator_file, tmp_path):
    generator = load_generator(generator_file)
    codes = codes_of(generator, seeds=torch.tensor([4, 5, 6]), w=torch.randn(3, 7), truncation=0.3)
    read = load_codes(save_codes(tmp_path / "codes.safetensors", codes))
    assert torch.equal(read.w_plus, codes.w_plus) and read.names == codes.names and len(read) == 3
    assert torch.equal(read.seeds, codes.seeds) and torch.equal(read.w, codes.w) and read.truncation == 0.3
    with safe_open(str(tmp_path / "codes.safetensors"), framework="pt") as file:
        assert set(file.keys()) == {"w", "w_plus", "seeds"} and file.metadata()["kind"] == "latent-codes"
    part = read.select(["c", "a"])
    assert part.names == ("c", "a") and torch.equal(part.w_plus, codes.w_plus[[2, 0]]) and part.seeds.tolist() == [6, 4]
    with pytest.raises(InputError, match="got d"):
        read.select(["d"])
    plain = load_codes(save_codes(tmp_path / "codes.safetensors", codes_of(generator)))
    assert plain.w is None and plain.seeds is None and plain.truncation is None
    assert plain.select(["b"]).w is None


def test_codes_of_another_generator_are_refused(generator_file):
    generator = load_generator(generator_file)
    codes = codes_of(generator)
    codes.require(generator)
    generator.mean_w.zero_()
    codes.require(generator)
    generator.const.data[0, 0, 0] += 1
    with pytest.raises(InputError, match="its weights differ"):
        codes.require(generator)
    with pytest.raises(InputError, match="got 6 of width 7"):
        codes.require(Generator([4], z_dim=4, w_dim=4))


@pytest.mark.parametrize(
    "changes",
    [
        {"names": ("a", "b")},
        {"names": ("a", "b", "b")},
        {"names": ("a", "b", "../c")},
        {"names": ("a", "b", "")},
        {"names": ("a", "b", "c\nd")},
        {"truncation": float("nan")},
    ],
)
def test_codes_that_do_not_fit_are_refused(generator_file, changes):
    with pytest.raises(InputError):
        codes_of(load_generator(generator_file), **changes)


@pytest.mark.parametrize(
    "tensors, config",
    [
        ({}, {}),
        ({"w_plus": torch.ones(2, 3)}, {}),
        ({"w_plus": torch.ones(1, 2, 3).long()}, {}),
        ({"w_plus": torch.full((1, 2, 3), torch.nan)}, {}),
        ({"w_plus": torch.ones(1, 2, 3), "seeds": torch.ones(1)}, {}),
        ({"w_plus": torch.ones(1, 2, 3), "seeds": torch.ones(2, dtype=torch.int64)}, {}),
        ({"w_plus": torch.ones(1, 2, 3), "w": torch.ones(1, 2)}, {}),
        ({"w_plus": torch.ones(1, 2, 3)}, {"names": 3}),
        ({"w_plus": torch.ones(1, 2, 3)}, {"truncation": "much"}),
        ({"w_plus": torch.ones(1, 2, 3)}, {"truncation": float("nan")}),
        ({"w_plus": torch.ones(1, 2, 3)}, {"names": "a"}),
        ({"w_plus": torch.ones(1, 2, 3)}, {"names": [1]}),
        ({"w_plus": torch.ones(1, 2, 3)}, {"generator_digest": ["0"]}),
        ({"w_plus": torch.ones(1, 2, 3).to(torch.float8_e4m3fn)}, {}),
    ],
)
def test_damaged_files_of_codes_are_refused(tmp_path, tensors, config):
    whole = {"names": ["a"], "generator_digest": "0", "truncation": None}
    path = save_weights(tmp_path / "codes.safetensors", tensors, "latent-codes", {**whole, **config})
    with pytest.raises(InputError) as error:
        load_codes(path)
    assert "\n" not in str(error.value)
