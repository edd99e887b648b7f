"""Pure torch: the ULSAM module, the networks that carry it, and their inference form."""
