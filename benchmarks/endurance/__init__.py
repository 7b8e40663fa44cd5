"""What survives faults, kills and tampering."""
