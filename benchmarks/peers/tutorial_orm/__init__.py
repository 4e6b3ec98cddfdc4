"""The tutorial's chat with what a product adds first: each message and its notification are stored,
and the one it is for is told on a socket of his own.

Written as the documentation of Channels shows the ORM ("Accessing the Django ORM from your
consumers": database_sync_to_async), with its recommended layer, on Daphne. It has no log, no
numbering, no acknowledgement and no authentication: who connects says who he is.
"""
