"""Watch the mirror's Service and EndpointSlices."""
