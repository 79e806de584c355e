"""Roll-outs by the plain dense step, one call a step: what every faster way must equal."""

import jax.numpy as jnp
import numpy as np

from nca import edits as nca_edits
from nca.rollout import replay


def plain_states(body, steps, *, key=None, fire=None, state=None, start=0, edits=()):
    """All states as `trajectory` shows them, by replaying densely from one to the next."""
    state = body.initial_state() if state is None else jnp.asarray(state)
    later = [e if e.site != "state" else e.at(2**30) for e in edits]
    states = []
    for i in range(steps):
        state = nca_edits.apply(edits, "state", state, start + i, key)
        states.append(np.asarray(state))
        at = {"key": key} if fire is None else {"fire": fire[i]}
        state = replay(body, state, start + i, edits=later, **at)["next"]
    lasting = [e for e in edits if e.mode in ("set", "follow")]
    states.append(np.asarray(nca_edits.apply(lasting, "state", state, start + steps, key)))
    return np.stack(states)
