"""Ask upstream registries: authentication, redirects, proxies and their failures."""
