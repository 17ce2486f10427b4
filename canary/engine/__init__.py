"""Pure decisions: World in, Decision out."""
