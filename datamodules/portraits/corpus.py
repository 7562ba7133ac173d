"""Rendered portraits on disk: shards that are written atomically, resumed, and made again when damaged."""

import hashlib
import json
import logging
import multiprocessing
import os
import tempfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import cache, partial
from pathlib import Path

import torch
from jaxtyping import Int64
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from datamodules.portraits.sampler import PortraitSampler
from models.morphable.procedural import Density
from models.morphable.procedural.build import cache_path
from renderers.errors import InputError

_LOG = logging.getLogger(__name__)
_RENDER_BATCH = 16
FIELDS = ("image", "latent", "parameters", "landmarks", "mask", "person")


@dataclass(frozen=True)
class CorpusSpec:
    """Which portraits a corpus holds; equal specifications and equal code give equal pictures.

    Attributes:
        image_size: height and width in pixels.
        num_samples: pictures in all.
        samples_per_person: consecutive pictures that show one person.
        seed: of the latents.
        first_person: number of the first person; corpora of disjoint people share none.
        density: of the head's mesh.
        supersample: rays per pixel and axis.
        shard_size: pictures per file.
    """

    image_size: int = 64
    num_samples: int = 4096
    samples_per_person: int = 1
    seed: int = 0
    first_person: int = 0
    density: Density = "medium"
    supersample: int = 2
    shard_size: int = 512

    def __post_init__(self) -> None:
        for name in ("image_size", "num_samples", "samples_per_person", "supersample", "shard_size"):
            if getattr(self, name) < 1:
                raise InputError(f"portrait corpora need {name} of at least 1, got {getattr(self, name)}: raise it")

    @property
    def shards(self) -> int:
        return -(-self.num_samples // self.shard_size)

    def rows(self, shard: int) -> range:
        """Sample numbers of a shard."""
        return range(shard * self.shard_size, min((shard + 1) * self.shard_size, self.num_samples))

    def person(self, index: Int64[Tensor, "batch"]) -> Int64[Tensor, "batch"]:
        """Number of the person on each sample."""
        return self.first_person + torch.div(index, self.samples_per_person, rounding_mode="floor")

    def shot(self, index: Int64[Tensor, "batch"]) -> Int64[Tensor, "batch"]:
        """Number of the shot of that person."""
        return index % self.samples_per_person


def corpus_folder(spec: CorpusSpec, root: Path | None = None) -> Path:
    """Where a corpus is kept: under `root`, else $LATENTRIG_CACHE, else ~/.cache/latentrig.

    The name changes with the specification (but for the number of samples: a longer corpus continues a shorter one) and
    with the code that draws portraits.
    """
    digest = hashlib.sha256()
    for source in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(source.read_bytes())
    digest.update(cache_path(spec.density).name.encode())
    described = asdict(spec)
    del described["num_samples"]
    digest.update(json.dumps(described, sort_keys=True).encode())
    base = root or Path(os.environ.get("LATENTRIG_CACHE") or Path.home() / ".cache" / "latentrig")
    return Path(base) / f"portraits-{spec.image_size}px-{digest.hexdigest()[:12]}"


def draw_samples(sampler: PortraitSampler, spec: CorpusSpec, index: Int64[Tensor, "batch"]) -> dict[str, Tensor]:
    """Render samples: image uint8 (B, 3, H, W), latent, packed parameters, landmarks (float32), mask (bool), person."""
    parts: list[dict[str, Tensor]] = []
    for chunk in index.split(_RENDER_BATCH):
        person = spec.person(chunk)
        latent = sampler.latents(person, spec.shot(chunk), spec.seed)
        picture = sampler.render(latent, spec.image_size, spec.supersample)
        parts.append(
            {
                "image": ((picture.image + 1) * 127.5).round().clamp(0, 255).to(torch.uint8),
                "latent": latent,
                "parameters": picture.parameters.pack(),
                "landmarks": picture.landmarks,
                "mask": picture.mask,
                "person": person,
            }
        )
    return {name: torch.cat([part[name] for part in parts]).cpu().contiguous() for name in FIELDS}


def shard_path(folder: Path, spec: CorpusSpec, shard: int) -> Path:
    """File of a shard; a last, shorter shard has a name of its own."""
    rows = spec.rows(shard)
    return folder / f"shard-{rows.start:08d}-{rows.stop:08d}.safetensors"


def shard_is_whole(path: Path, rows: int) -> bool:
    """Whether a shard's file is there and can be read to its end."""
    if not path.exists():
        return False
    try:
        with safe_open(path, framework="pt") as file:
            return all(file.get_slice(name).get_shape()[0] == rows for name in FIELDS)
    except (SafetensorError, OSError, KeyError, RuntimeError):
        return False


@cache
def _sampler(density: Density) -> PortraitSampler:
    """One sampler per process: measuring a head takes a few seconds."""
    return PortraitSampler(density)


def _render_shards(folder: Path, spec: CorpusSpec, shards: list[int]) -> None:
    sampler = _sampler(spec.density)
    for shard in shards:
        rows = spec.rows(shard)
        samples = draw_samples(sampler, spec, torch.arange(rows.start, rows.stop))
        handle, temporary = tempfile.mkstemp(dir=folder, suffix=".part")
        os.close(handle)
        try:
            save_file(samples, temporary)
            # Temporary files are private; a cache may be shared.
            os.chmod(temporary, 0o644)
            os.replace(temporary, shard_path(folder, spec, shard))
        finally:
            Path(temporary).unlink(missing_ok=True)


def render_corpus(spec: CorpusSpec, folder: Path, processes: int = 1) -> None:
    """Render what a corpus lacks. Whole shards are kept, damaged ones drawn again.

    Args:
        processes: that draw side by side.

    Raises:
        InputError: the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"expected a folder to write portraits to, got {folder} ({error.strerror}): name another"
        ) from error
    missing = []
    for shard in range(spec.shards):
        path = shard_path(folder, spec, shard)
        if not shard_is_whole(path, len(spec.rows(shard))):
            if path.exists():
                _LOG.warning("damaged portrait shard %s: drawing it again", path)
            missing.append(shard)
    if not missing:
        return
    _LOG.info("drawing %d of %d shards of portraits into %s", len(missing), spec.shards, folder)
    if processes <= 1 or len(missing) == 1:
        _render_shards(folder, spec, missing)
        return
    shares = [missing[start::processes] for start in range(min(processes, len(missing)))]
    # Spawned, not forked: torch's thread pools do not survive a fork.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(len(shares), context, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        for _ in pool.map(partial(_render_shards, folder, spec), shares):
            pass


class PortraitCorpus:
    """A rendered corpus, read by sample numbers.

    Args:
        in_memory: read everything at once (12 kB per picture of 64 px); else shards stay on disk, mapped.

    Raises:
        InputError: a shard is missing or damaged.
    """

    def __init__(self, spec: CorpusSpec, folder: Path, in_memory: bool = True) -> None:
        self.spec, self.folder = spec, folder
        for shard in range(spec.shards):
            path = shard_path(folder, spec, shard)
            if not shard_is_whole(path, len(spec.rows(shard))):
                raise InputError(f"expected a whole portrait shard at {path}, found none: render the corpus again")
        self._tensors: dict[str, Tensor] | None = None
        if in_memory:
            parts = [self._read(shard) for shard in range(spec.shards)]
            self._tensors = {name: torch.cat([part[name] for part in parts]) for name in FIELDS}

    def _read(self, shard: int, rows: slice = slice(None)) -> dict[str, Tensor]:
        with safe_open(shard_path(self.folder, self.spec, shard), framework="pt") as file:
            return {name: file.get_slice(name)[rows] for name in FIELDS}

    def __len__(self) -> int:
        return self.spec.num_samples

    def shard(self, shard: int, name: str) -> Tensor:
        """One field of all samples of a shard."""
        with safe_open(shard_path(self.folder, self.spec, shard), framework="pt") as file:
            return file.get_tensor(name)

    def rows(self, index: Int64[Tensor, "batch"]) -> dict[str, Tensor]:
        """The stored fields of samples, images as uint8."""
        if self._tensors is not None:
            return {name: tensor[index] for name, tensor in self._tensors.items()}
        parts = []
        for number in index.tolist():
            shard, row = divmod(number, self.spec.shard_size)
            parts.append(self._read(shard, slice(row, row + 1)))
        return {name: torch.cat([part[name] for part in parts]) for name in FIELDS}
