"""A fuzz of everything that reads files: damaged and hostile ones are refused in a sentence, and nothing in them runs."""
