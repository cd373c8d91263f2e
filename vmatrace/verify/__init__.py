"""The model against the running kernel, or a recording of one, event by event.

``setting`` says whether a trace can start here, ``findings`` which model this kernel is,
``witness`` compares; ``generate`` makes random traces, ``campaign`` runs many, ``shrink`` reduces
one that differs and ``exhibit`` writes it down; ``recording`` keeps what a kernel did.
"""
