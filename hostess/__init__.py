"""The node agent: points a node's container runtime at a mirror, and takes that back when the mirror is away."""
