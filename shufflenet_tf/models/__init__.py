"""The networks: layers, the units of the papers, ShuffleNet V1 and V2, the zoo beside them, and the registry of all by name."""
