"""Ray: `start_on_ray` asks a running cluster to start one agent on each node."""

import os
from importlib.util import find_spec

from gpubench.core.errors import UsageError
from gpubench.protocol import start_module
from gpubench.runner.engines.engine import Asked, Starter


def start(asked: Asked) -> Starter:
    """Ray's own RAY_ADDRESS selects the cluster. UsageError if ray is not installed."""
    if find_spec("ray") is None:
        raise UsageError("the engine ray needs the package ray", hint="pip install 'gpubench[ray]'")
    names = ",".join(asked.variables)
    command = start_module.command("gpubench.runner.engines.start_on_ray", str(asked.num_nodes), names, *asked.command)
    return Starter("ray", command, asked, os.environ)
