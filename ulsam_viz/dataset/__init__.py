"""Tables of many pictures, from ``batch`` or made of uploads: reading them and summing them up for the page."""
