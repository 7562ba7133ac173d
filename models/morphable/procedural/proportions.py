"""Proportions of an adult face in millimetres: the measurements that the procedural head is built on.

Frame: x to the image's right, y up, z to the viewer, origin midway between the eyes. The figures are mean positions
and standard deviations over scanned adults, taken from the MIT-licensed ICT-FaceKit statistics; depths are rounded to
1 mm. Everything else about the head (skull, ears, neck, lids, lips) is modelled in this package.
"""

import numpy as np
from numpy.typing import NDArray

# Origin of the model in the frame above: the face is centred on it, and the demo camera (0, 0, 10) dm looks at it.
ORIGIN = np.array([0.0, -25.0, -15.0])
MILLIMETRES_PER_UNIT = 100.0

EYEBALL_CENTRE = np.array([31.0, 0.0, -12.0])
EYEBALL_RADIUS = 12.0

# Each row: mean x, y, z, then standard deviation of x, y, z.
_LANDMARKS = """
-73.6 2.3 -55.7 3.7 1.4 3.0
-72.8 -19.5 -53.0 3.9 1.6 3.1
-69.4 -39.0 -46.9 4.1 2.3 3.0
-65.6 -58.0 -40.5 4.0 3.2 3.0
-57.2 -79.3 -31.0 3.6 4.3 3.2
-43.0 -96.5 -18.8 3.0 5.3 3.5
-30.5 -103.5 -4.5 2.3 5.7 3.8
-15.4 -107.0 10.5 1.6 5.5 4.6
0.0 -110.1 12.1 0.9 5.8 4.9
15.4 -107.0 10.5 1.6 5.5 4.6
30.5 -103.5 -4.5 2.3 5.7 3.8
43.0 -96.5 -18.8 3.0 5.3 3.5
57.2 -79.3 -31.0 3.6 4.3 3.2
65.6 -58.0 -40.5 4.0 3.2 3.0
69.4 -39.0 -46.9 4.1 2.3 3.0
72.8 -19.5 -53.0 3.9 1.6 3.1
73.6 2.3 -55.7 3.7 1.4 3.0
-58.2 17.6 -13.1 2.9 2.0 1.7
-49.3 25.3 -2.3 2.6 2.2 2.1
-37.9 28.1 6.0 2.1 2.3 2.7
-24.1 27.5 12.6 1.4 2.3 3.3
-11.7 24.7 15.1 0.8 2.1 3.6
11.7 24.7 15.1 0.8 2.1 3.6
24.1 27.5 12.6 1.4 2.3 3.3
37.9 28.1 6.0 2.1 2.3 2.7
49.3 25.3 -2.3 2.6 2.2 2.1
58.2 17.6 -13.1 2.9 2.0 1.7
0.0 3.0 15.1 0.2 1.3 3.4
0.0 -8.1 23.0 0.3 1.2 3.5
0.0 -18.3 30.8 0.4 1.4 3.5
0.0 -30.4 38.5 0.5 2.1 3.7
-12.5 -45.9 16.5 1.4 2.0 1.7
-6.0 -45.8 22.0 0.8 2.1 2.1
0.0 -46.5 23.4 0.5 2.4 2.2
6.0 -45.8 22.0 0.8 2.1 2.1
12.5 -45.9 16.5 1.4 2.0 1.7
-44.6 -0.1 -6.2 2.5 1.4 1.3
-38.7 4.3 1.4 2.1 1.6 1.4
-27.8 4.9 3.1 1.7 1.5 1.5
-18.4 -1.9 -0.3 1.7 1.2 1.3
-27.3 -3.6 1.9 1.8 1.4 1.5
-38.6 -3.7 0.1 2.1 1.5 1.3
18.4 -1.9 -0.3 1.7 1.2 1.3
27.8 4.9 3.1 1.7 1.5 1.5
38.7 4.3 1.4 2.1 1.6 1.4
44.6 -0.1 -6.2 2.5 1.4 1.3
38.6 -3.7 0.1 2.1 1.5 1.3
27.3 -3.6 1.9 1.8 1.4 1.5
-25.3 -69.6 9.6 2.0 3.9 3.8
-17.0 -62.2 20.0 1.3 2.9 3.1
-7.3 -58.6 25.1 0.8 3.0 3.1
0.0 -59.2 26.2 0.5 3.2 3.3
7.3 -58.6 25.1 0.8 3.0 3.1
17.0 -62.2 20.0 1.3 2.9 3.1
25.3 -69.6 9.6 2.0 3.9 3.8
18.0 -75.0 16.8 1.5 4.0 3.6
10.3 -77.4 21.7 1.1 4.4 3.7
0.0 -78.2 23.3 0.7 4.6 3.8
-10.3 -77.4 21.7 1.1 4.4 3.7
-18.0 -75.0 16.8 1.5 4.0 3.6
-22.1 -69.3 9.1 2.0 3.7 3.3
-10.0 -67.4 18.6 1.0 3.6 3.4
0.0 -67.7 20.6 0.6 3.7 3.2
10.0 -67.4 18.6 1.0 3.6 3.4
22.1 -69.3 9.1 2.0 3.7 3.3
10.7 -68.2 18.2 1.0 3.6 3.3
0.0 -68.4 20.3 0.6 3.7 3.3
-10.7 -68.2 18.2 1.0 3.6 3.3
"""

