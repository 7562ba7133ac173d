"""Evaluation of StyleRig: measured edits, the paper's figures and claims, calibration, and the demo's report."""
