"""`vmatrace check`: whether what traces expect holds under the models they name."""
