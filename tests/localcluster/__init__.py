"""Run a Kubernetes control plane on this machine.

`python -m tests.localcluster up` starts one on the command line, `tests.localcluster.cluster.Cluster` in a program.
"""
