"""The search for worse inputs than a corpus has: `sight` sees, `moves` proposes, `search` decides, `state` keeps."""
