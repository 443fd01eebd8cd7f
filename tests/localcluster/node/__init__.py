"""Run a node for the local cluster: kubelet, containerd, runc, CNI, kube-proxy and CoreDNS in their own namespaces.

`python -m tests.localcluster up --node` starts one, `tests.localcluster.node.node.Node` one in a program.
"""
