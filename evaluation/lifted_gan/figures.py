"""The tables and figures of LiftedGAN, written by `lightning test` into the run's folder."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal, get_args

from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor
from torchvision.transforms.functional import to_tensor

from datamodules.latent_pairs import LatentPairDataModule
from datamodules.portraits import PortraitSampler
from evaluation.figures import FOLDER, Figure, numbers_of, write_figures
from evaluation.generator_quality import load_features
from evaluation.lifted_gan import (
    ablation,
    frechet,
    identities,
    interpolated_figure,
    relit_figure,
    style_figure,
    turned_figures,
)
from evaluation.lifted_gan.frechet import RealPictures
from evaluation.lifted_gan.shape_errors import (
    ShapeReference,
    judged_reference,
    portrait_reference,
    reconstructed_reference,
)
from evaluation.lifted_gan.turning import OtherMethods, turners
from evaluation.lifted_gan.under_test import LiftedUnderTest, open_ablations
from evaluation.lifted_gan.views import LiftedViews
from evaluation.report import json_text, write_text
from evaluation.stylefaceuv.frechet import folder_pictures, portrait_pictures
from evaluation.stylefaceuv.known_portraits import encoded_portraits
from evaluation.stylefaceuv.turning import FaceTurner
from evaluation.stylerig.rig_under_test import check_judge
from lightning_modules.face_scene import FaceScene
from lightning_modules.lifted_gan import LiftedGanModule
from lightning_modules.loggers import log_figures, log_picture
from lightning_modules.run_folder import folder_of
from models.code_encoder import CodeEncoder
from models.morphable import MorphableModel
from models.morphable.procedural import Density
from models.observers import Judge, load_face_embedder, load_judge
from models.observers.loading import load_landmark_detector
from models.stylefaceuv.loading import CodeReader, load_code_reader
from models.stylerig import Provenance
from renderers.errors import InputError

FigureName = Literal[
    "manipulated",
    "rotation",
    "lighting",
    "interpolation",
    "style",
    "yaw",
    "pitch",
    "identity_against_yaw",
    "errors",
    "ablation",
    "frechet",
]
_ALL: tuple[FigureName, ...] = get_args(FigureName)
_TABLES: dict[str, tuple[str, ...]] = {
    turned_figures.PAIRS: ("yaw_deg", "pitch_deg"),
    **dict.fromkeys(turned_figures.TURNS.values(), ("method", "asked_deg")),
    relit_figure.NAME: ("light_from",),
    style_figure.NAME: ("method",),
    identities.SUMMARY: ("method", "turns"),
    ablation.TABLE: ("against", "method"),
    frechet.TABLE: ("pictures", "pose"),
}


class LiftedGanFigures(Callback):
    """Draws the tables and figures of the paper for the lifted generator of a `lightning test` run, on unseen codes.

    Writes each as ``figures/<name>.png`` and ``figures/<name>.csv`` into the run's folder, with an index from which reports are made, and
    the numbers of the tables into ``lifted_gan_figures.json``; logs both. The first rank draws alone.

    Args:
        figures: Which: manipulated (Fig. 3), rotation (Fig. 4), lighting (Fig. 5), interpolation (Fig. 6), identity_against_yaw (Fig. 7),
            ablation (Fig. 9), style (Fig. 10), yaw (Fig. 12 and 14), pitch (Fig. 13 and 15), errors (Table 2), frechet (Table 5); by
            default all, without frechet where there are neither real pictures nor synthetic portraits, and without errors where there
            is nothing to compare with.
        ablations: Lifted generators of the same generator that were trained without a term, by what that is: no_flip, no_perturbation,
            no_identity and no_albedo stand for the rows of Table 2.
        landmarker: Weights of the landmark network.
        embedder: Weights of the identity network.
        judge: Weights of the judge; null for pictures that it was not trained for: tables then lack what it would have read.
        reader: Weights of F, F3D or a face encoder of the scene's face model, which reads depth and pose of pictures in place of truth, and
            the yaw for a linear direction; null for none.
        code_encoder: Weights of a code encoder for the generator, which finds the codes of synthetic portraits of known truth; null for
            pictures that are not theirs: nothing is then compared with portraits.
        methods: Other ways to turn heads, for identity_against_yaw.
        scene: The face model and camera that parameters of the reader and of other methods refer to.
        features: Weights of the network whose features frechet compares: FID's Inception, torchvision's, the judge or an identity network.
        real_pictures: Folder of aligned photos that frechet compares with, two for each code; null for synthetic portraits.
        people: Codes that numbers are over.
        turned: Codes of identity_against_yaw, each turned to nine yaws in every way.
        compared: Codes of Fréchet distances.
        portraits: Synthetic portraits of known truth.
        shown: Faces in a picture.
        density: Of the head's mesh of synthetic portraits.
    """

    FILE = "lifted_gan_figures.json"

    def __init__(
        self,
        figures: Sequence[FigureName] | None = None,
        ablations: Mapping[str, str] | None = None,
        landmarker: str = "assets/demo_landmarks.safetensors",
        embedder: str = "assets/demo_identity.safetensors",
        judge: str | None = None,
        reader: str | None = None,
        code_encoder: str | None = None,
        methods: OtherMethods = OtherMethods(),
        scene: FaceScene = FaceScene(),
        features: str = "assets/demo_judge.safetensors",
        real_pictures: str | None = None,
        people: int = 200,
        turned: int = 50,
        compared: int = 200,
        portraits: int = 100,
        shown: int = 3,
        density: Density = "medium",
    ) -> None:
        counts = (
            ("people", 2, people),
            ("turned", 2, turned),
            ("compared", 2, compared),
            ("portraits", 2, portraits),
            ("shown", 1, shown),
        )
        for name, least, value in counts:
            if value < least:
                raise InputError(f"expected {name} of at least {least}, got {value}; raise it")
        if shown > people:
            raise InputError(f"expected shown of at most people, {people}, got {shown}; lower it")
        self._real, self._code_encoder = real_pictures, code_encoder
        self._reader_path, self._scene, self._methods = reader, scene, methods
        without_real = real_pictures is None and code_encoder is None
        without_truth = code_encoder is None and reader is None and judge is None
        if figures is None:
            lacking = ({"frechet"} if without_real else set()) | ({"errors"} if without_truth else set())
            figures = [name for name in _ALL if name not in lacking]
        if without_real and "frechet" in figures:
            raise InputError(
                "expected real_pictures or a code_encoder for frechet, got null for both; name one or leave frechet out"
            )
        if without_truth and "errors" in figures:
            raise InputError(
                "expected a code_encoder, reader or judge for errors, got null for all; name one or leave errors out"
            )
        self._figures, self._ablation_files = tuple(figures), dict(ablations or {})
        self._features = load_features(features)
        self._landmarker, self._embedder = load_landmark_detector(landmarker), load_face_embedder(embedder)
        self._judge: Judge | None = None if judge is None else load_judge(judge)
        self._people, self._turned, self._compared = people, turned, compared
        self._portraits, self._shown, self._density = portraits, shown, density
        self._tested: LiftedUnderTest | None = None
        self._encoder: CodeEncoder | None = None
        self._reader: CodeReader | None = None
        self._face_model: MorphableModel | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Refuse what has no such figures before anything is computed."""
        data = getattr(trainer, "datamodule", None)
        if not isinstance(pl_module, LiftedGanModule) or not isinstance(data, LatentPairDataModule):
            raise InputError(
                f"expected a LiftedGanModule on a LatentPairDataModule to draw figures of, got {type(pl_module).__name__} on "
                f"{type(data).__name__}; remove the callback evaluation.lifted_gan.figures.LiftedGanFigures"
            )
        if stage != "test":
            return
        generator, scene = pl_module.generator, self._scene
        model = self._face_model = scene.load_face_model()
        if self._judge is not None:
            check_judge(self._judge, model)
        ablations = open_ablations(self._ablation_files, generator)
        views = LiftedViews(pl_module.average)
        self._tested = LiftedUnderTest(views, data.recipe, self._landmarker, self._embedder, self._judge, ablations)
        if self._reader_path is not None:
            present = Provenance.of(generator, model, scene.camera)
            self._reader = load_code_reader(self._reader_path, present, generator)
        if self._code_encoder is not None:
            self._encoder = CodeEncoder.load(self._code_encoder, generator)
        if "identity_against_yaw" in self._figures:
            # Files that do not fit are refused before anything is drawn; networks are not on their device yet.
            self._ways(self._tested)

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw, write and log. The other ranks have nothing to wait for: no step that all take together follows."""
        if not trainer.is_global_zero:
            return
        assert self._tested is not None
        tested = self._tested.to(pl_module.device)
        drawn: list[Figure] = []
        for name in self._figures:
            # Lightning's own notices are silenced, and some of these take minutes.
            print(f"drawing {name}", flush=True)
            figures = self._draw(name, tested)
            # One after the other, so that what was drawn stays where a later one fails.
            write_figures(folder_of(trainer), figures)
            drawn += figures
        numbers = numbers_of(drawn, _TABLES)
        write_text(folder_of(trainer) / self.FILE, json_text(numbers))
        log_figures(trainer, {f"figures/{name}": value for name, value in numbers.items()})
        for figure in drawn:
            if figure.picture is not None:
                log_picture(trainer, f"figures/{figure.name}", to_tensor(figure.picture))
        print(f"{len(drawn)} figures written to {folder_of(trainer) / FOLDER}", flush=True)

    def _draw(self, name: FigureName, tested: LiftedUnderTest) -> list[Figure]:
        people, shown = self._people, self._shown
        draw: dict[FigureName, Callable[[], list[Figure]]] = {
            "manipulated": lambda: [turned_figures.pairs_figure(tested, people, shown)],
            "rotation": lambda: [turned_figures.rotation_figure(tested, min(shown, 2))],
            "lighting": lambda: [relit_figure.lighting_figure(tested, people, shown)],
            "interpolation": lambda: [interpolated_figure.interpolation_figure(tested, people // 2, shown)],
            "style": lambda: [style_figure.style_figure(tested, people // 2, min(shown, 2))],
            "yaw": lambda: [turned_figures.turns_figure(tested, "yaw", people, shown)],
            "pitch": lambda: [turned_figures.turns_figure(tested, "pitch", people, shown)],
            "identity_against_yaw": lambda: identities.identity_against_yaw(
                tested, self._ways(tested), self._turned, self._sampler(tested)
            ),
            "errors": lambda: [ablation.errors_figure(tested, self._references(tested), self._real_pictures(tested))],
            "ablation": lambda: [ablation.ablation_figure(tested, shown)],
            "frechet": lambda: self._frechet(tested),
        }
        return draw[name]()

    def _ways(self, tested: LiftedUnderTest) -> list[FaceTurner]:
        """All ways of turning heads, where the lifted generator is."""
        assert self._face_model is not None
        reader = None if self._reader is None else self._reader.to(tested.device)
        codes = tested.generator.broadcast(tested.unseen_codes(self._turned))
        return turners(tested.views, self._methods, reader, self._face_model, self._scene.camera, codes)

    def _sampler(self, tested: LiftedUnderTest) -> PortraitSampler | None:
        """Of synthetic portraits, where the generator's pictures are of their kind."""
        return None if self._encoder is None else PortraitSampler(self._density).to(tested.device)

    def _references(self, tested: LiftedUnderTest) -> list[ShapeReference]:
        found: list[ShapeReference | None] = [judged_reference(tested, self._people)]
        sampler = self._sampler(tested)
        if self._encoder is not None and sampler is not None:
            known = encoded_portraits(sampler, tested.generator, self._encoder, self._portraits, self._density)
            found.insert(0, portrait_reference(known, tested.size))
        if self._reader is not None and self._face_model is not None:
            model, reader = self._face_model.to(tested.device), self._reader.to(tested.device)
            renderer = self._scene.renderer(model, tested.size).to(tested.device)
            found.append(reconstructed_reference(tested, self._people, reader, model.sizes, renderer))
        return [reference for reference in found if reference is not None]

    def _real_pictures(self, tested: LiftedUnderTest) -> RealPictures | None:
        """What Fréchet distances are to; None where there is neither a folder nor portraits."""
        sampler, count = self._sampler(tested), self._compared
        if self._real is not None:
            pictures: Iterable[Tensor] = (
                images.to(tested.device) for images in folder_pictures(self._real, tested.size, 2 * count)
            )
        elif sampler is not None:
            pictures = portrait_pictures(sampler, tested.size, 2 * count)
        else:
            return None
        self._features.network.to(tested.device)
        return RealPictures.of(pictures, self._features, count)

    def _frechet(self, tested: LiftedUnderTest) -> list[Figure]:
        real = self._real_pictures(tested)
        return [] if real is None else [frechet.frechet_figure(tested, real)]
