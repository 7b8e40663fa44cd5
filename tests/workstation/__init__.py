"""What training and export share on the workstation."""
