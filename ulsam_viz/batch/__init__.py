"""Many pictures through one network into one table, by PyTorch's DataLoader or on a cluster by Ray Data."""
