"""Challenge submissions: recognised, read, validated, ranked and shown."""
