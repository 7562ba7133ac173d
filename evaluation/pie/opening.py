"""What the figures of PIE look at, put together from a module, its embeddings and those of other settings."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from datamodules.latent_pairs import PairRecipe
from evaluation.pie.embedded import EmbeddedPortraits
from evaluation.stylerig.rig_under_test import check_judge
from lightning_modules.pie.module import PIE
from models.morphable import MorphableModel
from models.observers import FaceEmbedder, Judge
from models.portrait_embedding import load_embeddings
from models.stylegan2.digest import generator_digest
from models.stylerig import Provenance, RigSources, load_rig_network
from models.stylerig.face_encoder import PictureReconstruction
from models.stylerig.opening import OpenedRig
from models.stylerig.rig import Rig
from models.stylerig.rig_network import RigNetwork
from renderers.errors import InputError

# Nothing is read anew: the module has all parts.
_SOURCES = RigSources("the module's generator", "the module's face encoder", "the module's face model")


def rig_of(module: PIE, further: Sequence[str] = ()) -> OpenedRig:
    """The module's rig with further networks beside it, reading pictures by MoFA as the energy does; on the module's device.

    Args:
        module: What embedded the portraits.
        further: Files of rigs that control something else; those that control what the module's own does are left out.

    Raises:
        InputError: for files that are missing, broken, untrained, or of another generator, face model or camera.
    """
    renderer = module.energies.loss.renderer
    # The whole face model: what is rendered may be a part of it.
    face_model = renderer.landmark_model
    assert isinstance(face_model, MorphableModel)
    present = Provenance.of(module.generator, face_model, renderer.camera)
    networks: list[RigNetwork] = [module.energies.network]
    for path in further:
        network = load_rig_network(path, present)
        if not network.is_trained:
            raise InputError(f"expected trained rigs, the network in {path} edits nothing; train it first")
        if not set(network.components) & set(module.energies.network.components):
            networks.append(network)
    rig = Rig(PictureReconstruction(module.generator, module.energies.encoder), networks)
    rig.eval().requires_grad_(False)
    return OpenedRig(module.generator, face_model, renderer.camera, rig, present, _SOURCES).to(module.device)


def embedder_of(module: PIE, given: FaceEmbedder | None) -> FaceEmbedder:
    """Psi: the one given, else that of the module's energy.

    Raises:
        InputError: where there is neither.
    """
    embedder = module.energies.embedder if given is None else given
    if embedder is None:
        raise InputError("expected an embedder, this energy has no recognition term; name one for the figures")
    return embedder.to(module.device)


def settings_of(
    module: PIE,
    label: str,
    baselines: Mapping[str, str],
    opened: OpenedRig,
    embedder: FaceEmbedder,
    judge: Judge | None,
    recipe: PairRecipe,
) -> list[EmbeddedPortraits]:
    """The module's embeddings, then those of every baseline, all edited and read by the same networks.

    Args:
        module: What embedded the portraits.
        label: Its setting.
        baselines: Folders of embeddings by other settings.
        opened, embedder, judge, recipe: See `EmbeddedPortraits`.

    Raises:
        InputError: for folders without embeddings or with those of another generator, and a judge of other faces.
    """
    if label in baselines:
        raise InputError(
            f"expected another setting in each baseline, got {label}, which is the module's own; rename one of them"
        )
    if judge is not None:
        check_judge(judge, opened.face_model)
    own = EmbeddedPortraits(
        label=label,
        embeddings=tuple(module.embeddings()),
        opened=opened,
        encoder=module.energies.encoder,
        landmarker=module.energies.landmarker,
        embedder=embedder,
        judge=None if judge is None else judge.to(module.device),
        recipe=recipe,
    )
    settings = [own]
    for name, folder in baselines.items():
        embeddings = load_embeddings(folder)
        if embeddings[0].generator_digest != generator_digest(module.generator):
            raise InputError(
                f"expected embeddings of this generator in {folder}, they are of another one; embed the portraits anew"
            )
        settings.append(replace(own, label=name, embeddings=tuple(embeddings)))
    return settings
