"""How fast models are on processors that this machine is not."""
