"""Many pictures through one network into one table: by PyTorch's DataLoader on one machine, by Ray Data on a
cluster.
"""
