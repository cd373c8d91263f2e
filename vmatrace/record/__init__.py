"""The memory calls of real programs, taken from the running kernel as a trace."""
