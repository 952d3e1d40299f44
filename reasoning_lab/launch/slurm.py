"""Cells as jobs of a SLURM cluster, by submitit: one array, after one job for what the cells share."""

import contextlib
import io
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reasoning_lab.artifacts.stopping import end_on_signals, saved_by
from reasoning_lab.launch.errors import ConfigError
from reasoning_lab.launch.lanes import Batch, Lanes
from reasoning_lab.launch.launchers import SlurmLauncher
from reasoning_lab.launch.status import slurm_job
from reasoning_lab.launch.sweep_folder import SentJob, Sweep, is_local

ASK_SECONDS = 30
"""Most time that SLURM's commands are waited for [s]."""
REQUEUING = ("SIGUSR1", "SIGUSR2")
"""What SLURM sends before a time limit or a preemption, after which the job is queued again."""
IS_OVER = ("CANCELLED", "COMPLETED", "FAILED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY", "BOOT_FAIL", "DEADLINE")


@dataclass(frozen=True)
class CellsJob:
    """What a job does: work off some cells, or, without any, build what all cells share."""

    folder: Path
    cells: tuple[int, ...]

    def __call__(self) -> None:
        """Called by submitit, also when the job was queued again: it goes on where it stood."""
        sweep = Sweep(self.folder)
        launcher = sweep.launcher
        assert isinstance(launcher, SlurmLauncher)
        lanes = Lanes(Batch(self.folder, self.cells, sweep.launching, launcher.processes, sweep.cwd))
        end_on_signals(lambda name: self._end(name, launcher))
        with saved_by(lanes.stop):
            if not self.cells:
                lanes.share()
            lanes.run()
        if lanes.is_stopped:  # By a cell that failed, where no other is to follow it.
            cancel([job.id for job in sweep.sent() if job.id != slurm_job()])

    def _end(self, name: str, launcher: SlurmLauncher) -> None:
        """Be queued again where SLURM warned of the end of the job's time, as often as the launcher allows."""
        job = slurm_job()
        if name not in REQUEUING or job is None:
            return
        file = self.folder / "submissions" / f"requeues-{job}"
        n = int(file.read_text()) if file.exists() else 0
        if n < launcher.max_num_timeout:
            file.write_text(str(n + 1))
            subprocess.run(["scontrol", "requeue", job], timeout=ASK_SECONDS, check=False)


def submit(sweep: Sweep, jobs: Sequence[Sequence[int]], is_shared: bool) -> list[SentJob]:
    """Submit the jobs' cells; with `is_shared` after a job that builds what they share. Writes down and gives where
    each was sent; ConfigError where SLURM refuses."""
    launcher = sweep.launcher
    assert isinstance(launcher, SlurmLauncher)
    sent = []
    parameters = _parameters(launcher)
    if is_shared:
        (first,) = _submit(
            sweep.folder, [CellsJob(sweep.folder, ())], parameters | {"job_name": f"{launcher.name}-shared"}
        )
        sent.append(SentJob(first, ()))
        after = {"dependency": f"afterany:{first}"}
        parameters["additional_parameters"] = parameters["additional_parameters"] | after
    ids = _submit(sweep.folder, [CellsJob(sweep.folder, tuple(cells)) for cells in jobs], parameters)
    sent += [SentJob(job, tuple(cells)) for job, cells in zip(ids, jobs, strict=True)]
    sweep.note_sent(sent)
    return sent


def _submit(folder: Path, calls: Sequence[CellsJob], parameters: dict[str, Any]) -> list[str]:
    import submitit
    from submitit.core.utils import FailedJobError

    try:
        # What sbatch says, submitit prints as well.
        with contextlib.redirect_stderr(io.StringIO()):
            executor = submitit.SlurmExecutor(folder / ".submitit" / "%j", max_num_timeout=0)
            executor.update_parameters(**parameters)
            jobs = [executor.submit(calls[0])] if len(calls) == 1 else executor.map_array(CellsJob.__call__, calls)
            return [job.job_id for job in jobs]
    except (FailedJobError, RuntimeError, OSError, ValueError) as error:
        raise ConfigError(f"SLURM took no job: {_last_line(error)}") from error


