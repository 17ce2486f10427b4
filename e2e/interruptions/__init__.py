"""Each phase of a rollout and each interruption, on real Deployments: many apps at once in one lab."""
