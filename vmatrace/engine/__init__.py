"""The model: no input or output, no formatting."""
