"""Tests of LatentRig."""
