"""Knowledge bases: documents of an agent or a team, split into passages that can be found."""
