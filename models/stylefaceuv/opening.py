"""A trained UV generator with all that it is used with: codes become detailed faces."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from models.morphable import FaceParameters, MorphableModel
from models.morphable.loading import is_recorded, load_face_model
from models.stylefaceuv.loading import CodeReader, load_code_reader, read_codes
from models.stylefaceuv.sources import FaceSources
from models.stylefaceuv.uv_generator import UV_GENERATOR_KIND, UVGenerator, UVMaps
from models.stylegan2 import Generator, load_generator
from models.stylerig.provenance import Provenance
from models.weights import build_from, load_weights
from renderers.camera import PerspectiveCamera
from renderers.displacement import coincident_vertices, sample_displacement
from renderers.errors import InputError
from renderers.face_renderer import FaceRenderer


@dataclass(frozen=True)
class DetailedFaces:
    """A UV generator and what its maps belong to, frozen and checked against each other.

    Attributes:
        generator: G2D, whose codes it takes.
        reader: F3D, or what stands in for it.
        network: The UV generator.
        face_model: The whole face model.
        surface: The mesh that maps colour and displace: region, closed, in the frame of the maps.
        camera: Under which poses were fitted.
        provenance: What all of them were trained for.
    """

    generator: Generator
    reader: CodeReader
    network: UVGenerator
    face_model: MorphableModel
    surface: MorphableModel
    camera: PerspectiveCamera
    provenance: Provenance

    @torch.no_grad()
    def parameters(
        self, codes: Float[Tensor, "batch layers width"], images: Float[Tensor, "batch 3 size size"] | None = None
    ) -> FaceParameters:
        """Pose, light and coarse shape of codes.

        Args:
            codes: W+ codes.
            images: Their pictures in [-1, 1], where they are at hand; a reader of pictures makes them otherwise.
        """
        packed = self.reader(codes) if images is None else read_codes(self.reader, codes, images)
        return FaceParameters.unpack(packed, self.surface.sizes)

    @torch.no_grad()
    def maps(self, codes: Float[Tensor, "batch layers width"]) -> UVMaps:
        """Diffuse map and displacement map of codes."""
        return self.network(codes)

    def shape(self, parameters: FaceParameters, maps: UVMaps) -> Float[Tensor, "batch vertices 3"]:
        """Displaced vertices of the surface in the object frame, decimetres."""
        offsets = sample_displacement(maps.displacement, self.surface.uv, self._coincident.to(maps.displacement.device))
        return self.surface.vertices(parameters.identity, parameters.expression) + offsets

    @cached_property
    def _coincident(self) -> Tensor:
        """Found once: the comparison of all bases takes longer than a shape. Where it lies is as of its first use."""
        model = self.surface
        return coincident_vertices(model.mean_shape, model.identity_basis, model.expression_basis)

    def renderer(self, image_size: int) -> FaceRenderer:
        """The renderer of detailed faces, for `render_detailed`."""
        return self._renderer(self.surface, image_size)

    def coarse_renderer(self, image_size: int) -> FaceRenderer:
        """The renderer of the face model's own region, whose eyes and mouth are open where the model's are."""
        return self._renderer(self.face_model.region(self.network.surface.region), image_size)

    def to(self, device: torch.device | str) -> "DetailedFaces":
        """The same, all networks and meshes moved to a device."""
        for part in (self.generator, self.reader, self.network, self.face_model, self.surface):
            part.to(device)
        return self

    def _renderer(self, mesh: MorphableModel, image_size: int) -> FaceRenderer:
        renderer = FaceRenderer(mesh, self.camera, image_size, landmark_model=self.face_model)
        return renderer.to(mesh.mean_shape.device).requires_grad_(False)


def open_detailed_faces(
    uv_generator: str | Path,
    generator: str | Path | None = None,
    coefficients: str | Path | None = None,
    face_model: str | Path | None = None,
) -> DetailedFaces:
    """Open a UV generator and what it is used with.

    Args:
        uv_generator: Its file, which names the others.
        generator: StyleGAN2 file in place of the one named.
        coefficients: F3D, F or a face encoder in place of the one named.
        face_model: As `load_face_model` takes it, in place of the one named; another density of that model, for instance.

    Raises:
        InputError: for files that are missing, damaged or of another kind, or trained for other ones.
    """
    _, config = load_weights(uv_generator, UV_GENERATOR_KIND)
    named = build_from(uv_generator, lambda: FaceSources.from_config(config))
    for option, given, source in (
        ("generator", generator, named.generator),
        ("coefficients", coefficients, named.coefficients),
        ("face_model", face_model, named.face_model),
    ):
        if given is None and not is_recorded(source):
            raise InputError(
                f"expected the {option} that {uv_generator} was trained with at {source}, there is none; give {option} where it is now"
            )
    trained_for = build_from(uv_generator, lambda: Provenance.from_config(config["provenance"]))
    camera = PerspectiveCamera(trained_for.focal_length, trained_for.camera_distance, trained_for.principal_point)
    two_dimensional = load_generator(generator or named.generator)
    model = load_face_model(face_model or named.face_model)
    present = Provenance.of(two_dimensional, model, camera)
    network = UVGenerator.load(uv_generator, present)
    return DetailedFaces(
        two_dimensional,
        load_code_reader(coefficients or named.coefficients, present, two_dimensional),
        network,
        model,
        network.surface.apply(model),
        camera,
        present,
    )
