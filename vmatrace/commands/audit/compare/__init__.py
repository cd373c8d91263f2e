"""`vmatrace audit --compare`: two snapshots of one process, and what became of its VMAs."""
