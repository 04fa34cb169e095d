"""Graph analyses that several passes share."""
