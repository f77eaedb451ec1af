"""The command line: its commands, and how errors become exit codes."""

from __future__ import annotations

import errno
import importlib.util
import os
import platform
import signal
import sys
from typing import NoReturn

import click

from gailbench import __version__
from gailbench.commands import bench, config, demos, expert, report, run, show, tasks, video
from gailbench.commands.options import EXIT_ERROR, EXIT_INTERRUPTED
from gailbench.commands.printing import prepare_streams, say
from gailbench.plumbing.errors import GailbenchError, first_line
from gailbench.plumbing.interrupts import STOP

EXIT_CODES = """\b
Exit codes: 0 success; 1 an error, named in one line; 2 wrong usage;
3 finished, but some runs failed; 130 interrupted after saving."""


@click.group(context_settings={"help_option_names": ["-h", "--help"], "show_default": True}, epilog=EXIT_CODES)
@click.version_option(__version__, prog_name="gailbench")
def cli() -> None:
    """Reproduce Generative Adversarial Imitation Learning (Ho & Ermon, 2016), cell by cell.

    \b
    Example: the cart-pole rows of the paper's table beside ours
      gailbench run --task cartpole
      gailbench report
    """


for _command in (
    tasks.tasks,
    expert.expert,
    demos.demos,
    run.run,
    report.report,
    show.show,
    video.video,
    config.config,
    bench.bench,
):
    cli.add_command(_command)


# Errors of the operating system when the machine's limits are reached, and what to do.
_OF_MACHINES = {
    errno.EMFILE: "raise the limit of open files (ulimit -n), or give fewer --jobs",
    errno.ENFILE: "close other programs, or raise the system's limit of open files",
    errno.EAGAIN: "no more processes may be started: raise the limit (ulimit -u), or give fewer --jobs",
    errno.ENOMEM: "not enough memory: give fewer --jobs",
}


def main() -> None:
    """The console script: every expected error becomes one line on stderr and its exit code."""
    prepare_streams()
    if importlib.util.find_spec("fcntl") is None:
        say(f"gailbench: runs on Linux and macOS, not on {platform.system()}; on Windows use WSL")
        sys.exit(EXIT_ERROR)
    # NumPy's matrix library reads this once, when it is loaded. A run uses one thread: small matrix products gain
    # nothing from more.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    # If the user has set MUJOCO_GL, importing MuJoCo loads that OpenGL library, which may be missing. Only
    # `gailbench video` renders; it gets the user's value through click's context object.
    opengl = os.environ.get("MUJOCO_GL")
    os.environ["MUJOCO_GL"] = "disabled"
    try:
        for number in STOP:  # where nothing has to be saved, a signal ends the command as Control-C does
            if signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, signal.default_int_handler)
        code = cli.main(standalone_mode=False, obj=opengl)
        sys.stdout.flush()
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        sys.exit(error.exit_code)
    except click.UsageError as error:
        where = f" (see '{error.ctx.command_path} --help')" if error.ctx else ""
        message = error.format_message().replace("\n\t", " ")  # click puts each choice on a line of its own
        say(f"gailbench: {message}{where}")
        sys.exit(error.exit_code)
    except click.ClickException as error:
        say(f"gailbench: {error.format_message()}")
        sys.exit(error.exit_code)
    except GailbenchError as error:
        say(f"gailbench: {error}")
        sys.exit(EXIT_ERROR)
    except (KeyboardInterrupt, click.Abort):
        say("gailbench: interrupted")
        sys.exit(EXIT_INTERRUPTED)
    except BrokenPipeError:
        _leave_quietly()
    except OSError as error:
        if error.filename is not None:
            say(f"gailbench: {error.filename}: {error.strerror}")
            sys.exit(EXIT_ERROR)
        if error.errno is None:  # from ctypes, with which MuJoCo loads its plugins
            _no_library(error)
        if error.errno in _OF_MACHINES:
            say(f"gailbench: {error.strerror}; {_OF_MACHINES[error.errno]}")
            sys.exit(EXIT_ERROR)
        say(f"gailbench: cannot write to standard output: {error.strerror}")
        _leave_quietly()
    except ImportError as error:
        _no_library(error)
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "allocate memory" not in str(error):  # PyTorch's words
            raise
        say(f"gailbench: not enough memory ({first_line(error)}); give smaller values, or raise the limit (ulimit -v)")
        sys.exit(EXIT_ERROR)
    sys.exit(code if isinstance(code, int) else 0)


def _no_library(error: Exception) -> NoReturn:
    """Exit with an error when a library cannot be loaded."""
    say(f"gailbench: cannot load a library ({first_line(error)}); memory is limited, or the installation is broken")
    sys.exit(EXIT_ERROR)


def _leave_quietly() -> None:
    """Exit with an error when standard output is closed. Python would otherwise try to flush it again and fail."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(EXIT_ERROR)
