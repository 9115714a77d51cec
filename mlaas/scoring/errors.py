"""What can go wrong with the model or the output, in a way the user can mend."""

from mlaas.errors import MlaasError


class ScoringError(MlaasError):
    """The model can't be had or run, or the scores can't be written."""
