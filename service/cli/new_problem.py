"""`deceptron new-problem`: a package with everything a problem of one's own needs, ready to train."""

import re
from importlib.resources import files
from pathlib import Path
from string import Template

import click

LAYOUT = {
    "pyproject.toml": "pyproject.toml",
    "README.md": "README.md",
    "physics.py": "{package}/physics.py",
    "recipe.py": "{package}/recipe.py",
    "test_physics.py": "tests/test_physics.py",
}
"""Template -> where it goes in the new package."""


@click.command("new-problem")
@click.argument("name")
@click.option("--title", help="One line for people.  [the name]")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), default=Path(), help="Make NAME/ in there.")
def new_problem(name: str, title: str | None, out: Path) -> None:
    """Make a package NAME/ for a problem of your own; it trains and serves as it is, and says what to change."""
    if not re.fullmatch("[a-z][a-z0-9_]{0,40}", name):
        raise click.UsageError(f"{name!r}: take a short name of lower-case letters, digits and _, as heat1d")
    if title is not None and not re.fullmatch(r'[^"\\\n]{1,100}', title):
        raise click.UsageError("--title: one line of at most 100 characters, without quotes and backslashes")
    made = write_package(out / name, name, title or name)
    for path in made:
        click.echo(f"made {path}")
    click.echo(f"next: put your equation into {made[2]}, then see {out / name / 'README.md'}")


def write_package(folder: Path, name: str, title: str) -> list[Path]:
    """Writes the files and returns them. Raises ClickException rather than touch a folder that has something in it."""
    if folder.exists() and any(folder.iterdir()):
        raise click.ClickException(f"{folder} is not empty; choose another name or folder")
    package, templates = f"{name}_problem", files("service.cli") / "template"
    made = []
    for template, target in LAYOUT.items():
        path = folder / target.format(package=package)
        path.parent.mkdir(parents=True, exist_ok=True)
        text = (templates / f"{template}.txt").read_text()
        path.write_text(Template(text).substitute(name=name, package=package, title=title))
        made.append(path)
    (folder / package / "__init__.py").write_text("")
    return made
