"""Facts about a graph that several passes need."""
