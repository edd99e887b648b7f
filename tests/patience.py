"""How long tests wait for what must come: only what hangs takes so long, on whatever machine and beside whatever load."""

PATIENCE = 300  # seconds
