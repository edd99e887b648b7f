"""The page "Inspect"."""
