"""The layers: who may import whom, which packages stand where, and what every file looks like.

Every .py file of the three packages is read with `ast`, so nothing is imported and a file that cannot run is still
checked. Arrows run downward; files of one floor do not import one another, files of one package may, but not in
circles. A module that is in no floor of the table below fails: whoever adds one says where it stands. The checks
themselves are checked at the end, each on a small tree that breaks one rule.

Two places differ from a first reading of the table of columns: `scores` is a value, below `formats`, which reads and
writes it; in the torch column only `prediction` may touch it. And `clips` is a floor above `events`, which it holds.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pytest

# Modules and packages of desed_task, lowest floor first.
COLUMNS: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "values": (
        ("errors",),
        ("options", "audio", "command_line"),
        ("labels", "events", "timeline", "options_page"),
        ("clips",),
        ("encoding", "decoding", "labelling", "soundscapes", "scores"),
        ("formats",),
    ),
    "numpy": (
        ("window_cutter", "frame_stitcher", "clip_pooling", "onnx_runtime"),
        ("windowing", "chunking"),
        ("views", "graph_contract", "postprocessing"),
        ("metrics",),
        ("submission", "bundle"),
        ("hearing", "sessions"),
        ("graph_runs",),
        ("detector",),
    ),
    "torch": (
        ("batch",),
        ("features",),
        ("models", "augment"),
        ("embeddings",),
        ("data",),
        ("prediction",),
        ("training",),
    ),
    "roof": (
        ("published", "variants"),
        ("embedders",),
        ("system", "parity"),
        ("export", "experiment", "tagging", "archive"),
        ("listening",),
        ("runs",),
    ),
}
BELOW = {"values": (), "numpy": ("values",), "torch": ("values",), "roof": ("values", "numpy", "torch")}
FLOOR_OF = {
    unit: (column, height)
    for column, floors in COLUMNS.items()
    for height, floor in enumerate(floors)
    for unit in floor
}
TORCH_COLUMN = {unit for floor in COLUMNS["torch"] for unit in floor}
# The one file of the torch column that makes Scores.
MEETING_POINT, MEETS = "prediction", ("scores", "clip_pooling", "windowing", "chunking", "views")
OPEN_TO_SERVING = {unit for floor in COLUMNS["values"] for unit in floor} | {
    "postprocessing",
    "bundle",
    "hearing",
    "detector",
}

ONLY_IN = {
    "numba": "desed_task.metrics.curves",
    "onnxruntime": "desed_task.onnx_runtime",
    **dict.fromkeys(
        ("pandas", "psds_eval", "sed_eval", "dcase_util", "sed_scores_eval"), "desed_task.metrics.reference"
    ),
}
TRAINING_PACKAGES = {
    *("torch", "torchaudio", "torchvision", "torchmetrics", "pytorch_lightning", "lightning", "codecarbon", "scipy"),
    *("librosa", "sklearn"),
}
TAG_VERB = "serving.tag.tagging"
# What the parts of serving may see of it; the files beside them (server, cli, ...) may see everything.
SERVING_BASE = {"errors", "settings", "metrics"}
SERVING_SEES = {
    "inference": {"inference", *SERVING_BASE},
    "http": {"http", "inference", *SERVING_BASE},
    "tag": {"tag"},
    "client": {"client"},
    **dict.fromkeys(SERVING_BASE, SERVING_BASE),
}
HTTP_PACKAGES = {"fastapi", "starlette", "uvicorn", "h11", "httptools", "httpx", "multipart", "python_multipart"}

PACKAGES = ("desed_task", "serving", "recipes")
TOP_LEVEL = {
    *("README.md", "LICENSE", "Makefile", "pyproject.toml", "constraints.txt", "Dockerfile", ".dockerignore"),
    *(".gitignore", ".ci", "docs", "benchmarks", "confs", *PACKAGES, "tests"),
}
MAX_LINES = 450
NAMES_OF_NOTHING = {"utils", "util", "helpers", "common", "misc"}
VAGUE_VERBS = ("get_", "process_", "handle_", "do_")


@dataclass(frozen=True)
class Module:
    """One file: its dotted name, its text, and its syntax tree."""

    name: str
    text: str
    is_package: bool

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text)

    @property
    def package(self) -> str:
        return self.name.partition(".")[0]

    @property
    def unit(self) -> str:
        """What stands on a floor: the file or folder right below desed_task; empty for desed_task itself."""
        return unit_of(self.name)


Modules = Mapping[str, Module]
Check = Callable[[Modules], Iterator[str]]


def unit_of(name: str) -> str:
    return name.split(".")[1] if name.count(".") else ""


def read_modules(root: Path) -> Modules:
    modules = {}
    for path in sorted(path for package in PACKAGES for path in (root / package).rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        is_package = parts[-1] == "__init__"
        name = ".".join(parts[:-1] if is_package else parts)
        modules[name] = Module(name, path.read_text(encoding="utf-8"), is_package)
    return modules


def imports(module: Module, modules: Modules) -> Iterator[str]:
    """Everything imported anywhere in the file: a module of ours by its full name, else what the statement says."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = absolute(module, node)
            for alias in node.names:
                full = f"{base}.{alias.name}"
                yield full if full in modules or base == "desed_task" else base
        elif isinstance(node, ast.Call) and called_name(node) in ("import_module", "__import__"):
            yield from (str(word.value) for word in node.args[:1] if isinstance(word, ast.Constant))


