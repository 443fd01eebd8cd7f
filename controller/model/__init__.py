"""Define the data that the steps of a reconcile pass on."""
