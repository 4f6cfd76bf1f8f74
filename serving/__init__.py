"""HTTP and the command line around `desed_task.detector`; nothing here knows how a sound becomes an event."""
