"""Shared parts of every run of a page: session, pending requests, address, and the resolved choices."""
