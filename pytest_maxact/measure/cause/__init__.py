"""Which single weight writes a massive activation: `channels` finds them, `entries` names candidates, `prove` tries."""
