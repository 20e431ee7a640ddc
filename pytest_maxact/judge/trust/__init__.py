"""How far the figures of a Record can be trusted."""