def absolute(module: Module, node: ast.ImportFrom) -> str:
    if not node.level:
        return node.module or ""
    parents = module.name.split(".")
    kept = parents[: len(parents) - node.level + (1 if module.is_package else 0)]
    return ".".join([*kept, *((node.module,) if node.module else ())])


def called_name(call: ast.Call) -> str:
    return getattr(call.func, "id", getattr(call.func, "attr", ""))


def our_imports(module: Module, modules: Modules) -> set[str]:
    return {name for name in imports(module, modules) if name.partition(".")[0] in PACKAGES}


def check_placed(modules: Modules) -> Iterator[str]:
    for unit in sorted({module.unit for module in modules.values() if module.package == "desed_task"} - {""}):
        if unit not in FLOOR_OF:
            yield f"desed_task.{unit} is on no floor; place it in COLUMNS of tests/test_architecture.py"


def check_arrows(modules: Modules) -> Iterator[str]:
    for module in modules.values():
        for imported in sorted(our_imports(module, modules)):
            reason = refusal(module, imported)
            if reason:
                yield f"{module.name} imports {imported}: {reason}"


def refusal(module: Module, imported: str) -> str | None:
    """Why `module` may not import `imported`, or None."""
    target, unit = imported.partition(".")[0], unit_of(imported)
    if module.package == "recipes":
        return None if target == "desed_task" else "recipes import desed_task, never serving or another recipe"
    if module.package == "serving":
        if target == "serving":
            return serving_refusal(module.unit, unit)
        return (
            None
            if unit in OPEN_TO_SERVING
            else "serving sees values, formats, postprocessing, bundle and detector only"
        )
    if target != "desed_task":
        return "desed_task does not know serving or recipes"
    if module.unit == unit or module.unit not in FLOOR_OF or unit not in FLOOR_OF:
        return None
    return floor_refusal(module.unit, unit)


def serving_refusal(part: str, imported: str) -> str | None:
    sees = SERVING_SEES.get(part)
    return (
        None if sees is None or imported in sees or not imported else f"serving.{part} does not see serving.{imported}"
    )


