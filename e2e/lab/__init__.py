"""The lab: a real Kubernetes without containers, for end-to-end tests (see `e2e/README.md`).

Nothing of it is imported here, for `python -m e2e.lab.…` starts several of its programs and should be quick.
"""
