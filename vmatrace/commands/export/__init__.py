"""`vmatrace export`: a trace in a form that other programs take."""
