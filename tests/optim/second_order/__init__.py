"""Second derivatives that are written by hand, against torch."""
