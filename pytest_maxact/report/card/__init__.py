"""What a release carries of a run: the card of a model, and its part of a bill of materials."""
