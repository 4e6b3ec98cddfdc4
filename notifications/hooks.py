"""What other apps may follow. Sent inside the transaction that it happens in: a receiver must be
quick, and what it raises undoes the write.
"""

from django.dispatch import Signal

added = Signal()  # rows: the new notifications, stored
read = Signal()  # user_id, and ids: those that were unread, or up_to_id: all up to that one
seen = Signal()  # user_id, up_to_id: on a screen that somebody looks at; not read
edited = Signal()  # row: its text or title, after it was published
