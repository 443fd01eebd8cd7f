"""Ask the cache pods what their upstreams answer."""
