"""Pure functions: model and tensors in, frozen results of numpy arrays out."""
