"""Keep blobs, manifests and tags as plain files. The directory is the truth: there is no database to repair."""
