"""The page "Learn"."""
