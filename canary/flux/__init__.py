"""What Flux says about a target: its owner and the revision on trial."""
