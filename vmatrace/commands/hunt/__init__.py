"""`vmatrace hunt`: the shortest programs at which two kernels part."""
