"""Organisms in other programs' files: read, interpreted, checked, and written back.

    containers                 any file -> named arrays and what else the file says
    torch, onnx, tensorflow    kinds of file with a module of their own: reader and, if any, writer
    untrusted, protobuf        bounds that hold for every file, and the encoding that two kinds share
    layers                     named arrays -> the layers of a network and its perception kernels
    conventions                what files do not say: one record with the source of each field, and presets
    features                   layers under conventions -> a `Rule`
    importing                  file -> organism
    probe                      open conventions, tried by growth
    reference                  comparison with states that another program made
    export                     organism -> npz, torch, web JSON, ONNX

No code in a file is run, and no size that a file claims is believed before it is checked.
"""
