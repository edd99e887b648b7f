"""Questions about one view: how each is computed, and how its answer is described."""
