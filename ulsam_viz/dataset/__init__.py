"""A table of many pictures, as ``batch`` writes it or as it is made from a visitor's own: opened, and summed up for the page."""
