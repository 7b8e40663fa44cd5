"""What training and export share on the workstation, and a device never needs."""
