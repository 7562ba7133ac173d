"""A folder of photos as training data: found, split, checked, mirrored, resumed, refused."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from datamodules.loading import ResumableLoader
from datamodules.photo_folder import (
    PhotoDataset,
    UnusablePhoto,
    check_photos,
    find_photos,
    in_threads,
    read_photo,
    split_photos,
)
from datamodules.portrait_data import PortraitDataModule
from renderers.errors import InputError
from tests.photo_files import write_photos


def images(loader: ResumableLoader) -> torch.Tensor:
    return torch.cat([batch["image"] for batch in loader])


def test_photos_are_found_at_any_depth(tmp_path: Path) -> None:
    paths = write_photos(tmp_path)
    Image.new("RGB", (30, 20)).save(tmp_path / "contact_sheet.jpg")
    (tmp_path / "000.faces.json").write_text("{}")
    (tmp_path / ".thumbnails").mkdir()
    shutil.copy(paths[0], tmp_path / ".thumbnails" / "a.png")
    assert find_photos(tmp_path) == paths
    with pytest.raises(InputError, match="which is none"):
        find_photos(tmp_path / "absent")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="found none"):
        find_photos(tmp_path / "empty")


def test_the_split_follows_from_names(tmp_path: Path) -> None:
    paths = write_photos(tmp_path / "a", 40, size=4)
    train, val = split_photos(paths, tmp_path / "a", 0.1)
    assert len(val) == 4 and sorted(train + val) == paths and train == sorted(train)
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    _, elsewhere = split_photos(find_photos(tmp_path / "b"), tmp_path / "b", 0.1)
    assert [path.relative_to(tmp_path / "b") for path in elsewhere] == [path.relative_to(tmp_path / "a") for path in val]
    _, fewer = split_photos([path for path in paths if path not in val[:1]], tmp_path / "a", 0.1)
    assert set(val[1:]) <= set(fewer)
    assert split_photos(paths, tmp_path / "a", 0.0) == (paths, [])
    assert len(split_photos(paths, tmp_path / "a", 0.001)[1]) == 1
    with pytest.raises(InputError, match="validation_fraction"):
        split_photos(paths, tmp_path / "a", 1.0)
    with pytest.raises(InputError, match="give more photos"):
        split_photos(paths[:1], tmp_path / "a", 0.5)


def test_photos_from_memory_and_disk_agree(tmp_path: Path) -> None:
    paths = write_photos(tmp_path, 5)
    memory, disk = (PhotoDataset(paths, 16, mirror=True, in_memory=kept) for kept in (True, False))
    assert len(memory) == len(disk) == 10
    indices = [0, 7, 3, 9, 2]
    batch = disk.__getitems__(indices)["image"]
    assert torch.equal(batch, memory.__getitems__(indices)["image"])
    assert batch.dtype == torch.float32 and batch.shape == (5, 3, 16, 16) and batch.abs().max() <= 1
    assert torch.equal(disk[7]["image"], disk[2]["image"].flip(-1))
    exact = torch.from_numpy(np.array(Image.open(paths[0]))).permute(2, 0, 1)
    assert torch.equal(disk[0]["image"], exact.float() / 127.5 - 1)


def test_larger_photos_are_scaled_without_aliasing(tmp_path: Path) -> None:
    # Stripes of one pixel are grey from afar; picking every other pixel would make them black or white.
    stripes = np.zeros((32, 32, 3), np.uint8)
    stripes[:, ::2] = 255
    Image.fromarray(stripes).save(tmp_path / "stripes.png")
    picture = read_photo(tmp_path / "stripes.png", 8).float()
    assert picture.shape == (3, 8, 8) and (picture - 127.5).abs().max() < 20
    flat = Image.new("RGB", (40, 40), (10, 200, 30))
    flat.save(tmp_path / "flat.png")
    assert torch.equal(read_photo(tmp_path / "flat.png", 16)[:, 0, 0], torch.tensor([10, 200, 30], dtype=torch.uint8))


@pytest.mark.parametrize("cache", [0.0, 1.0])
def test_measured_photos_are_in_order_and_not_mirrored(tmp_path: Path, cache: float) -> None:
    paths = write_photos(tmp_path, 5)
    data = PortraitDataModule(str(tmp_path), 16, batch_size=2, flip=True, cache_gigabytes=cache, num_workers=1)
    state = torch.get_rng_state()
    every, first = (torch.cat([batch["image"] for batch in data.measured_loader(count, 2)]) for count in (None, 3))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(every, torch.stack([read_photo(path, 16) for path in paths]).float() / 127.5 - 1)
    assert torch.equal(first, every[:3])
    assert data.measured_loader(None, 2).num_workers == (1 if cache == 0 else 0)


@pytest.mark.parametrize("mode", ["RGBA", "L", "P", "1", "I;16", "CMYK"])
def test_photos_of_other_modes_are_rgb(tmp_path: Path, mode: str) -> None:
    picture = Image.new("L", (8, 8), 255)
    if mode == "I;16":
        picture = Image.fromarray(np.full((8, 8), 65535, np.uint16))
    else:
        picture = picture.convert("RGB" if mode in ("RGBA", "CMYK") else mode).convert(mode)
    path = tmp_path / ("a.jpg" if mode == "CMYK" else "a.png")
    picture.save(path)
    assert read_photo(path, 8).float().min() >= 250


def test_unusable_photos_are_named(tmp_path: Path) -> None:
    good = write_photos(tmp_path, 1)[0]
    check_photos([good], 16)
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.jpg").write_text("not a picture")
    Image.new("RGB", (20, 16)).save(tmp_path / "wide.png")
    Image.new("RGB", (8, 8)).save(tmp_path / "tiny.png")
    for name, message in [
        ("empty.png", r"empty.png \(0 bytes\) is none"),
        ("text.jpg", "text.jpg .* is none"),
        ("wide.png", "wide.png has 20 x 16 pixels; run `lightning align` first"),
        ("tiny.png", "at least 16 pixels, .*tiny.png has 8"),
    ]:
        with pytest.raises(UnusablePhoto, match=message):
            check_photos([good, tmp_path / name], 16)
    with pytest.raises(UnusablePhoto, match=r"and 1 more like this"):
        check_photos([tmp_path / "wide.png", tmp_path / "tiny.png"], 16)
    cut = tmp_path / "cut.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)).save(cut)
    cut.write_bytes(cut.read_bytes()[:3000])
    with pytest.raises(UnusablePhoto, match="cut.png") as caught:
        read_photo(cut, 16)
    assert "\n" not in str(caught.value)


def test_a_worker_names_the_photo_in_one_line(tmp_path: Path) -> None:
    write_photos(tmp_path, 4)
    cut = tmp_path / "cut.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)).save(cut)
    cut.write_bytes(cut.read_bytes()[:3000])
    data = PortraitDataModule(str(tmp_path), image_size=16, batch_size=5, cache_gigabytes=0.0, num_workers=1)
    with pytest.raises(UnusablePhoto) as caught:
        next(iter(data.train_dataloader()))
    assert str(caught.value).startswith("expected a whole") and "\n" not in str(caught.value)


@pytest.mark.parametrize(("cache", "workers"), [(1.0, 2), (0.0, 0), (0.0, 2)])
def test_batches_do_not_depend_on_how_they_are_loaded(tmp_path: Path, cache: float, workers: int) -> None:
    write_photos(tmp_path, 6)
    data = PortraitDataModule(str(tmp_path), 16, 4, flip=True, seed=3, cache_gigabytes=cache, num_workers=workers)
    loader = data.train_dataloader()
    assert loader.num_workers == (0 if cache else workers)
    reference = PortraitDataModule(str(tmp_path), 16, 2, flip=True, seed=3).train_dataloader()
    first, second = images(loader), images(loader)
    assert torch.equal(first, images(reference)) and torch.equal(second, images(reference))
    assert not torch.equal(first, second)
    # A pass shows every photo and its mirror image.
    assert len(first) == 12 and len({picture.numpy().tobytes() for picture in first}) == 12


def test_a_resumed_run_goes_on_with_the_next_photos(tmp_path: Path) -> None:
    write_photos(tmp_path, 6)

    def data() -> PortraitDataModule:
        return PortraitDataModule(str(tmp_path), 16, 4, flip=True)

    whole = images(data().train_dataloader())
    first = data()
    next(iter(first.train_dataloader()))
    second = data()
    second.load_state_dict(first.state_dict())
    assert torch.equal(images(second.train_dataloader()), whole[4:])


def test_ranks_share_photos_out(tmp_path: Path) -> None:
    write_photos(tmp_path, 7)
    shares = []
    for rank in range(2):
        data = PortraitDataModule(str(tmp_path), 16, 1, seed=1)
        data.trainer = SimpleNamespace(world_size=2, global_rank=rank)  # type: ignore[assignment]
        shares.append(images(data.train_dataloader()))
    assert [len(share) for share in shares] == [3, 3]
    assert len({picture.numpy().tobytes() for picture in torch.cat(shares)}) == 6


def test_validation_photos_are_held_out_unmirrored(tmp_path: Path) -> None:
    paths = write_photos(tmp_path, 8)
    data = PortraitDataModule(str(tmp_path), 16, 2, flip=True, validation_fraction=0.25)
    assert len(data.dataset("val")) == 2 and len(data.dataset("train")) == 12
    assert set(data.dataset("val").paths) | set(data.dataset("train").paths) == set(paths)
    assert images(data.val_dataloader()).shape == images(data.test_dataloader()).shape == (2, 3, 16, 16)
    assert images(data.predict_dataloader()).shape == (2, 3, 16, 16)
    none = PortraitDataModule(str(tmp_path), 16, 2)
    assert none.val_dataloader() == []
    with pytest.raises(InputError, match="set data.validation_fraction"):
        none.test_dataloader()


def test_the_size_is_that_of_the_generator(tmp_path: Path) -> None:
    write_photos(tmp_path, 4)
    data = PortraitDataModule(str(tmp_path), batch_size=2)
    with pytest.raises(InputError, match="set data.image_size"):
        data.setup("fit")
    module = SimpleNamespace(generator=SimpleNamespace(resolution=8))
    data.trainer = SimpleNamespace(world_size=1, global_rank=0, lightning_module=module)  # type: ignore[assignment]
    data.setup("fit")
    assert next(iter(data.train_dataloader()))["image"].shape == (2, 3, 8, 8)


def test_bad_options_are_refused(tmp_path: Path) -> None:
    write_photos(tmp_path, 4)
    with pytest.raises(InputError, match="batch_size 0"):
        PortraitDataModule(str(tmp_path), 16, batch_size=0)
    with pytest.raises(InputError, match="at least one batch of 8"):
        PortraitDataModule(str(tmp_path), 16, batch_size=8).train_dataloader()


def test_threads_keep_the_order() -> None:
    assert list(in_threads(lambda number: number**2, range(20))) == [number**2 for number in range(20)]
