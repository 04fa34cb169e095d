"""Tables and pictures of exported files."""
