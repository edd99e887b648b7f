"""One view as a document to print, and as an archive for a paper."""