def floor_refusal(importer: str, imported: str) -> str | None:
    (column, height), (other_column, other_height) = FLOOR_OF[importer], FLOOR_OF[imported]
    if column == "torch" and imported in MEETS:
        return None if importer == MEETING_POINT else f"in the torch column only {MEETING_POINT} touches {imported}"
    if other_column in BELOW[column] or (column == other_column and other_height < height):
        return None
    if column == other_column and height == other_height:
        return "siblings of one floor do not import one another"
    return f"arrows run downward, and {imported} ({other_column}) is not below {importer} ({column})"


def check_circles(modules: Modules) -> Iterator[str]:
    """One circle for each file that closes one, found depth first."""
    finished: set[str] = set()

    def visit(name: str, way: list[str]) -> Iterator[str]:
        if name in way:
            yield "circle: " + " -> ".join([*way[way.index(name) :], name])
        elif name not in finished:
            for imported in sorted(our_imports(modules[name], modules) & modules.keys()):
                yield from visit(imported, [*way, name])
            finished.add(name)

    for name in modules:
        yield from visit(name, [])


def check_third_party(modules: Modules) -> Iterator[str]:
    for module in modules.values():
        for package in sorted({name.partition(".")[0] for name in imports(module, modules)}):
            home = ONLY_IN.get(package)
            if home is not None and module.name != home and not module.name.startswith(f"{home}."):
                yield f"{module.name} imports {package}, which belongs in {home} alone"
            if package in TRAINING_PACKAGES and without_torch(module):
                yield f"{module.name} imports {package}, which only the torch column and the roof may"


def without_torch(module: Module) -> bool:
    column = FLOOR_OF.get(module.unit, ("", 0))[0] if module.package == "desed_task" else module.package
    return column in ("values", "numpy", "serving")


def reached_from(names: Iterable[str], modules: Modules) -> list[str]:
    """The modules of ours that these reach step by step, themselves among them, sorted."""
    reached: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name in reached or name not in modules:
            continue
        reached.add(name)
        waiting.extend(our_imports(modules[name], modules))
    return sorted(reached)


def check_serving_reach(modules: Modules) -> Iterator[str]:
    """What serving reaches, step by step, holds nothing of the torch column or the roof."""
    for name in reached_from((name for name, module in modules.items() if module.package == "serving"), modules):
        if name.startswith("desed_task.") and FLOOR_OF.get(unit_of(name), ("",))[0] in ("torch", "roof"):
            yield f"serving reaches {name}"


def check_tag_without_http(modules: Modules) -> Iterator[str]:
    """What the verb `tag` reaches, step by step, imports nothing of HTTP."""
    for name in reached_from([TAG_VERB], modules):
        for package in sorted(
            {imported.partition(".")[0] for imported in imports(modules[name], modules)} & HTTP_PACKAGES
        ):
            yield f"{TAG_VERB} reaches {name}, which imports {package}"


def check_root_package(modules: Modules) -> Iterator[str]:
    root = modules.get("desed_task")
    if root is not None and list(imports(root, modules)):
        yield "desed_task/__init__.py imports something; importing the package must cost nothing"


def check_names(modules: Modules) -> Iterator[str]:
    for module in modules.values():
        last = module.name.rpartition(".")[2]
        if last in NAMES_OF_NOTHING:
            yield f"{module.name}: name the file after what it holds"
        if module.package != "desed_task":
            continue
        for node in ast.walk(module.tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith(VAGUE_VERBS):
                yield f"{module.name}.{node.name}: use read_, load_, build_, encode_, predict, detect or evaluate"


def check_shape(modules: Modules) -> Iterator[str]:
    for module in modules.values():
        if module.text.strip() and not ast.get_docstring(module.tree):
            yield f"{module.name} has no docstring that says what it is for"
        lines = module.text.count("\n")
        if lines > MAX_LINES:
            yield f"{module.name} has {lines} lines, more than {MAX_LINES}; it tells two stories"
        if module.package == "desed_task" and module.unit != "command_line":
            for node in ast.walk(module.tree):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print":
                    yield f"{module.name}, line {node.lineno}: print belongs in recipes and command_line"


def check_top_level(names: Iterable[str]) -> Iterator[str]:
    for name in sorted(set(names) - TOP_LEVEL):
        yield f"{name} stands at the top of the repository, where the design has no place for it"


CHECKS: tuple[Check, ...] = (
    *(check_placed, check_arrows, check_circles, check_third_party, check_serving_reach),
    *(check_tag_without_http, check_root_package, check_names, check_shape),
)


# The repository itself.


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__.removeprefix("check_"))
def test_the_repository_keeps_to_its_design(check: Check, project: Path) -> None:
    faults = list(check(read_modules(project)))
    assert faults == []


