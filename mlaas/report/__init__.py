"""The report of a training run: numbers as JSON, figures, and one page that shows both."""

from mlaas.report.files import write_report
from mlaas.report.ranking import permutation_ranking
from mlaas.report.run import DataSummary, Importance, InputFile, Run, Scores

__all__ = ["DataSummary", "Importance", "InputFile", "Run", "Scores", "permutation_ranking", "write_report"]
