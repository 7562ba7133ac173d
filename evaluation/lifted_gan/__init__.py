"""What LiftedGAN's faces look like: views, lights, maps, styles, and how they are measured."""
