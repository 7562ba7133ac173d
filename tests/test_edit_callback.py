"""The callback that measures the edits of every component of a network."""

import json
from pathlib import Path

import pytest
import torch

from datamodules.latent_pairs import LatentPairDataModule
from evaluation.stylerig.measuring import StyleRigEdits
from lightning_modules.face_reconstruction import DifferentiableFaceReconstruction, FaceReconstructionSettings
from lightning_modules.rig_losses import Control
from lightning_modules.stylerig import StyleRig
from lightning_modules.stylerig_settings import StyleRigSettings
from models.observers import Judge, save_observer
from renderers.errors import InputError
from tests.tiny_stylerig import quiet_trainer, use_toy_face, write_networks
from tests.toy_face import SIZES


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Networks for StyleRig in `tmp_path`, and judge.safetensors."""
    use_toy_face(monkeypatch)
    networks = write_networks(tmp_path)
    torch.manual_seed(0)
    module = DifferentiableFaceReconstruction(**networks, settings=FaceReconstructionSettings(hidden=16))
    torch.nn.init.normal_(module.network.net[4].weight, std=0.1)
    module.network.save(tmp_path / "f.safetensors", module.provenance)
    judge = Judge(SIZES.identity, SIZES.expression, SIZES.reflectance, widths=(4, 8), blocks=(1, 1), num_features=6)
    save_observer(tmp_path / "judge.safetensors", judge)
    return {**networks, "face_reconstruction": str(tmp_path / "f.safetensors")}


def measure(files: dict[str, str], folder: Path, callback: StyleRigEdits, *components: str) -> None:
    settings = StyleRigSettings(controls=[Control(component) for component in components], statistics_pairs=20)
    rig = StyleRig(**files, settings=settings)
    torch.nn.init.normal_(rig.rignet.decoder_weight, std=0.1)
    data = LatentPairDataModule(batch_size=3, test_pairs=6)
    quiet_trainer(folder, callbacks=[callback]).test(rig, data, verbose=False)


def test_every_component_is_measured_into_a_file_of_its_own(files: dict[str, str], tmp_path: Path) -> None:
    callback = StyleRigEdits(str(tmp_path / "judge.safetensors"))
    measure(files, tmp_path, callback, "rotation", "expression")
    for component in ("rotation", "expression"):
        edits = json.loads((tmp_path / StyleRigEdits.file_of(component)).read_text())
        assert edits["component"] == component and edits["pairs"] == 6 and "known_people" not in edits
        assert edits["code_change"] > 0 and edits["frechet_to_unedited"] is not None
    assert not (tmp_path / StyleRigEdits.file_of("illumination")).exists()


def test_without_a_judge_the_pose_alone_is_measured(files: dict[str, str], tmp_path: Path) -> None:
    measure(files, tmp_path, StyleRigEdits(), "expression", "rotation")
    assert (tmp_path / StyleRigEdits.file_of("rotation")).exists()
    assert not (tmp_path / StyleRigEdits.file_of("expression")).exists()
    with pytest.raises(InputError, match="name a judge"):
        measure(files, tmp_path, StyleRigEdits(), "expression")


def test_known_people_need_a_judge_and_a_generator_that_paints_them(files: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="0 without a judge"):
        StyleRigEdits(known_people=5)
    with pytest.raises(InputError, match="paints portraits"):
        measure(files, tmp_path, StyleRigEdits(str(tmp_path / "judge.safetensors"), known_people=5), "rotation")
