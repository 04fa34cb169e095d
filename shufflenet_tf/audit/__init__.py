"""An audit of a folder of photos: what a person would want to know before training on them."""
