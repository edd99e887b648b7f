"""Data, recipe and evaluation behind ``python -m ulsam_viz train`` and ``evaluate``; nothing else imports this."""
