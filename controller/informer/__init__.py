"""List, watch and store the objects of the cluster."""
