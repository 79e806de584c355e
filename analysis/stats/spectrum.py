"""Surrogates whose long waves are only as strong as shorter waves let expect.

Band rotation keeps the power of the longest waves of a body, so it cannot say whether they are stronger than smoothness
would have them. Here their power is predicted: a Matérn spectrum, power = a (1 + λ/k)^-v over the eigenvalues λ of the
graph Laplacian (Lindgren, Rue & Lindström 2011), is fitted by Whittle's likelihood to the three bands of waves
that follow the eight longest ones, and extrapolated to these. The surrogates are band rotations with that power.
"""

from __future__ import annotations

import numpy as np
import scipy.optimize
from jaxtyping import Bool, Float

from analysis.stats.surrogates import laplacian_eigenvalues, laplacian_modes, rotate_bands

_LONGEST = slice(1, 9)  # modes of the first two bands: their power is predicted
_FITTED = slice(9, 51)  # modes of the next three
_STARTS = [(scale, order) for scale in (-3.0, -1.2, 0.4) for order in (0.0, 1.5)]  # logarithms of k and v
_BOUNDS = ((-12.0, 12.0), (-6.0, 4.0), (-2.0, 4.0))  # logarithms of a, k and v


def extrapolate_surrogates(
    values: Float[np.ndarray, "cell channel"], mask: Bool[np.ndarray, "y x"], number: int = 99, seed: int = 0
) -> tuple[Float[np.ndarray, "surrogate cell channel"], float]:
    """Band-rotated surrogates whose eight longest waves have the power that the next 42 predict.

    Args:
        values: one row per cell of the mask, in row-major order; the power is summed over channels, whose covariances
            are kept within every band.

    Returns:
        The surrogates, and the power of the eight longest waves as a multiple of the predicted one (1: as predicted).

    Raises:
        UserError: a body of more than 4,000 cells.
    """
    modes = laplacian_modes(mask)
    coefficients = modes.T @ np.asarray(values, np.float64)
    power = np.square(coefficients).sum(1)
    predicted = _fit_spectrum(laplacian_eigenvalues(modes, mask), power)
    excess = float(power[_LONGEST].sum() / max(predicted[_LONGEST].sum(), 1e-300))
    for band in (slice(1, 4), slice(4, 9)):
        coefficients[band] *= np.sqrt(predicted[band].sum() / max(power[band].sum(), 1e-300))
    return rotate_bands(modes @ coefficients, modes, number, seed), excess


def _fit_spectrum(eigenvalues: Float[np.ndarray, " mode"], power: Float[np.ndarray, " mode"]) -> np.ndarray:
    """The power of every mode by the spectrum that fits those of `_FITTED` best."""
    x, y = eigenvalues[_FITTED], power[_FITTED]
    unit = max(float(y.mean()), 1e-300)

    def _spectrum(parameters: np.ndarray, at: np.ndarray) -> np.ndarray:
        a, k, v = np.exp(parameters)
        return np.asarray(a * (1 + at / k) ** -v)

    def _negative_log_likelihood(parameters: np.ndarray) -> float:
        expected = _spectrum(parameters, x)
        return float(np.sum(np.log(expected) + y / unit / expected))

    level = float(np.clip(np.log(max(y[:8].mean() / unit, 1e-5)), -11, 11))
    fits = [
        scipy.optimize.minimize(_negative_log_likelihood, (level, k, v), method="L-BFGS-B", bounds=_BOUNDS)
        for k, v in _STARTS
    ]
    return _spectrum(min(fits, key=lambda fit: fit.fun).x, eigenvalues) * unit
