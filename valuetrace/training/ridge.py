"""The ridge Bradley–Terry head: a linear reward on frozen hidden states, fitted to preference pairs.

No seed of its own and one optimum: what differs between two heads is the base or the pairs. The untrained head of a
LoRA reward model is a random one, by comparison, and training keeps much of it.
"""

from __future__ import annotations

import numpy as np
import scipy  # loads scipy.optimize when it is used


def scale(states: np.ndarray) -> np.ndarray:
    """The standard deviation of each coordinate over conversations, (hidden,): what a ridge penalty is told in.

    states: (…, hidden). Coordinates that never vary get 1.
    """
    flat = states.reshape(-1, states.shape[-1]).astype(np.float64)
    spread = flat.std(axis=0)
    return np.where(spread > 0, spread, 1.0)


def fit(margins: np.ndarray, penalty: float, weights: np.ndarray | None = None) -> np.ndarray:
    """w that minimises Σ cᵢ log(1 + exp(−xᵢ·w)) / Σ cᵢ + ½ · penalty · |w|² over pairs i, (hidden,).

    margins: (pairs, hidden) states x of the chosen less the rejected reply, scaled. weights: how often each pair
    counts, c (a bootstrap's counts; default: once). The loss is a mean: a penalty means the same for any number of
    pairs.
    """
    x = margins.astype(np.float64)
    c = np.ones(len(x)) if weights is None else weights.astype(np.float64)
    c = c / c.sum()

    def loss(w: np.ndarray) -> tuple[float, np.ndarray]:
        z = x @ w
        value = c @ np.logaddexp(0.0, -z) + 0.5 * penalty * w @ w
        return value, penalty * w - x.T @ (c * scipy.special.expit(-z))

    found = scipy.optimize.minimize(loss, np.zeros(x.shape[1]), jac=True, method="L-BFGS-B", options={"maxiter": 500})
    return found.x


def accuracy(margins: np.ndarray, head: np.ndarray) -> float:
    """Share of pairs whose chosen reply has the higher reward; equal ones count one half. margins: (pairs, hidden)."""
    z = margins.astype(np.float64) @ head
    return float(((z > 0) + 0.5 * (z == 0)).mean())


def without(margins: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """``margins`` (…, hidden) with the span of ``directions`` (k, hidden) projected out."""
    basis, _ = np.linalg.qr(directions.astype(np.float64).T)
    return margins - (margins @ basis) @ basis.T


def share(covariance: np.ndarray, directions: np.ndarray) -> float:
    """Share of the variance that lies in the span of ``directions`` (k, hidden)."""
    basis, _ = np.linalg.qr(directions.T)
    return float(np.trace(basis.T @ covariance @ basis) / np.trace(covariance))


def random_directions(covariance: np.ndarray, rank: int, wanted: float, draws: np.random.Generator) -> np.ndarray:
    """A random subspace (rank, hidden) that takes about the share ``wanted`` of the variance.

    Gaussian vectors in the coordinates of the principal axes, weighted by a power of their variance that is found by
    bisection: 0 takes what chance takes, large powers nearly all that ``rank`` directions can.
    """
    variance, axes = np.linalg.eigh(covariance)
    variance = np.maximum(variance, variance.max() * 1e-12)
    vectors = draws.standard_normal((rank, len(variance)))
    low, high = -2.0, 4.0
    for _ in range(30):
        power = (low + high) / 2
        directions = (vectors * (variance / variance.max()) ** (power / 2)) @ axes.T
        low, high = (power, high) if share(covariance, directions) < wanted else (low, power)
    return directions
