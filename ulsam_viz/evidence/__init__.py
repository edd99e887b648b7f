"""Statistics of the trained networks, experiments, the paper's tables, and the same as Markdown."""
