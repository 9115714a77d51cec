"""Files and a model in, scores of every event out."""

from mlaas.scoring.errors import ScoringError
from mlaas.scoring.score import Scored, ScoreOptions, score_files

__all__ = ["ScoreOptions", "Scored", "ScoringError", "score_files"]
