"""A finished run for others: a model card, and a folder that is ready to upload."""
