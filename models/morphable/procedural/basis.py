"""Principal components of random scans, in a form that carries over to every mesh density."""

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import lsq_linear

Array = NDArray[np.float64]

# Sizes of the controls, in their units: the moderate one, how strongly it attracts, and the bounds.
_MODERATE, _PULL = 0.8, 0.8
_LEAST, _MOST = 0.2, 1.2


def calibrated_deviations(at_landmarks: Array, target: Array) -> Array:
    """Standard deviations (K) of independent controls whose landmark deviations come closest to `target`.

    Args:
        at_landmarks: displacement of each landmark per unit control (K, 68, 3), mm.
        target: standard deviations of the landmarks (68, 3), mm.

    The variances add up linearly, so this is a bounded least-squares fit; the bounds keep every control in play.
    """
    effect = at_landmarks.reshape(len(at_landmarks), -1).T ** 2
    wanted = target.ravel() ** 2
    # Relative errors count: a narrow landmark is as important as a wide one.
    scale = 1.0 / (wanted + 1.0)
    # A weak pull to a moderate size decides what the landmarks leave open.
    system = np.concatenate([effect * scale[:, None], _PULL * np.eye(effect.shape[1])])
    aim = np.concatenate([wanted * scale, np.full(effect.shape[1], _PULL * _MODERATE**2)])
    return np.sqrt(lsq_linear(system, aim, bounds=(_LEAST**2, _MOST**2)).x)


def principal_mix(scans: Array, weight: Array, components: int) -> tuple[Array, Array]:
    """Weights that turn scans into mean and principal components.

    Args:
        scans: (N, V, 3) values of N scans on a reference mesh.
        weight: (V) area of each vertex.
        components: how many to keep.

    Returns:
        mean weights (N) and component weights (components, N): `weights @ scans` gives components scaled by their
        standard deviation, on whatever mesh the same scans are evaluated. Signs make each component's largest
        weight positive.
    """
    count = len(scans)
    centred = (scans - scans.mean(axis=0)).reshape(count, -1) * np.sqrt(np.repeat(weight, scans.shape[2]))
    values, vectors = np.linalg.eigh(centred @ centred.T)
    order = np.argsort(values)[::-1][:components]
    vectors = vectors[:, order]
    vectors *= np.sign(vectors[np.abs(vectors).argmax(axis=0), np.arange(components)])
    # Component = sqrt(eigenvalue / N) * unit vector, and unit vector = centred^T u / sqrt(eigenvalue).
    mix = (vectors - vectors.mean(axis=0)).T / np.sqrt(count)
    return np.full(count, 1.0 / count), mix
