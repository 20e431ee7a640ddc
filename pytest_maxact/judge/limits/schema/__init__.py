"""The form of a limits file, from its terms to the whole document; limits.schema.json tells editors the same."""
