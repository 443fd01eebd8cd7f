"""A real Kubernetes control plane on this machine.

`python -m deploy.local up` starts one for a person, `deploy.local.cluster.Cluster` one for a program.
"""
