"""Pictures and labelled data, from files that may be hostile."""
