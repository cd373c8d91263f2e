"""`vmatrace replay`: what a trace leads to under a model."""
