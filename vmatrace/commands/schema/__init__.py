"""`vmatrace schema`: the JSON Schemas of traces and outputs."""
