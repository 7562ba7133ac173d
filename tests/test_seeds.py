"""Seeds that some generator of random numbers would refuse are refused where they enter, in one line."""

from pathlib import Path

import pytest

import cli
from commands.demo import demo
from lightning_modules.progress import check_seed, rank_seed
from renderers.errors import InputError

LARGEST = 2**32 - 1


@pytest.mark.parametrize("seed", [0, 7, LARGEST])
def test_seeds_of_32_bits_are_taken(seed: int) -> None:
    assert check_seed(seed) == seed
    assert 0 <= rank_seed(seed, 1) <= LARGEST


@pytest.mark.parametrize("seed", [-1, LARGEST + 1])
def test_other_seeds_are_refused(seed: int) -> None:
    with pytest.raises(InputError, match=f"data.seed: expected a seed from 0 to {LARGEST}, got {seed}"):
        check_seed(seed, "data.seed")
    with pytest.raises(InputError, match="expected a seed"):
        rank_seed(seed, 0)


def test_the_demo_refuses_them_before_it_reads_anything(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected a seed"):
        demo(tmp_path / "demo", judge="absent.safetensors", seed=-1)
    assert not (tmp_path / "demo").exists()


@pytest.mark.parametrize("verb", ["fit", "test"])
def test_the_command_line_refuses_them_in_one_line(
    verb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        cli.main([verb, "--config", "configs/demo/stylerig_pose.yaml", "--seed_everything", "-1"])
    (line,) = capfd.readouterr().err.strip().splitlines()
    assert stop.value.code == 2 and line.startswith("lightning: seed_everything: expected a seed from 0 to 4294967295, got -1")
    assert not list(tmp_path.iterdir())
