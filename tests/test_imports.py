"""Imports point one way: what the parts of the package may know of each other."""

from __future__ import annotations

import ast
import graphlib
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import batch

PACKAGE = Path(batch.__file__).parent

#: What makes the command line slow to start; loaded by the commands that need it, when they do.
HEAVY = ("aiohttp", "anyio", "httpx", "numpy", "orjson", "pandas", "phonenumbers", "pydantic", "tqdm", "yaml")


@cache
def modules() -> dict[str, Path]:
    """Every module of the package by its name."""
    found = {}
    for path in PACKAGE.rglob("*.py"):
        name = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
        found[name.removesuffix(".__init__")] = path
    return found


def imports(node: ast.AST, *, in_functions: bool = True) -> Iterator[str]:
    """What is imported when the program runs: not what only type checkers look at."""
    for child in ast.iter_child_nodes(node):
        match child:
            case ast.If(test=ast.Name(id="TYPE_CHECKING")):
                continue
            case ast.FunctionDef() | ast.AsyncFunctionDef() if not in_functions:
                continue
            case ast.Import(names=names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(module=str(module), names=names):
                full = (f"{module}.{alias.name}" for alias in names)
                yield from (name if name in modules() else module for name in full)
            case _:
                yield from imports(child, in_functions=in_functions)


@cache
def graph() -> dict[str, frozenset[str]]:
    """Which modules of the package each of them imports, at any time."""
    return {
        name: frozenset(set(imports(ast.parse(path.read_text()))) & modules().keys() - {name})
        for name, path in modules().items()
    }


@cache
def reach(name: str) -> frozenset[str]:
    """All modules that a module comes to know of, directly or through others."""
    found: set[str] = set()
    new = set(graph()[name])
    while new:
        found |= new
        new = {further for known in new for further in graph()[known]} - found
    return frozenset(found)


def within(part: str) -> set[str]:
    """A module, or all modules of a package."""
    return {name for name in modules() if name == part or name.startswith(part + ".")}


def test_no_module_imports_itself_by_way_of_others() -> None:
    """There are no cycles, not even through imports inside of functions."""
    order = list(graphlib.TopologicalSorter(graph()).static_order())
    assert len(order) == len(modules())


def test_no_folder_imports_itself_by_way_of_others() -> None:
    """The same holds between folders: each can be understood by itself and what it stands on."""

    def folder(name: str) -> str:
        return ".".join(name.split(".")[:2])

    above: dict[str, set[str]] = {folder(name): set() for name in modules()}
    for name, imported in graph().items():
        above[folder(name)] |= {folder(one) for one in imported} - {folder(name)}
    assert len(list(graphlib.TopologicalSorter(above).static_order())) == len(above)


@pytest.mark.parametrize("one", ["batch.planning", "batch.runner", "batch.reporting"])
def test_planning_sending_and_reporting_meet_in_the_journal(one: str) -> None:
    """They never import each other: that is what makes resume and re-report free."""
    others = {"batch.planning", "batch.runner", "batch.reporting"} - {one}
    assert not reach(one) & others


@pytest.mark.parametrize(
    "part",
    ["batch.planning", "batch.runner", "batch.reporting", "batch.journal.sqlite", "batch.journal.memory"],
)
def test_what_does_the_work_knows_neither_the_api_nor_the_commands(part: str) -> None:
    """The engine knows nothing of Bland, of workspaces and of command lines."""
    above = (
        within("batch.bland") | within("batch.commands") | {"batch.cli", "batch.rollout", "batch.workspace"}
    )
    assert not reach(part) & above


def test_only_what_puts_the_parts_together_knows_the_api() -> None:
    """Commands, the destinations that they name, and the library's front know `batch.bland`; nobody else."""
    bland = within("batch.bland")
    who = {name for name, imported in graph().items() if imported & bland} - bland
    assert who <= within("batch.commands") | {"batch.destinations", "batch.library", "batch.rollout"}


def test_the_api_knows_only_the_words_that_all_share() -> None:
    """`batch.bland` translates: it needs no sheet, no plan's making, no journal and no engine."""
    known = {further for name in within("batch.bland") for further in reach(name)} - within("batch.bland")
    not_its_business = {
        further
        for part in ("commands", "planning", "reporting", "rollout", "runner", "sheets", "workspace")
        for further in within(f"batch.{part}")
    }
    assert not known & not_its_business


def test_nobody_imports_the_commands_but_the_command_line() -> None:
    """Library callers get all that the commands do without them."""
    commands = within("batch.commands")
    who = {name for name, imported in graph().items() if imported & commands} - commands
    assert who <= {"batch.cli"}
    assert {name for name, imported in graph().items() if "batch.cli" in imported} <= {"batch.__main__"}


def test_the_command_line_starts_with_nothing_but_click() -> None:
    """At module level it imports the standard library, click, the errors and the version."""
    tree = ast.parse(modules()["batch.cli"].read_text())
    found = {name.partition(".")[0] for name in imports(tree, in_functions=False)} - {"batch"}
    assert found <= {*sys.stdlib_module_names, "click"}
    ours = {name for name in imports(tree, in_functions=False) if name.startswith("batch")}
    assert ours <= {"batch.errors", "batch.version"}


@pytest.mark.parametrize("argument", ["--version", "--help"])
def test_nothing_heavy_is_loaded_to_say_who_one_is(argument: str) -> None:
    """`sipbatch --version` and `--help` load no data frames, no HTTP, no models, no event loop."""
    code = (
        "import sys, batch.cli\n"
        f"sys.argv = ['sipbatch', {argument!r}]\n"
        "try: batch.cli.main()\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        "print(*sorted({name.partition('.')[0] for name in sys.modules}), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert not set(done.stderr.split()) & set(HEAVY)


def test_a_module_is_called_for_what_it_holds() -> None:
    """A noun a file: nothing is called by what everything could be."""
    names = {name.rpartition(".")[2] for name in modules()}
    assert not names & {"utils", "util", "helpers", "helper", "common", "misc", "base", "core", "tools"}
