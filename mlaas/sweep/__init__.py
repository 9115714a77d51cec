"""Many trainings with other parameters, and the best of them."""

from mlaas.sweep.sweep import SweepOptions, resume_sweep, sweep

__all__ = ["SweepOptions", "resume_sweep", "sweep"]
