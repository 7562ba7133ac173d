"""Two rows of teeth on arches behind the lips."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from datamodules.portraits.anatomy import HeadPose
from datamodules.portraits.distributions import smoothstep

_COLUMNS, _ROWS = 19, 4
_ARCH_ANGLE = 1.25
# Decimetres: half width of the arch and its depth; heights of the upper and lower crowns.
_HALF_WIDTH, _DEPTH = 0.255, 0.26
_UPPER_HEIGHT, _LOWER_HEIGHT = 0.105, 0.09
_ENAMEL = (0.93, 0.88, 0.80)


class Teeth(nn.Module):
    """Upper and lower teeth. Local coordinate: (position along the arch in teeth, height in [0, 1] from the gum, jaw)."""

    local: Tensor
    arch: Tensor
    faces: Tensor

    def __init__(self) -> None:
        super().__init__()
        along = torch.linspace(-1, 1, _COLUMNS)
        height = torch.linspace(0, 1, _ROWS)
        grid_along, grid_height = (grid.flatten() for grid in torch.meshgrid(along, height, indexing="ij"))
        turn = grid_along * _ARCH_ANGLE
        arch = torch.stack(
            [
                _HALF_WIDTH * turn.sin() / torch.tensor(_ARCH_ANGLE).sin(),
                torch.zeros_like(turn),
                _DEPTH * (turn.cos() - 1),
            ],
            1,
        )
        local = torch.stack([grid_along * 6.5, grid_height], 1)
        jaw = torch.ones(len(local), 1)
        column, row = torch.meshgrid(torch.arange(_COLUMNS - 1), torch.arange(_ROWS - 1), indexing="ij")
        first = (column * _ROWS + row).flatten()
        quads = torch.cat(
            [
                torch.stack([first, first + 1, first + _ROWS], 1),
                torch.stack([first + 1, first + _ROWS + 1, first + _ROWS], 1),
            ]
        )
        self.register_buffer(
            "local", torch.cat([torch.cat([local, 0 * jaw], 1), torch.cat([local, jaw], 1)]), persistent=False
        )
        self.register_buffer("arch", arch, persistent=False)
        self.register_buffer("faces", torch.cat([quads, (quads + len(local)).flip(1)]), persistent=False)

    def vertices(self, head: HeadPose) -> Float[Tensor, "batch vertices 3"]:
        """Positions in the object frame: the upper row fixed to the skull, the lower one to the jaw."""
        neutral, moved = head.neutral_landmarks, head.expression_landmarks
        lips = neutral[:, [61, 62, 63, 65, 66, 67]].mean(1)
        back = lips.new_tensor([0.0, 0.0, -0.085])
        height = self.local[: len(self.arch), 1, None]
        down = height.new_tensor([0.0, -1.0, 0.0])
        top = (lips + back + lips.new_tensor([0.0, _UPPER_HEIGHT - 0.022, 0.0]))[:, None] + self.arch
        upper = top + down * height * _UPPER_HEIGHT
        # The chin follows the jaw; crowns near its hinge axis' height move a little less.
        jaw = (moved[:, 7:10] - neutral[:, 7:10]).mean(1) * lips.new_tensor([1.0, 1.0, 0.6])
        base = (lips + back + jaw + lips.new_tensor([0.0, -_LOWER_HEIGHT - 0.012, -0.02]))[:, None] + self.arch * 0.94
        lower = base - down * height * _LOWER_HEIGHT
        return torch.cat([upper, lower], dim=1)


def tooth_colour(local: Float[Tensor, "points 3"]) -> tuple[Float[Tensor, "points 3"], Float[Tensor, "points"]]:
    """Albedo and ambient occlusion: gaps between teeth, darker towards the gums and the back of the mouth."""
    position = local[:, 0]
    # Teeth meet at integers of the arch coordinate: two central incisors share the midline.
    gap = (position - position.floor()).minimum(1 - (position - position.floor()))
    line = 1 - 0.30 * smoothstep(0.14, 0.02, gap)
    gum = smoothstep(0.0, 0.35, local[:, 1])
    colour = local.new_tensor(_ENAMEL) * gum[:, None] + local.new_tensor([0.62, 0.34, 0.32]) * (1 - gum[:, None])
    depth = 1 - 0.75 * smoothstep(1.6, 5.2, position.abs())
    jaw = 1 - 0.35 * local[:, 2]
    return colour, line * depth * jaw * 0.92
