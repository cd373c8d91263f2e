"""`vmatrace shrink`: the smallest trace that still shows it."""
