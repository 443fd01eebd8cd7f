"""A real node for the local cluster: kubelet, containerd, runc, CNI, kube-proxy and CoreDNS in namespaces of their own.

`python -m tests.localcluster up --node` starts one for a person, `tests.localcluster.node.node.Node` one for a program.
"""
