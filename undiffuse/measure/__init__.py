"""How good samples are: measures between samples and data, each beside the floor that real data has."""

from undiffuse.measure.energy import energy_distance, energy_distance_squared
from undiffuse.measure.estimate import Estimate, estimate, over_seeds
from undiffuse.measure.floor import Floor, floor
from undiffuse.measure.frechet import frechet_distance
from undiffuse.measure.judge import Judge
from undiffuse.measure.manifold import Manifold, manifold
from undiffuse.measure.memorise import Memorisation, memorisation, nearest_distances
from undiffuse.measure.mmd import mmd, mmd_squared
from undiffuse.measure.report import MEASURES, Measure, Number, Report, Row, report
from undiffuse.measure.sliced_wasserstein import directions, sliced_wasserstein
from undiffuse.measure.two_sample import TwoSample, two_sample_test

__all__ = [
    "MEASURES",
    "Estimate",
    "Floor",
    "Judge",
    "Manifold",
    "Measure",
    "Memorisation",
    "Number",
    "Report",
    "Row",
    "TwoSample",
    "directions",
    "energy_distance",
    "energy_distance_squared",
    "estimate",
    "floor",
    "frechet_distance",
    "manifold",
    "memorisation",
    "mmd",
    "mmd_squared",
    "nearest_distances",
    "over_seeds",
    "report",
    "sliced_wasserstein",
    "two_sample_test",
]
