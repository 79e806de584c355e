"""How much disturbance growth and body bear, and whether growth narrows what differs."""
