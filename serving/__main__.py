"""`python -m serving` is `desed-task serve`."""

from desed_task.command_line import run_recipe
from serving.server import serve

run_recipe(serve)
