"""The usual order of 68 face landmarks (iBUG's, which every 68-point tool shares)."""

# Where each of the 68 landmarks goes when a picture is mirrored.
MIRRORED_LANDMARKS = (
    *range(16, -1, -1),
    *range(26, 16, -1),
    *range(27, 31),
    *range(35, 30, -1),
    *(45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40),
    *(54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55),
    *(64, 63, 62, 61, 60, 67, 66, 65),
)
