"""Organisms in other people's files: read, understood, checked, and written back.

    containers      any file -> named arrays (and what the file says besides); one module a format
    layers          named arrays -> the layers of a network and its perception kernels
    conventions     what files do not say: named options, presets, sidecar files
    features        layers under conventions -> a `Rule`, folded into the perception it knows
    probe           conventions that nobody said: tried, grown and compared
    reference       comparison with states that another program made
    export          organism -> npz, torch, web JSON, ONNX

No file's code is ever run, and no size that a file claims is believed before it is checked.
"""
