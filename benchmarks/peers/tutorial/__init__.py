"""The chat server of the Channels tutorial, parts 1 to 3, as its reader ends up with it.

https://channels.readthedocs.io/en/stable/tutorial/ (settings of `startproject`, without what the
chat does not use)
"""
