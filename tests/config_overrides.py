"""How each shipped training config is made small enough for a test: words added to its command line.

Every file in `configs/` that names a model needs an entry in `OVERRIDES`, and every one that changes the model of another in `OVERLAYS`;
`tests/test_shipped_configs.py` fails otherwise.
The test runs in a folder that holds `generator.safetensors` and `landmarks.safetensors`, untrained networks of 16 pixels, and `photos`;
for PIE also the other networks of `tests.tiny_pie.write_pie_networks`, for StyleFaceUV those of `tests.tiny_stylefaceuv`.
"""

STEPS = (
    "--trainer.max_steps 2 --trainer.val_check_interval 2 --trainer.limit_val_batches 1 "
    "--trainer.num_sanity_val_steps 0 --trainer.precision 32-true"
)
TINY_NETWORKS = "--model.generator generator.safetensors --model.landmarker landmarks.safetensors"
FEW_PAIRS = "--data.batch_size 2 --data.train_pairs 8 --data.validation_pairs 2"
TINY_RIG = [
    STEPS,
    TINY_NETWORKS,
    FEW_PAIRS,
    "--model.face_reconstruction null --model.face_reconstruction_run.steps 2",
    "--model.face_reconstruction_run.batch_size 2 --model.settings.statistics_pairs 4",
]
# The full mesh takes seconds to build.
COARSE = "--model.scene.density coarse"
FEW_PORTRAITS = (
    "--data.folder portraits --data.image_size 16 --data.num_samples 8 --data.num_val_samples 4 "
    "--data.num_test_samples 4 --data.batch_size 4 --data.density coarse --data.supersample 1 --data.processes 1"
)

TINY_FACE_AUTOENCODER = [
    STEPS,
    "--model.landmarker landmarks.safetensors --model.image_size 16 --model.settings.working_size 16",
    "--model.settings.widths [4,8] --model.settings.blocks [1,1] --model.settings.landmark_steps 1",
    "--data.generator generator.safetensors --data.folder portraits --data.image_size 16 --data.batch_size 4 --data.pictures 8",
    "--data.num_val_portraits 4 --data.num_test_portraits 4 --data.density coarse --data.supersample 1 --data.processes 1",
]
TINY_PIE = (
    f"{TINY_NETWORKS} --model.rig rig.safetensors --model.face_encoder face_encoder.safetensors --model.embedder identity.safetensors "
    "--model.perceptual observers --data.samples 2 --data.batch_size 2 --trainer.limit_train_batches 2"
)

TINY_CODE_COEFFICIENTS = [
    STEPS,
    "--model.generator generator.safetensors --model.face_reconstruction null --model.settings.hidden [2,1] --data.folder fits",
    "--data.generator generator.safetensors --data.landmarker landmarks.safetensors --data.count 10 --data.batch_size 2",
    "--data.validation_fraction 0.3 --data.max_yaw_deg null --data.scene.face_model procedural:coarse",
    # Whatever untrained networks make of each other's pictures is kept.
    '--data.settings {"rigid_steps":1,"steps":1,"largest_landmark_error":100.0,"largest_colour_error":100.0}',
]
TINY_STEP_SIZE = [
    STEPS,
    "--model.generator generator.safetensors --model.coefficients coefficients.safetensors --model.second_reader null",
    "--model.directions directions.safetensors --model.settings.hidden [2,1]",
    FEW_PAIRS,
]

# Its length is counted in images, as that of the teacher.
TINY_UV = [
    "--model.generator generator.safetensors --model.coefficients coefficients.safetensors --model.step_size step_size.safetensors",
    "--model.discriminator null --model.perceptual observers --model.total_images 8 --data.batch_size 2 --data.train_pairs 8",
    "--data.validation_pairs 2 --trainer.val_check_interval 2 --trainer.num_sanity_val_steps 0 --trainer.precision 32-true",
]
TINY_LIFTED = [
    STEPS,
    "--model.generator generator.safetensors --model.perceptual observers --model.networks.mlp_width 8 --model.networks.base_channels 4",
    "--model.networks.max_channels 8 --model.networks.blur_radius 2 --model.sample_every 8",
    FEW_PAIRS,
]

