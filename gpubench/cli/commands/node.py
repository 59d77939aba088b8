"""`gpubench node`: lets a run elsewhere measure on this machine."""

import rich_click as click


@click.command(name="node")
@click.option("--connect", required=True, metavar="HOST:PORT", help="Where the run waits for its nodes.")
@click.option(
    "--node",
    type=click.IntRange(0),
    metavar="N",
    help="The number of this node, from 0 (default: what Slurm, MPI or the pod's environment says, or any).",
)
@click.option("--per-card", is_flag=True, help="Serve as one node for each GPU, which a fleet needs.")
def command(connect: str, node: int | None, *, per_card: bool) -> None:
    """Serve one run as one of its nodes, until the run ends.

    Engines (`gpubench run --engine slurm`) start this command on every node; run it by hand on machines that no engine
    reaches. The environment variable GPUBENCH_NODE_KEY must hold the run's key. Every node needs the same gpubench and
    torch as the run.

    \b
    Examples:
      GPUBENCH_NODE_KEY=... gpubench node --connect 10.0.0.1:29400
    """  # noqa: D301 - click looks for the character itself
    from gpubench.runner.nodes.addresses import split_address
    from gpubench.runner.nodes.agent import serve_cards, serve_run

    (serve_cards if per_card else serve_run)(*split_address(connect), node)
