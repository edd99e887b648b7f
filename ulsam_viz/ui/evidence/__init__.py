"""The page "Evidence"."""
