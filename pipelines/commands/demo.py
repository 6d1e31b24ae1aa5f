"""`vividpose demo`: a page to try the model."""

from __future__ import annotations

import argparse
from pathlib import Path

from pipelines.commands import Commands
from pipelines.commands.tell import tell


def add(commands: Commands) -> None:
    demo = commands.add_parser(
        "demo",
        help="a page to try the model, on this machine",
        description="Serves a page on this machine: upload a picture and a video, look at the preview, make the video.",
    )
    demo.add_argument("--model", help="a VividPose folder, or tiny (default)")
    demo.add_argument("--encoders", help="the folder with vae/ and image_encoder/, where the model has none")
    demo.add_argument("--port", type=int, default=8766, help="default: 8766; 0 takes a free one")
    demo.add_argument("--max-upload-mb", type=int, default=200, help="largest file that is taken (default: 200)")
    demo.add_argument("--keep", type=Path, help="an existing folder for uploads and results (default: a temporary one)")
    demo.add_argument("--memory", help="auto (default), or the GB to plan for")
    demo.add_argument("--profile", choices=("auto", "lite", "full"), help="which estimators (default: auto)")
    demo.add_argument("--config", type=Path, help="a YAML file of settings")
    demo.add_argument("--set", action="append", default=[], metavar="A.B=VALUE", help="one setting; may be repeated")
    demo.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    from rich.console import Console

    from pipelines.animate.demo_serve import serve
    from pipelines.commands.animate import settings_of
    from pipelines.engine.setup_error import SetupError
    from pipelines.settings import BadSettings

    console = Console(stderr=True)
    try:
        options.executor = "inline"
        serve(
            settings_of(options),
            options.port,
            options.max_upload_mb << 20,
            lambda t: print(t, flush=True),
            options.keep,
        )
    except (BadSettings, OSError, SetupError) as error:
        tell(console, f"error: {error}", style="red")
        return 1
    return 0
