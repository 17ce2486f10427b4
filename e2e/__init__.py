"""End-to-end: Fluxcanary on real parts."""