def test_the_top_of_the_repository_is_what_the_design_says(project: Path) -> None:
    if not (project / ".git").exists():
        pytest.skip("not a git checkout, so what belongs to the repository is not known")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=project, capture_output=True, text=True, check=True).stdout
    assert not list(check_top_level(name.partition("/")[0] for name in listed.split("\0") if name))


# scale_out needs a package of its own extra; __main__ starts the server.
LOADED_BY_SERVING = """
import importlib, pathlib, sys
files = [path for path in sorted(pathlib.Path("serving").rglob("*.py")) if "client" not in path.parts]
names = ["desed_task.detector", *(".".join(path.with_suffix("").parts) for path in files)]
for name in names:
    if name.rpartition(".")[2] not in ("__init__", "__main__", "scale_out"):
        importlib.import_module(name)
print(*sorted(sys.modules))
"""


def test_importing_the_service_loads_nothing_of_training(project: Path) -> None:
    python = [sys.executable, "-c", LOADED_BY_SERVING]
    ran = subprocess.run(python, cwd=project, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    loaded = set(ran.stdout.split())
    assert not loaded & (TRAINING_PACKAGES | ONLY_IN.keys() - {"onnxruntime"})
    assert not {name for name in loaded if name.startswith("desed_task.") and unit_of(name) in TORCH_COLUMN}


# The checks: each on a tree that breaks one rule, and on one that breaks none.

SOUND = {
    "desed_task/__init__.py": "",
    "desed_task/errors.py": '"""E."""\n',
    "desed_task/labels.py": '"""L."""\nfrom desed_task.errors import DesedTaskError\n',
    "desed_task/metrics/curves.py": '"""C."""\nimport numba\n',
    "desed_task/metrics/reference.py": '"""R."""\nimport pandas\nfrom . import curves\n',
    "desed_task/prediction.py": '"""P."""\nimport torch\nfrom desed_task.scores import Scores\n',
    "desed_task/scores.py": '"""S."""\nfrom desed_task import labels\n',
    "recipes/evaluate.py": '"""E."""\nfrom desed_task.prediction import predict\nprint("recipes may print")\n',
    "serving/http/app.py": '"""A."""\nfrom serving.http.routes import router\n',
    "serving/http/routes.py": '"""R."""\nfrom desed_task.scores import Scores\nrouter = 1\n',
}
BROKEN: list[tuple[str, Check, str, str, str]] = [
    ("an import upward", check_arrows, "desed_task/errors.py", "import desed_task.labels", "arrows run downward"),
    (
        "upward, inside a function",
        check_arrows,
        "desed_task/errors.py",
        "def f():\n    from . import labels",
        "downward",
    ),
    ("a sibling", check_arrows, "desed_task/labels.py", "from desed_task.events import Event", "siblings"),
    ("the other column", check_arrows, "desed_task/batch.py", "from desed_task.metrics import psds", "not below"),
    (
        "scores in the torch column",
        check_arrows,
        "desed_task/training/step.py",
        "import desed_task.scores",
        "prediction",
    ),
    (
        "training knows metrics",
        check_arrows,
        "desed_task/training/step.py",
        "import desed_task.metrics.psds",
        "not below",
    ),
    (
        "a recipe imports a recipe",
        check_arrows,
        "recipes/tune.py",
        "from recipes.evaluate import main",
        "another recipe",
    ),
    (
        "a recipe imports serving",
        check_arrows,
        "recipes/tune.py",
        "import serving.http.app",
        "recipes import desed_task",
    ),
    ("serving sees a model", check_arrows, "serving/x.py", "from desed_task.models.crnn import CRNN", "serving sees"),
    (
        "the library knows serving",
        check_arrows,
        "desed_task/export.py",
        "import serving.http.app",
        "does not know serving",
    ),
    (
        "the engine knows HTTP",
        check_arrows,
        "serving/inference/x.py",
        "import serving.http",
        "does not see serving.http",
    ),
    ("a circle", check_circles, "desed_task/metrics/curves.py", "from desed_task.metrics import reference", "circle"),
    ("an unplaced module", check_placed, "desed_task/novelty.py", "", "desed_task.novelty is on no floor"),
    ("torch in a value", check_third_party, "desed_task/events.py", "import torch.nn", "only the torch column"),
    (
        "scipy in the numpy column",
        check_third_party,
        "desed_task/postprocessing/m.py",
        "import scipy",
        "only the torch",
    ),
    (
        "torch by its name",
        check_third_party,
        "serving/x.py",
        "import importlib\nimportlib.import_module('torch')",
        "torch",
    ),
    (
        "pandas elsewhere",
        check_third_party,
        "desed_task/metrics/collar.py",
        "import pandas as pd",
        "metrics.reference alone",
    ),
    (
        "numba elsewhere",
        check_third_party,
        "desed_task/training/x.py",
        "from numba import njit",
        "metrics.curves alone",
    ),
    (
        "serving reaches torch",
        check_serving_reach,
        "desed_task/detector.py",
        "import desed_task.batch",
        "serving reaches",
    ),
    (
        "the tag verb reaches HTTP",
        check_tag_without_http,
        "serving/tag/tagging.py",
        "def tag():\n    from serving import late",
        "serving.tag.tagging reaches serving.late, which imports fastapi",
    ),
    ("a package that is not free", check_root_package, "desed_task/__init__.py", "import numpy", "must cost nothing"),
    ("a file named utils", check_names, "desed_task/metrics/utils.py", "", "after what it holds"),
    ("a vague verb", check_names, "desed_task/scores.py", "def get_scores(): ...", "scores.get_scores: use read_"),
    ("a missing docstring", check_shape, "recipes/evaluate.py", "x = 1", "no docstring"),
    ("a long file", check_shape, "serving/http/app.py", "x = 1\n" * 451, "more than 450"),
    ("a print", check_shape, "desed_task/scores.py", "print(1)", "print belongs"),
]


def plant(root: Path, files: Mapping[str, str]) -> Modules:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return read_modules(root)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_a_sound_tree_has_no_faults(check: Check, tmp_path: Path) -> None:
    assert list(check(plant(tmp_path, SOUND))) == []


@pytest.mark.parametrize(
    ("check", "file", "source", "fault"), [row[1:] for row in BROKEN], ids=[row[0] for row in BROKEN]
)
def test_each_rule_bites(check: Check, file: str, source: str, fault: str, tmp_path: Path) -> None:
    docstring = "" if fault == "no docstring" else '"""D."""\n'
    tree = SOUND | {"desed_task/batch.py": '"""B."""\n', "serving/y.py": '"""Y."""\nimport desed_task.detector\n'}
    tree |= {"serving/late.py": '"""L."""\nfrom fastapi.routing import APIRoute\n'}
    faults = list(check(plant(tmp_path, tree | {file: docstring + source + "\n"})))
    assert len(faults) == 1
    assert fault in faults[0]


def test_a_folder_that_the_design_does_not_know_is_named() -> None:
    assert list(check_top_level(["README.md", "tests", "scripts"])) == [
        "scripts stands at the top of the repository, where the design has no place for it"
    ]
