"""Tables and charts of exported files."""
