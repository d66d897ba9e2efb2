"""The small guest that boots in seconds: how its disk image is made, and what runs in it."""
