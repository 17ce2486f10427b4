"""kopf glue: watches become keys, keys become reconciliations. Nothing imports it."""
