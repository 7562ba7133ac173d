"""Metrics, and the tables and figures of the papers."""
