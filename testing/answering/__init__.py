"""An app of a host project that answers messages, for projects that list it ahead of ours."""
