"""What is recorded: a file of whole lines that outlives its writer."""
