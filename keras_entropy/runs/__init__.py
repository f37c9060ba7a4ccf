"""What all training runs share: their identity, the order of their data, memory and Ctrl-C."""
