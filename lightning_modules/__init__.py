"""One Lightning module per thing that is trained or optimised."""
