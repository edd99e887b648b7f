"""What a visitor chooses: each control lives in the address."""
