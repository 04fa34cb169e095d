"""Elimination of channel movement, for `passes/channel_movement.py`. The files in the order of their use:

- `identities.py` traces each channel to its origin.
- `dense_groups.py` makes grouped convolutions dense where that pays.
- `plan.py` orders each producer's channels and assembles every read (`assembly.py`); `search.py` improves the plan.
- `rewriter.py` builds the graph of the plan.
"""
