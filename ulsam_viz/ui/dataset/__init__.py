"""The page "Dataset"."""
