"""End-to-end tests of Fluxcanary, and the lab that they run in where there is no container engine."""
