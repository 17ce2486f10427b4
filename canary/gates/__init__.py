"""Gates: what others have to say about a rollout before it goes on."""
