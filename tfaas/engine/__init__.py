"""Names to loaded models to batches."""