def _last_line(error: BaseException) -> str:
    """What sbatch said, out of submitit's message."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = [line for line in lines if line.startswith("sbatch: error")]
    return (told or lines or [type(error).__name__])[-1]


def _parameters(launcher: SlurmLauncher) -> dict[str, Any]:
    """Of submitit's executor."""
    given = {
        "job_name": launcher.name,
        "partition": launcher.partition,
        "account": launcher.account,
        "qos": launcher.qos,
        "constraint": launcher.constraint,
        "nodes": launcher.nodes,
        "ntasks_per_node": launcher.tasks_per_node,
        "gpus_per_node": launcher.gpus_per_node,
        "cpus_per_task": launcher.cpus_per_task,
        "mem": f"{launcher.mem_gb:g}GB" if launcher.mem_gb else None,
        "time": launcher.timeout_min,
        "signal_delay_s": launcher.signal_delay_s,
        "array_parallelism": launcher.array_parallelism,
        "setup": list(launcher.setup) if launcher.setup else None,
    }
    extra = {"requeue": True} | launcher.additional_parameters
    return {key: value for key, value in given.items() if value is not None} | {"additional_parameters": extra}


def slurm_fault() -> str | None:
    """Why no job can be handed to SLURM from here, in one line; None where its controller answers."""
    if shutil.which("sbatch") is None:
        return "hydra/launcher=slurm: sbatch is not on this machine; submit from a login node, or choose local."
    command = ["scontrol", "ping"] if shutil.which("scontrol") else ["sinfo", "-h"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=ASK_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        said = f"no answer in {ASK_SECONDS} s"
    except OSError as error:
        said = str(error)
    else:
        answer = " ".join((done.stdout + " " + done.stderr).split())
        if done.returncode == 0 and (command[0] == "sinfo" or " UP" in f" {answer}".upper()):
            return None
        said = answer[:200] or f"exit status {done.returncode}"
    return (
        f"hydra/launcher=slurm: sbatch reaches no controller (`{' '.join(command)}`: {said}); check SLURM_CONF and the "
        "network, or choose hydra/launcher=local."
    )


# -- from any terminal -------------------------------------------------------------------------------------------------


def ask_queue(ids: Sequence[str]) -> dict[str, tuple[str, str]] | None:
    """By id (queued or running, SLURM's reason) of the jobs that are not over; None where SLURM can't be asked."""
    if not ids:
        return {}
    wanted = ",".join(sorted({id.partition("_")[0] for id in ids}))
    # Without -r an array's waiting jobs would be one line.
    done = _ask(["squeue", "-h", "-r", "-o", "%i|%T|%r", "-j", wanted])
    if done is None:
        return None
    if done.returncode and "Invalid job id" in done.stderr:  # All are over, for longer than SLURM remembers.
        return {}
    if done.returncode:
        return None
    found = {}
    for line in done.stdout.splitlines():
        id, state, reason = line.strip().split("|", 2)
        if state not in IS_OVER:
            is_queued = state in ("PENDING", "REQUEUED", "REQUEUE_HOLD", "SUSPENDED", "RESV_DEL_HOLD")
            found[id] = ("queued" if is_queued else "running", f"{state.lower()}: {reason}")
    return found


def cancel(ids: Sequence[str]) -> None:
    """Cancel jobs; those that are over stay so. ConfigError where SLURM can't be told."""
    if not (jobs := [id for id in ids if not is_local(id)]):
        return
    done = _ask(["scancel", *jobs])
    if done is None or (done.returncode and "Invalid job id" not in done.stderr):
        raise ConfigError(f"scancel: {done.stderr.strip() if done else 'not to be had here'}")


def _ask(command: list[str]) -> subprocess.CompletedProcess[str] | None:
    if shutil.which(command[0]) is None:
        return None
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=ASK_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
