"""A physics-like sample: a resonance that decays to two leptons, against a falling continuum with a Z peak.

Everything in an event hangs together as in real kinematics: the lepton pair recoils against the jets, the leptons come
from a two-body decay boosted to the laboratory, and the missing momentum balances what was measured badly.
"""

from pathlib import Path

import awkward as ak
import numpy as np
import numpy.typing as npt
import uproot

Array = npt.NDArray[np.float64]

SIGNAL_MASS = 125.0  # GeV
Z_MASS, Z_WIDTH = 91.19, 2.5  # GeV
LEPTON_PT, LEPTON_ETA = 10.0, 2.5  # acceptance: GeV, pseudorapidity
MAX_JETS = 12


def write_sample(path: Path, events: int, signal: bool, seed: int) -> None:
    """Write a ROOT file with the tree `Events`: flat and jagged branches, momenta and masses in GeV."""
    generator = np.random.default_rng(seed)
    jets = _jets(generator, events, mean=2.2 if signal else 1.4)
    recoil_x = -ak.to_numpy(ak.sum(jets["pt"] * np.cos(jets["phi"]), axis=1)) + generator.normal(0, 8, events)
    recoil_y = -ak.to_numpy(ak.sum(jets["pt"] * np.sin(jets["phi"]), axis=1)) + generator.normal(0, 8, events)
    mass = _signal_mass(generator, events) if signal else _background_mass(generator, events)
    leptons = _decay(generator, mass, recoil_x, recoil_y)
    ht = ak.to_numpy(ak.sum(jets["pt"], axis=1))
    resolution = 3 + 0.5 * np.sqrt(ht)
    with uproot.recreate(path) as file:
        file.mktree(
            "Events",
            {
                "run": "int32", "event": "int64", "met": "float32", "ht": "float32",
                "dilepton_mass": "float32", "jet": "var * {pt: float32, eta: float32, phi: float32, btag: float32}",
                "lepton": "var * {pt: float32, eta: float32, phi: float32}",
            },
        )  # fmt: skip
        file["Events"].extend(
            {
                "run": np.ones(events, np.int32),
                "event": np.arange(events),
                "met": np.hypot(generator.normal(0, resolution), generator.normal(0, resolution)).astype(np.float32),
                "ht": ht.astype(np.float32),
                "dilepton_mass": _pair_mass(leptons).astype(np.float32),
                "jet": _as_float32(jets),
                "lepton": _as_float32(leptons),
            }
        )


def _jets(generator: np.random.Generator, events: int, mean: float) -> ak.Array:
    """Jets in falling order of transverse momentum."""
    counts = np.minimum(generator.poisson(mean, events), MAX_JETS)
    total = int(counts.sum())
    jets = ak.zip(
        {
            "pt": ak.unflatten(20 + generator.exponential(35, total), counts),
            "eta": ak.unflatten(np.clip(generator.normal(0, 1.6, total), -4.7, 4.7), counts),
            "phi": ak.unflatten(generator.uniform(-np.pi, np.pi, total), counts),
            "btag": ak.unflatten(generator.beta(0.8, 3.0, total), counts),
        }
    )
    return jets[ak.argsort(jets["pt"], axis=1, ascending=False)]


def _signal_mass(generator: np.random.Generator, events: int) -> Array:
    return generator.normal(SIGNAL_MASS, 4.0, events)


def _background_mass(generator: np.random.Generator, events: int) -> Array:
    continuum = 40 + generator.exponential(45, events)
    peak = Z_MASS + Z_WIDTH / 2 * np.clip(generator.standard_cauchy(events), -12, 12)
    return np.where(generator.random(events) < 0.5, continuum, peak)


def _decay(generator: np.random.Generator, mass: Array, parent_x: Array, parent_y: Array) -> ak.Array:
    """Two massless leptons from an isotropic decay, boosted to the laboratory and seen within the acceptance."""
    events = len(mass)
    parent_z = np.sqrt(parent_x**2 + parent_y**2 + mass**2) * np.sinh(generator.normal(0, 0.9, events))
    momentum = np.stack([parent_x, parent_y, parent_z], axis=1)
    energy = np.sqrt((momentum**2).sum(axis=1) + mass**2)
    cosine, azimuth = generator.uniform(-1, 1, events), generator.uniform(-np.pi, np.pi, events)
    sine = np.sqrt(1 - cosine**2)
    direction = np.stack([sine * np.cos(azimuth), sine * np.sin(azimuth), cosine], axis=1)
    leptons = []
    for sign in (1, -1):
        at_rest = sign * direction * (mass / 2)[:, None]
        along = (momentum * at_rest).sum(axis=1)
        factor = along / (mass * (energy + mass)) + 0.5  # Lorentz boost with the parent's velocity
        leptons.append(at_rest + momentum * factor[:, None])
    p = np.stack(leptons, axis=1) * generator.normal(1, 0.015, (events, 2, 1))
    pt = np.hypot(p[..., 0], p[..., 1])
    eta, phi = np.arcsinh(p[..., 2] / pt), np.arctan2(p[..., 1], p[..., 0])
    pairs = ak.zip(
        {name: ak.from_regular(ak.Array(values)) for name, values in (("pt", pt), ("eta", eta), ("phi", phi))}
    )
    seen = pairs[(pairs["pt"] > LEPTON_PT) & (abs(pairs["eta"]) < LEPTON_ETA)]
    return seen[ak.argsort(seen["pt"], axis=1, ascending=False)]


def _pair_mass(leptons: ak.Array) -> Array:
    """Invariant mass of the two leptons; NaN where fewer are seen."""
    two = ak.pad_none(leptons, 2, axis=1, clip=True)
    first, second = two[:, 0], two[:, 1]
    opening = np.cosh(first["eta"] - second["eta"]) - np.cos(first["phi"] - second["phi"])
    mass = np.sqrt(2 * first["pt"] * second["pt"] * opening)
    return np.asarray(ak.to_numpy(ak.fill_none(mass, np.nan)))


def _as_float32(objects: ak.Array) -> ak.Array:
    return ak.zip({name: ak.values_astype(objects[name], np.float32) for name in objects.fields})
