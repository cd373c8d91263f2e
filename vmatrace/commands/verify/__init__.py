"""`vmatrace verify`: the model against a real kernel."""
