"""Elimination of channel movement, for `passes/channel_movement.py`. In the order of the work:

- `identities.py` finds where each channel comes from.
- `dense_groups.py` makes grouped convolutions dense where that pays.
- `plan.py` gives each producer's channels an order and puts every read together (`assembly.py`); `search.py` improves it.
- `rewriter.py` builds the graph of the plan.
"""
