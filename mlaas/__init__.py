"""MLaaS: from HEP files to a trained, published and served model."""

__version__ = "0.1.0"
