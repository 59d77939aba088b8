"""`gpubench completion`: a shell script that completes commands, options, suites and runs."""

import rich_click as click


@click.command(name="completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def command(ctx: click.Context, shell: str) -> None:
    """Print the completion script of a shell.

    It completes commands, options, the suites that ship with gpubench, and stored runs.

    \b
    Examples:
      eval "$(gpubench completion bash)"      for this shell only
      gpubench completion bash > ~/.local/share/bash-completion/completions/gpubench
      gpubench completion zsh > ~/.zfunc/_gpubench
      gpubench completion fish > ~/.config/fish/completions/gpubench.fish
    """  # noqa: D301 - click looks for the character itself
    from click.shell_completion import get_completion_class

    complete = get_completion_class(shell)
    assert complete is not None, "click knows each shell of the choice"
    root = ctx.find_root()
    click.echo(complete(root.command, {}, "gpubench", "_GPUBENCH_COMPLETE").source())
