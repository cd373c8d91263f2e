"""`vmatrace` and `vmatrace FILE`: what to do next."""
