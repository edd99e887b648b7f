"""Trained networks: their records and files, pretrained backbones, the user's own networks and checkpoints of
others.
"""
