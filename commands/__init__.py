"""The verbs of the command line: one file and one typed function each."""

TRAINER_VERBS = {
    "fit": "train a model",
    "validate": "measure a model on its validation data",
    "test": "measure a model on its test data and draw what its config asks for",
    "predict": "write what a model predicts",
}
# Verb -> what it does. `commands/<verb>.py` holds the function of the same name, imported only when it is asked for.
COMMANDS = {
    "align": "cut the faces of photos out, upright and of one size",
    "calibrate": "measure how far each slider of a rig moves the picture, and the range it supports",
    "check": "look at a training run before it is started: files, shapes, licences, memory and time",
    "convert": "write a StyleGAN2 file in this project's format, or in rosinality's",
    "convert-face-model": "write a face model as one compact file that opens at once",
    "demo": "train and measure pose control on the shipped generator, and write a report",
    "directions": "find linear directions of a generator's codes along which yaw, pitch, smile or light change",
    "edit": "turn heads, change expressions, light and shape of generated portraits by trained rigs",
    "export": "write textured meshes of generated faces: glTF binary, Wavefront OBJ or PLY",
    "fit-faces": "fit a face model to thousands of generated or aligned pictures",
    "generate": "write pictures and codes of a generator by seed",
    "lift": "show codes or photos in three dimensions by LiftedGAN: views, light, maps, meshes, styles, videos",
    "render-face": "draw faces from coefficients, in the public BFM tools' camera",
    "render-portraits": "draw synthetic portraits with their true parameters",
    "report": "show runs side by side on one page: settings, metrics, figures, and what the paper claims",
    "views": "show codes as detailed faces from all sides, with other expressions and light, as pictures and videos",
}
