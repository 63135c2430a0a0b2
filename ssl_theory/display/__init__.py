"""How the book shows things: figures in one look, drawings of trees, controls."""
