"""`vmatrace audit --every`: how many VMAs a process has over time, and when there are too many."""
