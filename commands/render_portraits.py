"""Draw synthetic portraits: a contact sheet to look at, or a corpus of arrays to train on."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from datamodules.portraits.corpus import CorpusSpec, PortraitCorpus, corpus_folder, draw_samples, render_corpus
from datamodules.portraits.sampler import PortraitSampler
from models.morphable.procedural import Density
from renderers.errors import InputError

# Names of the written arrays and the fields of the corpus they hold.
_ARRAYS = {
    "images": "image",
    "latents": "latent",
    "parameters": "parameters",
    "landmarks": "landmarks",
    "masks": "mask",
    "persons": "person",
}


def render_portraits(
    output: Path,
    num_samples: int = 64,
    image_size: int = 64,
    samples_per_person: int = 1,
    seed: int = 0,
    first_person: int = 0,
    density: Density = "medium",
    supersample: int = 2,
    columns: int = 8,
    processes: int = 1,
) -> None:
    """Draw portraits with their truth.

    Args:
        output: a PNG file for a contact sheet, or a folder for arrays: images.npy (N, 3, H, W) uint8, latents.npy,
            parameters.npy, landmarks.npy (N, 68, 2) pixels, masks.npy (N, 1, H, W) bool, persons.npy.
        num_samples: pictures in all.
        image_size: height and width in pixels.
        samples_per_person: consecutive pictures that show one person.
        seed: of the portraits.
        first_person: number of the first person.
        density: of the head's mesh.
        supersample: rays per pixel and axis.
        columns: of the contact sheet.
        processes: that draw side by side (arrays only).
    """
    spec = CorpusSpec(image_size, num_samples, samples_per_person, seed, first_person, density, supersample)
    if output.suffix.lower() == ".png":
        _contact_sheet(spec, output, columns)
    elif output.suffix:
        raise InputError(f"expected a .png file or a folder to write portraits to, got {output}: rename it")
    else:
        _arrays(spec, output, processes)


def _contact_sheet(spec: CorpusSpec, output: Path, columns: int) -> None:
    if columns < 1:
        raise InputError(f"expected at least one column, got {columns}: raise it")
    images = draw_samples(PortraitSampler(spec.density), spec, torch.arange(spec.num_samples))["image"]
    size = spec.image_size
    sheet = np.zeros((-(-len(images) // columns) * size, columns * size, 3), dtype=np.uint8)
    for number, image in enumerate(images.permute(0, 2, 3, 1).numpy()):
        top, left = number // columns * size, number % columns * size
        sheet[top : top + size, left : left + size] = image
    output.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(sheet).save(output)
    print(f"{len(images)} portraits in {output}")


def _arrays(spec: CorpusSpec, output: Path, processes: int) -> None:
    shards = corpus_folder(spec, output / "shards")
    render_corpus(spec, shards, processes)
    corpus = PortraitCorpus(spec, shards, in_memory=False)
    first = corpus.rows(torch.tensor([0]))
    for name, field in _ARRAYS.items():
        like = first[field].numpy()
        part = output / f"{name}.npy.part"
        target = np.lib.format.open_memmap(part, mode="w+", dtype=like.dtype, shape=(spec.num_samples, *like.shape[1:]))
        for shard in range(spec.shards):
            rows = spec.rows(shard)
            target[rows.start : rows.stop] = corpus.shard(shard, field).numpy()
        target.flush()
        del target
        part.replace(output / f"{name}.npy")
    print(f"{spec.num_samples} portraits in {output}")
