"""`vmatrace record`: the memory calls of a program as a trace."""
