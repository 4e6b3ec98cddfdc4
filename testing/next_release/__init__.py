"""The release after this one, as far as this one must bear it beside itself in a rolling deploy:
every frame has a field more, the log holds a frame of an unknown type, wake-ups are of another
version, and a table has a column that this release knows nothing of.
"""

SETTINGS = "testing.next_release.settings"

# Expand: the release before it goes on inserting rows without the column.
EXPAND = "ALTER TABLE chat_message ADD COLUMN mood varchar(10) NOT NULL DEFAULT 'none'"
CONTRACT = "ALTER TABLE chat_message DROP COLUMN mood"
