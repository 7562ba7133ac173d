"""What the face renderer asks of a face model and of its parameters, so that it imports neither."""

from typing import TYPE_CHECKING, Protocol, runtime_checkable

from jaxtyping import Float, Int64
from torch import Tensor


@runtime_checkable
class FaceModel(Protocol):
    """A linear morphable face mesh; lengths in the camera's model units, colours in [0, 1].

    A model that also has `uv`, (V, 2) texture coordinates in [0, 1] (u right, v up), can be rendered with a texture.
    """

    # Attributes are declared for the type checker only: from Python 3.12 on isinstance looks attributes of a protocol
    # up statically, where a module's buffers are not found.
    if TYPE_CHECKING:

        @property
        def mean_shape(self) -> Float[Tensor, "vertices 3"]:
            """Vertices of the mean face, object frame."""

        @property
        def identity_basis(self) -> Float[Tensor, "vertices 3 identity"]:
            """Change of the vertices per standard deviation of each identity coefficient."""

        @property
        def expression_basis(self) -> Float[Tensor, "vertices 3 expression"]:
            """Change of the vertices per unit of each expression coefficient."""

        @property
        def faces(self) -> Int64[Tensor, "faces 3"]:
            """Vertex indices, counter-clockwise seen from outside."""

        @property
        def landmark_indices(self) -> Int64[Tensor, "landmarks"]:
            """The vertex of each landmark; -1 for one that the mesh lacks."""

    def vertices(
        self, identity: Float[Tensor, "batch identity"], expression: Float[Tensor, "batch expression"]
    ) -> Float[Tensor, "batch vertices 3"]:
        """Vertices in the object frame: mean_shape + identity_basis identity + expression_basis expression."""
        ...

    def albedo(self, reflectance: Float[Tensor, "batch reflectance"]) -> Float[Tensor, "batch vertices 3"]:
        """Diffuse colour of each vertex, RGB, about [0, 1]."""
        ...


@runtime_checkable
class FaceParameters(Protocol):
    """One face per batch entry. Angles in radians (pitch, yaw, roll), translation in model units."""

    @property
    def identity(self) -> Float[Tensor, "batch identity"]: ...

    @property
    def expression(self) -> Float[Tensor, "batch expression"]: ...

    @property
    def reflectance(self) -> Float[Tensor, "batch reflectance"]: ...

    @property
    def rotation(self) -> Float[Tensor, "batch 3"]: ...

    @property
    def illumination(self) -> Float[Tensor, "batch 27"]: ...

    @property
    def translation(self) -> Float[Tensor, "batch 3"]: ...
