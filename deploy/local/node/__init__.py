"""A real node for the local cluster: kubelet, containerd, runc, CNI, kube-proxy and CoreDNS in namespaces of their own.

`python -m deploy.local up --node` starts one for a person, `deploy.local.node.node.Node` one for a program.
"""
