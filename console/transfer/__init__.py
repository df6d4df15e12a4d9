"""How a bundle's bytes come to nodes: within a budget, as a difference where that is less, through a seed."""
