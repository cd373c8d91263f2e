"""`vmatrace kernels`: the models and features there are."""
