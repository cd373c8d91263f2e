"""`vmatrace import`: other formats as trace files."""
