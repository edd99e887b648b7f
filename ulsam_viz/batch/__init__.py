"""Many pictures through one variant into one table; run by PyTorch's DataLoader here, by Ray Data on a cluster."""
