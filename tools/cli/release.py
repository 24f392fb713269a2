"""The commands release and release verify."""

from pathlib import Path
from typing import Annotated

import typer

from exporters import FORMATS
from rvm_model import __version__
from tools.cli.options import (
    CHECKPOINT,
    CODE_WARNING,
    JOBS,
    OUTPUT,
    ClipOption,
    FramesOption,
    TrustOption,
    app,
    given_by_user,
)

releases = typer.Typer(rich_markup_mode=None)
app.add_typer(releases, name="release")
ReleaseCheckpoint = Annotated[
    list[str] | None,
    typer.Option(
        *CHECKPOINT,
        metavar="[VARIANT=]PATH|official|seeded|auto",
        help="Weights; repeatable, one for each variant. Default: auto.",
    ),
]
ReleaseJobs = Annotated[
    int | None, typer.Option(*JOBS, metavar="N", min=1, help="Files to make at a time. Default: by cores and memory.")
]
ReleaseCluster = Annotated[
    str | None, typer.Option(metavar="ADDRESS", help="Run on a Dask cluster whose workers share the folder.")
]
SignOption = Annotated[
    str | None,
    typer.Option(metavar="KEY.pem|keyless", help="Sign it with a private key, or as the CI that runs this (Sigstore)."),
]
ReleasedCheckpoint = Annotated[
    list[str] | None,
    typer.Option(
        *CHECKPOINT,
        metavar="[VARIANT=]PATH|official|seeded",
        help="Weights that the files hold; repeatable, one for each variant. Needed if the release was made of other "
        "weights than the official ones or seeded.",
    ),
]
CheckJobs = Annotated[
    int | None, typer.Option(*JOBS, metavar="N", min=1, help="Files to play at a time. Default: by cores and memory.")
]
NoPlayOption = Annotated[
    bool,
    typer.Option("--no-play", help="Check manifest, sums, signature, SBOM and scan alone. Needs no PyTorch."),
]


@releases.callback(
    invoke_without_command=True,
    short_help="Make, prove and describe a whole set of files.",
    help="Make the whole set of files, prove each, and write manifest, sums, model cards and a report. Run it again to "
    "resume: finished files of the same weights and options are kept, the rest are made. Prints the files' paths. "
    "Exits with 1 if a file could not be made; the others are written.",
)
def release(
    context: typer.Context,
    checkpoint: ReleaseCheckpoint = None,
    output: Annotated[Path, typer.Option(*OUTPUT, metavar="DIR", help="Folder to write to.")] = Path("dist"),
    only: Annotated[
        list[str] | None, typer.Option(metavar="|".join(FORMATS), help="Make only this format; repeatable.")
    ] = None,
    light: Annotated[bool, typer.Option("--light", help="Make the small set: MobileNetV3, a few files.")] = False,
    clip: ClipOption = None,
    frames: FramesOption = None,
    jobs: ReleaseJobs = None,
    cluster: ReleaseCluster = None,
    version: Annotated[str, typer.Option(metavar="V", help="Version of the release, for its manifest.")] = __version__,
    trust: TrustOption = False,
    check_reproducible: Annotated[
        bool, typer.Option("--check-reproducible", help="Make the release a second time, and compare every byte.")
    ] = False,
    sign: SignOption = None,
    certificate: Annotated[
        Path | None,
        typer.Option(metavar="FILE.pem", help="The key's certificate, and behind it those of its issuers, for --sign."),
    ] = None,
) -> None:
    if context.invoked_subcommand is not None:
        given = [name for name in context.params if given_by_user(context, name)]
        if given:
            raise typer.BadParameter(f"--{given[0].replace('_', '-')} goes behind {context.invoked_subcommand}")
        return
    from tools.release import command

    raise typer.Exit(
        command.release(
            command.ReleaseOptions(
                out=output,
                checkpoints=tuple(checkpoint or ()),
                trust=trust,
                clip=clip,
                frames=frames,
                jobs=jobs,
                cluster=cluster,
            ),
            command.SigningOptions(sign=sign, certificates=certificate),
            only=only or [],
            light=light,
            version=version,
            check_reproducible=check_reproducible,
        )
    )


@releases.command(
    "verify",
    short_help="Check a release: sums, signature, metadata, parity.",
    help="Check a release: its manifest, sums, signature, SBOM and scan, then the files' formats, metadata, and parity "
    "with PyTorch. "
    "A signature is demanded if --key, --certificate or --identity says whose. Nothing goes over the network but the "
    f"official weights. Exits with 1 if anything differs. {CODE_WARNING}",
)
def verify_release(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The release's folder.")],
    checkpoint: ReleasedCheckpoint = None,
    clip: ClipOption = None,
    frames: FramesOption = None,
    jobs: CheckJobs = None,
    cluster: ReleaseCluster = None,
    trust: TrustOption = False,
    key: Annotated[
        Path | None, typer.Option(metavar="FILE.pem", help="Demand a signature by this public key's owner.")
    ] = None,
    certificate: Annotated[
        Path | None,
        typer.Option(metavar="FILE.pem", help="Demand a signature by a certificate of one of these authorities."),
    ] = None,
    identity: Annotated[
        str | None, typer.Option(metavar="ID", help="Demand a keyless signature by this identity, such as a workflow.")
    ] = None,
    issuer: Annotated[
        str | None, typer.Option(metavar="URL", help="The issuer of the identity. Default: GitHub's workflows.")
    ] = None,
    no_play: NoPlayOption = False,
) -> None:
    if no_play:
        for name in ("checkpoint", "clip", "frames", "jobs", "cluster", "trust"):
            if given_by_user(context, name):
                raise typer.BadParameter(f"--{name} is not for --no-play, which opens no model; leave it out")
    from tools.release import command

    options = command.ReleaseOptions(
        out=folder,
        checkpoints=tuple(checkpoint or ()),
        trust=trust,
        clip=clip,
        frames=frames,
        jobs=jobs,
        cluster=cluster,
    )
    signing = command.SigningOptions(key=key, certificates=certificate, identity=identity, issuer=issuer)
    raise typer.Exit(command.verify(options, signing, play=not no_play))
