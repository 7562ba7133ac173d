"""Tables and figures of PIE."""
