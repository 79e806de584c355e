"""Programs as they would be handed to a GPU, made where there is none."""

import contextlib

import jax


def for_gpu(function, *arguments):
    """The program of a function for an NVIDIA H100, as text."""
    leaves, structure = jax.tree.flatten(arguments)

    def flat(*leaves):
        return jax.tree.leaves(function(*jax.tree.unflatten(structure, leaves)))

    with _hopper():
        return jax.jit(flat).trace(*leaves).lower(lowering_platforms=("cuda",)).as_text()


def _hopper():
    """From jax 0.11 on, a GPU that is not there has to be described."""
    abstract_device = getattr(jax.sharding, "AbstractDevice", None)
    if abstract_device is None or jax.default_backend() == "gpu":
        return contextlib.nullcontext()
    device = abstract_device(device_kind="NVIDIA H100 80GB HBM3", num_cores=132, platform="gpu")
    return jax.sharding.use_abstract_mesh(jax.sharding.AbstractMesh((), (), abstract_device=device))
