"""The command line, one file a verb; each verb imports what it needs when it runs."""
