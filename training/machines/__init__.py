"""Which backend and devices a training runs on."""
