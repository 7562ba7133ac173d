"""The tables and figures of StyleFaceUV, written by `lightning test` into the run's folder."""

from collections.abc import Callable, Sequence
from typing import Literal, get_args

from pytorch_lightning import Callback, LightningModule, Trainer
from torchvision.transforms.functional import to_tensor

from datamodules.latent_pairs import LatentPairDataModule
from evaluation.figures import FOLDER, Figure, numbers_of, write_figures
from evaluation.generator_quality import load_features
from evaluation.report import json_text, write_text
from evaluation.stylefaceuv import (
    frechet,
    identity_against_yaw,
    image_measures,
    truth,
    view_consistency,
    ways_compared,
)
from evaluation.stylefaceuv.coarse_faces import coarse_faces_figure
from evaluation.stylefaceuv.interpolation import interpolation_figure
from evaluation.stylefaceuv.known_portraits import (
    KnownPortraits,
    embedded_portraits,
    portraits_by_encoder,
    portraits_of_embeddings,
)
from evaluation.stylefaceuv.turning import open_rotation_rig
from evaluation.stylefaceuv.under_test import FacesUnderTest, under_test
from evaluation.stylerig.rig_under_test import check_judge
from lightning_modules.loggers import log_figures, log_picture
from lightning_modules.run_folder import folder_of
from lightning_modules.stylefaceuv import StyleFaceUV
from models.code_encoder import CodeEncoder
from models.lifted_gan import LiftedGAN
from models.morphable.procedural import Density
from models.observers import Judge, load_face_embedder, load_judge
from models.observers.loading import load_landmark_detector
from models.perceptual import perceptual_loss
from models.portrait_embedding import PortraitEmbedding
from models.stylerig.rig import Rig
from renderers.errors import InputError

FigureName = Literal[
    "coarse_faces",
    "view_consistency",
    "turned_views",
    "interpolation",
    "image_measures",
    "truth",
    "identity_against_yaw",
    "frechet",
]
_ALL: tuple[FigureName, ...] = get_args(FigureName)
# Tables whose numbers are logged, and the columns that say what a row is about.
_TABLES: dict[str, tuple[str, ...]] = {
    image_measures.TABLE: ("view", "face"),
    view_consistency.TABLE: ("against", "side", "face"),
    truth.TABLE: ("view", "face"),
    identity_against_yaw.SUMMARY: ("method", "turns"),
    identity_against_yaw.SUMMARY + identity_against_yaw.CUT_OUT: ("method", "turns"),
    frechet.TABLE: ("pictures", "pose", "seam"),
}


