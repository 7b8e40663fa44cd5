"""What training and its data cost."""
