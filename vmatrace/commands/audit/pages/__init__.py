"""`vmatrace audit --pages`: what KSM by default would save in running processes, and its cost."""
