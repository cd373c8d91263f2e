"""`vmatrace audit`: what a snapshot of a process shows of VMAs that could be one."""
