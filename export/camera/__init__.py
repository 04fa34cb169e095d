"""The camera of the phone: its integer preprocessing, and golden frames that every implementation must agree with."""
