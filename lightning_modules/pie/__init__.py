"""PIE (Tewari et al., SIGGRAPH Asia 2020): portraits embedded into codes that a rig can edit."""
