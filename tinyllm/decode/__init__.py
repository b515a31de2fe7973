"""Let models write: sampling, the engine that decodes many sequences at once, beam search, masks."""
