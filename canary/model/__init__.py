"""Pure values: what a user wrote, what was observed, what is remembered. No I/O, no clock."""
