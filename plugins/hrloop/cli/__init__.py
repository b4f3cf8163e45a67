"""The `hrloop` command."""
import typer
app = typer.Typer()
