"""What became of the portraits of a run: a summary that names every failure with its reason, and a sheet of all embeddings."""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torchvision.utils import make_grid, save_image

from datamodules.portrait_batches import NameTaken
from datamodules.portrait_sources import PreparedPortrait, RefusedPortrait
from lightning_modules.checkpointing import whole_file
from lightning_modules.pie.states import FOLDER
from models.portrait_embedding import SUFFIX, PortraitEmbedding, load_embedding
from models.stylegan2 import Generator
from renderers.errors import InputError
from renderers.images import to_unit

# Folder of embeddings in a run's.
EMBEDDINGS = "embeddings"
SUMMARY = "summary.json"
SHEET = "contact_sheet.png"
_FAILURE = ".failure.json"
# Portraits in a row of the sheet, each as photo, end of W, end of W+.
_COLUMNS = 4
_LARGEST_SHEET = 200
_LARGEST_CELL = 256


def check_embedding(path: Path, portrait: PreparedPortrait, settings: Mapping[str, Any]) -> None:
    """Refuse a file that holds anything but the embedding of a portrait under some settings: nothing is written over.

    Raises:
        NameTaken: for the embedding of another portrait, or none at all.
        InputError: for one under other settings.
    """
    try:
        found = load_embedding(path)
    except InputError as error:
        raise NameTaken(f"{error}, or remove it, or choose another --model.output") from error
    if found.settings != settings:
        raise InputError(
            f"expected a folder for embeddings under these settings, {path} was made under others; choose another --model.output, "
            "or remove it"
        )
    if not torch.equal(found.image, portrait.image):
        raise NameTaken(
            f"expected an embedding of this portrait in {path}, it is of another one, or of the photo before it was changed; "
            "rename the photo, or remove the file to embed it anew"
        )


def record_failure(folder: Path, portrait: PreparedPortrait, reason: str) -> None:
    """Note why a portrait was given up, for the summary: another rank writes that."""
    with whole_file(folder / FOLDER / f"{portrait.name}{_FAILURE}") as file:
        file.write(json.dumps({"reason": reason}).encode())


def forget_failure(folder: Path, portrait: PreparedPortrait) -> None:
    """Drop what an earlier run noted: the portrait is embedded again."""
    (folder / FOLDER / f"{portrait.name}{_FAILURE}").unlink(missing_ok=True)


def write_summary(
    folder: Path, portraits: Sequence[PreparedPortrait], refused: Sequence[RefusedPortrait], generator: Generator
) -> int:
    """Write summary.json (each portrait with its energies, or the reason why it has no embedding) and contact_sheet.png; print failures.

    Args:
        folder: Of the embeddings.
        portraits: All of the run.
        refused: Photos that could not be embedded.
        generator: Of the codes.

    Returns:
        How many portraits have no embedding.
    """
    entries: list[dict[str, object]] = []
    shown: list[PortraitEmbedding] = []
    for portrait in portraits:
        entry: dict[str, object] = {"name": portrait.name, "source": portrait.source, "origin": portrait.origin}
        try:
            embedding = load_embedding(folder / f"{portrait.name}{SUFFIX}")
            shown.append(embedding)
            entries.append({**entry, "status": "embedded", "energies": embedding.energies})
        except InputError:
            entries.append({**entry, "status": "failed", "reason": _reason(folder, portrait.name)})
    entries += [
        {"name": each.name, "origin": each.origin, "status": "refused", "reason": each.reason} for each in refused
    ]
    with whole_file(folder / SUMMARY) as file:
        file.write((json.dumps(entries, indent=1) + "\n").encode())
    if shown:
        with whole_file(folder / SHEET) as file:
            save_image(contact_sheet(shown[:_LARGEST_SHEET], generator), file, format="png")
    failures = [entry for entry in entries if entry["status"] != "embedded"]
    for entry in failures:
        print(f"{entry['name']}: {entry['reason']}", file=sys.stderr)
    print(f"{len(shown)} of {len(entries)} portraits embedded: {folder}", flush=True)
    return len(failures)


@torch.no_grad()
def contact_sheet(embeddings: Sequence[PortraitEmbedding], generator: Generator) -> Tensor:
    """Portraits with their reconstructions from W and from W+ at their right, (3, height, width) in [0, 1]."""
    device = generator.mean_w.device
    cells: list[Tensor] = []
    for embedding in embeddings:
        codes = [embedding.w_plus]
        if embedding.w is not None:
            codes = [embedding.w.expand_as(embedding.w_plus), embedding.w_plus]
        made = generator.synthesis(torch.stack(codes).to(device), noise="const").clamp(-1, 1).cpu()
        row = [embedding.pixels, *([made[0]] if len(made) > 1 else [torch.ones_like(embedding.pixels)]), made[-1]]
        cells += [_reduced(picture) for picture in row]
    return make_grid(to_unit(torch.stack(cells)), nrow=3 * min(_COLUMNS, len(embeddings)), padding=1, pad_value=1.0)


def _reduced(picture: Tensor) -> Tensor:
    factor = max(1, picture.shape[-1] // _LARGEST_CELL)
    return torch.nn.functional.avg_pool2d(picture[None], factor)[0]


def _reason(folder: Path, name: str) -> str:
    path = folder / FOLDER / f"{name}{_FAILURE}"
    if path.exists():
        return str(json.loads(path.read_text())["reason"])
    return "the run ended before it was finished; start it again to go on"
