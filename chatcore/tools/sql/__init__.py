"""Reading databases for a model: what may be asked (`guard`), of what (`sources`), and what comes back (`results`)."""