# Depth z of the frontmost surface: each row y, then z at x = 0, 10, 20, ... while there is surface.
_DEPTHS = """
110 -77 -83 . . . . . . .
100 -40 -39 -47 -58 -85 . . . .
90 -24 -23 -28 -33 -46 -67 . . .
80 -10 -11 -13 -19 -29 -42 -70 . .
70 0 -2 -5 -9 -17 -30 -50 . .
60 4 4 2 -3 -8 -20 -37 -64 .
50 8 9 7 3 -4 -13 -29 -54 .
40 11 12 9 6 -1 -9 -25 -47 .
30 15 14 13 10 5 -5 -21 -44 .
20 15 15 13 10 6 0 -18 -43 .
10 14 11 5 5 3 -2 -16 -42 .
0 17 6 -1 . . -8 -18 -41 -88
-10 23 14 3 2 0 -7 -18 -37 -88
-20 32 23 9 4 1 -4 -13 -36 -96
-30 38 33 10 7 3 -2 -11 -41 -97
-40 35 18 10 8 4 -2 -16 -55 -90
-50 23 21 14 9 4 -4 -17 -74 .
-60 26 24 17 10 3 -7 -24 . .
-70 22 21 12 8 1 -11 -30 . .
-80 22 19 13 6 -3 -16 . . .
-90 17 16 11 3 -9 -26 . . .
-100 17 17 8 -1 -18 -67 . . .
-110 11 10 0 -33 -57 -71 . . .
-120 -29 -32 -40 -52 -62 -72 . . .
-130 -38 -40 -46 -55 -65 -73 . . .
"""


def landmark_means() -> NDArray[np.float64]:
    """Mean landmarks (68, 3), mm."""
    return _landmark_table()[:, :3]


def landmark_deviations() -> NDArray[np.float64]:
    """Standard deviations of the landmarks over identities (68, 3), mm."""
    return _landmark_table()[:, 3:]


def front_depths() -> NDArray[np.float64]:
    """Points (N, 3), mm, of the front surface with x >= 0 on a 10 mm grid."""
    points = []
    for line in _DEPTHS.strip().splitlines():
        y, *depths = line.split()
        points += [(10.0 * column, float(y), float(z)) for column, z in enumerate(depths) if z != "."]
    return np.array(points)


def _landmark_table() -> NDArray[np.float64]:
    return np.array([[float(value) for value in line.split()] for line in _LANDMARKS.strip().splitlines()])
