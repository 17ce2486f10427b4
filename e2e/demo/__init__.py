"""The demo: a good and a bad release go through Fluxcanary in a lab, watched as a person would, and counted.

python -m e2e.demo      (KEEP=1 in the environment leaves the cluster up)
"""
