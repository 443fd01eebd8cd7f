"""Ask the cache pods for the state of their upstreams."""
