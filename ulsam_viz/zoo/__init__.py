"""Trained networks: records and files, pretrained backbones, users' networks and checkpoints of others."""
