"""Text that leaves the program: escaped for Markdown and HTML, safe in spreadsheets, readable on any terminal."""
