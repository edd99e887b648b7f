"""What the zoo's figures say: statistics, experiments, the paper's tables, and the same as Markdown."""
