"""One checker per invariant; each sees every event of a scenario."""