class StyleFaceUVFigures(Callback):
    """Draws the tables and figures of the paper for the UV generator of a `lightning test` run, on unseen codes.

    Writes each as ``figures/<name>.png`` and ``figures/<name>.csv`` into the run's folder, with an index from which reports are made, and
    the numbers of all tables into ``stylefaceuv_figures.json``; logs both. The first rank draws alone.

    Args:
        figures: Which: coarse_faces (Fig. 1), view_consistency (Fig. 3), turned_views (Fig. 4), interpolation (Fig. 5), image_measures
            (coarse and detailed faces beside the pictures of their codes), truth (depth and colour beside synthetic portraits whose truth
            is known), identity_against_yaw, frechet (Fréchet distances with the render pasted in); by default all, without truth where
            there is neither a code encoder nor a folder of embeddings, without frechet where there are no real pictures either, and
            without view_consistency where there is no step size either.
        one_view: UV generator that was trained with views one, to compare with in view_consistency and the tables; null for none.
        landmarker: Weights of the landmark network.
        embedder: Weights of the identity network.
        judge: Weights of the judge; null for pictures that it was not trained for: tables then lack what it would have read.
        perceptual: What the perceptual distance compares: a VGG-16 weights file, `vgg16` for torchvision's download, or `observers` for
            the shipped networks.
        code_encoder: Weights of a code encoder for the generator, which finds the codes of synthetic portraits for truth; null for
            none.
        embeddings: Folder of embeddings of synthetic portraits, by PIE, in place of the encoder; null for none.
        rigs: StyleRig's networks for the generator, one of which turns heads, to compare with in turned_views, identity_against_yaw and
            frechet; empty for none.
        lifted: LiftedGAN's weights for the generator, to compare with in turned_views; null for none.
        features: Weights of the network whose features frechet compares: FID's Inception, torchvision's, the judge or an identity network.
        real_pictures: Folder of aligned photos that frechet compares with, two for each code; null for synthetic portraits, where truth
            has some.
        people: Codes that numbers are over.
        turned: Codes of identity_against_yaw, each turned to nine yaws in every way.
        compared: Codes of frechet.
        portraits: Synthetic portraits of truth and of the hidden sides of view_consistency; of embeddings all are taken.
        shown: Faces in a picture.
        density: Of the head's mesh of synthetic portraits.
    """

    FILE = "stylefaceuv_figures.json"

    def __init__(
        self,
        figures: Sequence[FigureName] | None = None,
        one_view: str | None = None,
        landmarker: str = "assets/demo_landmarks.safetensors",
        embedder: str = "assets/demo_identity.safetensors",
        judge: str | None = None,
        perceptual: str = "observers",
        code_encoder: str | None = None,
        embeddings: str | None = None,
        rigs: Sequence[str] = (),
        lifted: str | None = None,
        features: str = "assets/demo_judge.safetensors",
        real_pictures: str | None = None,
        people: int = 200,
        turned: int = 50,
        compared: int = 200,
        portraits: int = 100,
        shown: int = 5,
        density: Density = "medium",
    ) -> None:
        counts = (
            ("people", 2, people),
            ("turned", 2, turned),
            ("compared", 2, compared),
            ("portraits", 1, portraits),
            ("shown", 1, shown),
        )
        for name, least, value in counts:
            if value < least:
                raise InputError(f"expected {name} of at least {least}, got {value}; raise it")
        if code_encoder is not None and embeddings is not None:
            raise InputError(
                f"expected a code encoder or a folder of embeddings, got {code_encoder} and {embeddings}; set one to null"
            )
        without = code_encoder is None and embeddings is None
        self._hidden_side_asked = figures is not None and "view_consistency" in figures and without
        if figures is None:
            lacking = {"truth", *(("frechet",) if real_pictures is None else ())} if without else set()
            figures = [name for name in _ALL if name not in lacking]
        if without and "truth" in figures:
            raise InputError(
                "expected a code_encoder or embeddings for truth, got null for both; name one or leave truth out"
            )
        if without and real_pictures is None and "frechet" in figures:
            raise InputError(
                "expected real_pictures, a code_encoder or embeddings for frechet, got null for all; name one or leave frechet out"
            )
        self._figures, self._one_view = tuple(figures), one_view
        self._rigs, self._features, self._real = tuple(rigs), load_features(features), real_pictures
        self._turned, self._compared = turned, compared
        self._rig: Rig | None = None
        self._lifted_weights = lifted
        self._lifted: LiftedGAN | None = None
        self._landmarker, self._embedder = load_landmark_detector(landmarker), load_face_embedder(embedder)
        self._judge: Judge | None = None if judge is None else load_judge(judge)
        self._perceptual = perceptual_loss(perceptual)
        self._code_encoder, self._embeddings = code_encoder, embeddings
        self._people, self._portraits, self._shown, self._density = people, portraits, shown, density
        self._tested: FacesUnderTest | None = None
        self._encoder: CodeEncoder | None = None
        self._embedded: list[PortraitEmbedding] = []

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Refuse what has no such figures before anything is computed."""
        data = getattr(trainer, "datamodule", None)
        if not isinstance(pl_module, StyleFaceUV) or not isinstance(data, LatentPairDataModule):
            raise InputError(
                f"expected a StyleFaceUV on a LatentPairDataModule to draw figures of, got {type(pl_module).__name__} on "
                f"{type(data).__name__}; remove the callback evaluation.stylefaceuv.figures.StyleFaceUVFigures"
            )
        if self._hidden_side_asked and pl_module.views.step is None:
            raise InputError(
                "expected a step_size, a code_encoder or embeddings for view_consistency, got null for all; name one or leave it out"
            )
        if self._judge is not None:
            check_judge(self._judge, pl_module.face_model)
        if stage == "test":
            self._tested = under_test(
                pl_module, data.recipe, self._landmarker, self._embedder, self._perceptual, self._judge, self._one_view
            )
            if self._rigs:
                self._rig = open_rotation_rig(self._rigs, pl_module.generator)
            if self._lifted_weights is not None:
                self._lifted = LiftedGAN.load(self._lifted_weights, pl_module.generator).to(pl_module.device)
            if self._code_encoder is not None:
                self._encoder = CodeEncoder.load(self._code_encoder, pl_module.generator)
            if self._embeddings is not None:
                self._embedded = embedded_portraits(self._embeddings, pl_module.generator)

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw, write and log. The other ranks have nothing to wait for: no step that all take together follows."""
        if not trainer.is_global_zero:
            return
        assert self._tested is not None
        tested = self._tested.to(pl_module.device)
        known = self._known_portraits(tested)
        self._rig = None if self._rig is None else self._rig.to(tested.device)
        drawn: list[Figure] = []
        for name in self._figures:
            # Lightning's own notices are silenced, and some of these take minutes.
            print(f"drawing {name}", flush=True)
            figures = self._draw(name, tested, known)
            # One after the other, so that what was drawn stays where a later one fails.
            write_figures(folder_of(trainer), figures)
            drawn += figures
        numbers = table_numbers(drawn)
        write_text(folder_of(trainer) / self.FILE, json_text(numbers))
        log_figures(trainer, {f"figures/{name}": value for name, value in numbers.items()})
        for figure in drawn:
            if figure.picture is not None:
                log_picture(trainer, f"figures/{figure.name}", to_tensor(figure.picture))
        print(f"{len(drawn)} figures written to {folder_of(trainer) / FOLDER}", flush=True)

    def _known_portraits(self, tested: FacesUnderTest) -> KnownPortraits | None:
        if not {"truth", "view_consistency", "identity_against_yaw", "frechet"} & set(self._figures):
            return None
        if self._embedded:
            return portraits_of_embeddings(tested, self._embedded, self._density)
        if self._encoder is not None:
            return portraits_by_encoder(tested, self._encoder, self._portraits, self._density)
        return None

    def _draw(self, name: FigureName, tested: FacesUnderTest, known: KnownPortraits | None) -> list[Figure]:
        people, shown = self._people, self._shown
        sampler = None if known is None else known.sampler
        draw: dict[FigureName, Callable[[], list[Figure]]] = {
            "coarse_faces": lambda: [coarse_faces_figure(tested, shown)],
            "view_consistency": lambda: view_consistency.view_consistency_figures(tested, people, shown, known),
            "interpolation": lambda: [interpolation_figure(tested, people // 2, shown)],
            "turned_views": lambda: [ways_compared.turned_views(tested, self._rig, shown, self._lifted)],
            "identity_against_yaw": lambda: ways_compared.identities(tested, self._rig, self._turned, sampler),
            "frechet": lambda: [
                ways_compared.frechet_distances(tested, self._rig, self._compared, self._features, self._real, sampler)
            ],
            "image_measures": lambda: [image_measures.image_measures_figure(tested, people)],
            "truth": lambda: [] if known is None else [truth.truth_figure(tested, known, shown)],
        }
        return draw[name]()


def table_numbers(figures: Sequence[Figure]) -> dict[str, float]:
    """The numbers of the tables, each named ``<table>/<what its row is about>/<column>``; those that nobody read are left out."""
    return numbers_of(figures, _TABLES)
