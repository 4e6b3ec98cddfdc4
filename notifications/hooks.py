"""What other apps may follow. Sent inside the transaction that it happens in: a receiver must be
quick, and what it raises undoes the write.
"""

from django.dispatch import Signal

added = Signal()  # rows: the new notifications, stored
read = Signal()  # user_id, and ids: those that were unread, or up_to_id: all up to that one
seen = Signal()  # user_id, up_to_id: on a screen that somebody looks at; not read
# user_ids: who is about to be shown what they were notified of. Whoever knows that one of them may
# no longer see a part takes it back first (`services.retract`). Outside of any lock.
reading = Signal()
# Of whom that has to be asked: each an SQL query for user ids, so that all others cost no query.
doubtful: list[str] = []
edited = Signal()  # row: its text or title, after it was published
