"""The networks that ShuffleNets are compared with, and their later relatives."""
