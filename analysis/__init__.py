"""Verdicts over measurements. Pure; knows no Kubernetes."""
