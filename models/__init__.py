"""Networks and face models: plain modules, no training code."""
