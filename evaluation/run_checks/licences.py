"""Which licence binds each file of a run, as far as its kind and layout tell. ``docs/licences.md`` shows the same table.

Nothing here is legal advice: a file seldom says where it comes from, so that the lines name what to look at.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from evaluation.run_checks.kinds import SHIPPED, Artefact
from evaluation.run_checks.report import Check
from models.weights import PROJECT_ROOT, asset_path


@dataclass(frozen=True)
class Licence:
    """What is known about files of one layout.

    Attributes:
        subject: What they are.
        terms: Under which licence their owners give them, and what it asks.
        binds: Whether it restricts use beyond naming the authors.
    """

    subject: str
    terms: str
    binds: bool


# By the layouts of `evaluation.run_checks.kinds`.
LICENCES: dict[str, Licence] = {
    "ada": Licence(
        "StyleGAN2-ADA and StyleGAN3-repository networks (.pkl)",
        "NVIDIA's own: NVIDIA Source Code Licence, non-commercial research or evaluation; FFHQ behind them CC BY-NC-SA 4.0; networks "
        "of others: as their photos and authors say",
        True,
    ),
    "rosinality": Licence(
        "StyleGAN2 checkpoints in the rosinality layout (.pt)",
        "the file does not say: converted NVIDIA networks stay under the NVIDIA Source Code Licence (non-commercial); trained on FFHQ "
        "(CC BY-NC-SA 4.0) non-commercial as well; the code is MIT",
        True,
    ),
    "liftedgan": Licence(
        "LiftedGAN's slim generator and checkpoints",
        "MIT for the authors' release; trained on FFHQ (CC BY-NC-SA 4.0, non-commercial) or AFHQ (CC BY-NC 4.0)",
        True,
    ),
    "bfm-front": Licence(
        "Basel Face Model 2009 for the public BFM tools (BFM_model_front.mat)",
        "Basel Face Model licence: registration, non-commercial research only, no redistribution; its expressions (exBase) are Guo et "
        "al.'s, made from FaceWarehouse, which has research terms of its own: non-commercial, asked for from its authors",
        True,
    ),
    "bfm-h5": Licence(
        "Basel Face Model 2017 and 2019 (.h5)",
        "Basel Face Model licence: registration, non-commercial research only, no redistribution",
        True,
    ),
    "facenet": Licence(
        "facenet-pytorch's InceptionResnetV1",
        "MIT for the code; trained on VGGFace2 or CASIA-WebFace, photos of people collected for research: ask before any other use",
        True,
    ),
    "fan": Licence(
        "face-alignment's 2DFAN",
        "BSD-3-Clause for code and weights, as their author says; trained on 300W-LP and other landmark photos given for research: ask "
        "before any other use",
        True,
    ),
    "vgg16": Licence(
        "VGG-16",
        "the Visual Geometry Group's weights CC BY 4.0 (name the authors), torchvision's BSD-3-Clause; ImageNet behind both is given "
        "for non-commercial research",
        True,
    ),
    "inception": Licence(
        "Inception-v3 of the Fréchet distance (torch-fidelity, pytorch-fid)",
        "Apache-2.0; ImageNet behind it is given for non-commercial research",
        True,
    ),
    "face-api": Licence("face-api's 68 landmarks", "MIT", False),
    "ict": Licence("ICT-FaceKit", "MIT", False),
}
UNKNOWN_WEIGHTS = "unknown: the file names none; what it was trained on or converted from binds it"
UNKNOWN_PHOTOS = "unknown: photographers and the people shown keep their rights; FFHQ is CC BY-NC-SA 4.0"
# Other files may lie beside them.
_NETWORKS = (
    *(
        "generator",
        "face_reconstruction",
        "face_encoder",
        "code_encoder",
        "landmarks",
        "identity",
        "judge",
        "directions",
    ),
    *("code_coefficients", "step_size", "uv_generator"),
)
_RIGS = (
    "rig_pose",
    "rig_expression",
    "rig_illumination",
    "rig_geometry",
    "pie_rig_pose",
    "pie_rig_expression",
    "pie_rig_illumination",
)
_SHIPPED_FILES = tuple(asset_path(f"demo_{name}.safetensors") for name in (*_NETWORKS, *_RIGS))
_LICENCE_FILES = ("LICENSE", "LICENCE", "COPYING", "SOURCES")


def check_licences(artefacts: dict[str, Artefact]) -> list[Check]:
    """One line per file that the run reads: "ok" where nothing restricts use, else "note"."""
    return [_check(key, artefact) for key, artefact in artefacts.items()]


def _check(key: str, artefact: Artefact) -> Check:
    name = f"licence of {key}"
    shipped = artefact.layout == "latentrig" and artefact.path.resolve() in [path.resolve() for path in _SHIPPED_FILES]
    if shipped or artefact.layout == SHIPPED:
        card = artefact.path.resolve().with_suffix(".md")
        where = f", model card {card.relative_to(PROJECT_ROOT.resolve())}" if card.is_file() else ""
        return Check(name, "ok", f"MIT, as this project{where}")
    beside = "".join(f"; see {path}" for path in _licence_texts(artefact.path))
    known = LICENCES.get(artefact.layout)
    if known is not None:
        return Check(name, "note" if known.binds else "ok", f"{known.terms}{beside}")
    unknown = UNKNOWN_PHOTOS if artefact.kind in ("photos", "picture") else UNKNOWN_WEIGHTS
    return Check(name, "note", f"{unknown}{beside}")


def _licence_texts(path: Path) -> Iterator[Path]:
    """Licences and model cards that lie beside a file or in a folder."""
    if not path.exists():
        return  # it stands for what a package fetches
    folder = path if path.is_dir() else path.parent
    for each in sorted(folder.iterdir()):
        if each.is_file() and each.stem.upper() in _LICENCE_FILES and each.suffix.lower() in ("", ".md", ".txt"):
            yield each
    card = path.with_suffix(".md")
    if not path.is_dir() and card.is_file():
        yield card


def licence_table() -> str:
    """The table of ``docs/licences.md``."""
    rows: Sequence[str] = [
        f"| {each.subject} | {each.terms} | {'yes' if each.binds else 'no'} |" for each in LICENCES.values()
    ]
    return "\n".join(["| file | terms | restricts use |", "|---|---|---|", *rows])