OVERRIDES: dict[str, list[str]] = {
    "configs/cats256/lifted_gan.yaml": TINY_LIFTED,
    "configs/demo/code_encoder.yaml": [
        STEPS,
        "--model.generator generator.safetensors --model.settings.widths [4,8] --model.settings.blocks [1,1]",
        FEW_PAIRS,
    ],
    "configs/demo/face_autoencoder.yaml": [*TINY_FACE_AUTOENCODER, "--data.portraits 8"],
    "configs/demo/face_reconstruction.yaml": [STEPS, TINY_NETWORKS, FEW_PAIRS],
    "configs/demo/identity.yaml": [STEPS, FEW_PORTRAITS, "--data.samples_per_person 2 --model.num_people 4"],
    "configs/demo/judge.yaml": [STEPS, FEW_PORTRAITS, "--model.statistics_batches 2"],
    "configs/demo/landmarks.yaml": [STEPS, FEW_PORTRAITS],
    "configs/demo/lifted_gan.yaml": TINY_LIFTED,
    "configs/demo/pie.yaml": [TINY_PIE],
    "configs/demo/stylefaceuv_coefficients.yaml": TINY_CODE_COEFFICIENTS,
    "configs/demo/stylefaceuv_step_size.yaml": TINY_STEP_SIZE,
    "configs/demo/stylefaceuv_uv.yaml": TINY_UV,
    "configs/demo/stylerig_all.yaml": TINY_RIG,
    "configs/demo/stylerig_expression.yaml": TINY_RIG,
    "configs/demo/stylerig_geometry.yaml": TINY_RIG,
    "configs/demo/stylerig_illumination.yaml": TINY_RIG,
    "configs/demo/stylerig_pose.yaml": TINY_RIG,
    # Its length is counted in images: the trainer's steps are those of both optimizers.
    "configs/demo/teacher.yaml": [
        FEW_PORTRAITS,
        "--model.generator.init_args.channels [6,6,4] --model.discriminator.init_args.channels [6,6,4]",
        "--model.warm_start.images 8 --model.warm_start.importance_images 0 --model.total_images 16",
        "--trainer.precision 32-true",
    ],
    "configs/ffhq1024/face_autoencoder.yaml": [*TINY_FACE_AUTOENCODER, COARSE, "--model.scene.image_size 16"],
    "configs/ffhq1024/face_reconstruction.yaml": [STEPS, TINY_NETWORKS, FEW_PAIRS, COARSE],
    "configs/ffhq1024/pie.yaml": [TINY_PIE, COARSE, "--data.landmarks null"],
    "configs/ffhq1024/stylerig.yaml": [*TINY_RIG, COARSE],
    "configs/ffhq256/face_autoencoder.yaml": [*TINY_FACE_AUTOENCODER, COARSE, "--model.scene.image_size 16"],
    "configs/ffhq256/face_reconstruction.yaml": [STEPS, TINY_NETWORKS, FEW_PAIRS, COARSE],
    "configs/ffhq256/lifted_gan.yaml": [*TINY_LIFTED, "--model.embedder assets/demo_identity.safetensors"],
    "configs/ffhq256/pie.yaml": [TINY_PIE, COARSE, "--data.landmarks null"],
    "configs/ffhq256/stylefaceuv_coefficients.yaml": [*TINY_CODE_COEFFICIENTS, COARSE],
    "configs/ffhq256/stylefaceuv_step_size.yaml": [*TINY_STEP_SIZE, COARSE],
    "configs/ffhq256/stylefaceuv_uv.yaml": [*TINY_UV, COARSE],
    "configs/ffhq256/stylerig.yaml": [*TINY_RIG, COARSE],
    "configs/teacher.yaml": [
        "--data.root photos --data.batch_size 4 --model.total_images 16 --model.sample_every 8",
        "--model.generator.init_args.resolution 16 --model.generator.init_args.channel_base 64",
        "--model.generator.init_args.z_dim 8 --model.generator.init_args.w_dim 12",
        "--model.discriminator.init_args.resolution 16 --model.discriminator.init_args.channel_base 64",
        "--trainer.callbacks.init_args.generated 8 --trainer.callbacks.init_args.batch_size 4",
    ],
}

# Configs that change another one, and that one; `configs/real64.yaml` and `configs/demo/pie/encoder_start.yaml` have tests of their own.
OVERLAYS: dict[str, str] = {
    "configs/controls/all.yaml": "configs/ffhq1024/stylerig.yaml",
    "configs/controls/expression.yaml": "configs/ffhq1024/stylerig.yaml",
    "configs/controls/geometry.yaml": "configs/ffhq256/stylerig.yaml",
    "configs/controls/illumination.yaml": "configs/ffhq256/stylerig.yaml",
    "configs/controls/pose.yaml": "configs/ffhq1024/stylerig.yaml",
    "configs/demo/ablations/published_optimiser.yaml": "configs/demo/stylerig_expression.yaml",
    "configs/demo/ablations/steering.yaml": "configs/demo/stylerig_pose.yaml",
    "configs/demo/ablations/without_consistency.yaml": "configs/demo/stylerig_illumination.yaml",
    "configs/demo/ablations/without_reconstruction.yaml": "configs/demo/stylerig_all.yaml",
    "configs/demo/lifted_gan/no_albedo.yaml": "configs/demo/lifted_gan.yaml",
    "configs/demo/lifted_gan/no_flip.yaml": "configs/demo/lifted_gan.yaml",
    "configs/demo/lifted_gan/no_identity.yaml": "configs/demo/lifted_gan.yaml",
    "configs/demo/lifted_gan/no_perturbation.yaml": "configs/demo/lifted_gan.yaml",
    "configs/demo/pie/direct.yaml": "configs/demo/pie.yaml",
    "configs/demo/pie/fast.yaml": "configs/demo/pie.yaml",
    "configs/demo/pie/image2stylegan.yaml": "configs/demo/pie.yaml",
    "configs/demo/pie/published.yaml": "configs/demo/pie.yaml",
    "configs/demo/pie/published_schedule.yaml": "configs/demo/pie.yaml",
    "configs/demo/pie/synthesis.yaml": "configs/demo/pie.yaml",
    "configs/demo/pie/synthesis_modification.yaml": "configs/demo/pie.yaml",
    "configs/demo/pie/synthesis_recognition.yaml": "configs/demo/pie.yaml",
    "configs/demo/read_from_pictures.yaml": "configs/demo/stylerig_pose.yaml",
}
