"""The phone's camera: its integer preprocessing, and the golden frames that every implementation must reproduce."""
