"""A real Kubernetes control plane on this machine.

`python -m tests.localcluster up` starts one for a person, `tests.localcluster.cluster.Cluster` one for a program.
"""
