"""Tables → columns."""
