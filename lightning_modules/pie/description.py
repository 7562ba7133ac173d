"""What an embedding depends on, as plain values that are kept with it: embeddings of other settings are never taken for these."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from lightning_modules.face_scene import FaceScene
from lightning_modules.pie.settings import PieSettings
from models.weights import locate
from renderers.errors import InputError


def describe(settings: PieSettings, scene: FaceScene, networks: Mapping[str, str | None]) -> dict[str, Any]:
    """Energies, schedule, scene and networks as plain JSON values.

    Args:
        settings: Of the optimisation; how often its state is saved changes nothing.
        scene: Of the renderings.
        networks: By role, where each was read from, or None for those that take no part.
    """
    described = {name: value for name, value in asdict(settings).items() if name != "save_every"}
    digests = {role: None if source is None else _digest_of(source) for role, source in networks.items()}
    # Through JSON, so that it equals what is read back.
    return json.loads(json.dumps({**described, "scene": asdict(scene), "networks": digests}))


def _digest_of(source: str) -> str:
    """What tells a network's file from others: its content; of a folder its files' content; of the name of a download, that."""
    try:
        path = locate(source)
    except InputError:
        return source
    files = sorted(each for each in path.rglob("*") if each.is_file()) if path.is_dir() else [path]
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.name.encode() + file.read_bytes())
    return digest.hexdigest()[:16]
