"""The verb `desed-task tag`: recordings of a folder become tables of events, without a server."""
