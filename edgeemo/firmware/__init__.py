"""From a bundle to a microcontroller: its int8 network as layers of integers, where they lie in
memory, and its flash image."""
