"""A SLURM cluster of one node on this machine: munged, slurmctld and slurmd in one folder, ended by their pids."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

NEEDED = ("sbatch", "slurmctld", "slurmd", "munged", "munge", "unmunge", "setpriv")
CONF = """
ClusterName=lab
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=cred_expire=5
CryptoType=crypto/munge
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
ReturnToService=2
SlurmctldPort={controller_port}
SlurmdPort={node_port}
SlurmctldPidFile={root}/run/slurmctld.pid
SlurmdPidFile={root}/run/slurmd.pid
SlurmdSpoolDir={root}/spool
StateSaveLocation={root}/state
SlurmctldLogFile={root}/log/slurmctld.log
SlurmdLogFile={root}/log/slurmd.log
SchedulerType=sched/backfill
SchedulerParameters=sched_min_interval=200000,bf_interval=2,sched_interval=2
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
MaxArraySize=1001
KillWait=5
JobRequeue=1
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
NodeName={host} NodeAddr=127.0.0.1 {layout} State=UNKNOWN
PartitionName=main Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


def missing() -> str | None:
    """Why no cluster can be started here, or None."""
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    absent = [name for name in NEEDED if shutil.which(name, path=path) is None]
    if absent:
        return f"not installed: {', '.join(absent)}"
    return None if os.geteuid() == 0 else "the daemons are started as root"


@contextlib.contextmanager
def cluster(root: Path) -> Iterator[dict[str, str]]:
    """Environment of a client of the running cluster; the daemons end with the block."""
    for name in ("run", "spool", "state", "log"):
        (root / name).mkdir(parents=True)
    conf = root / "slurm.conf"
    conf.write_text(CONF.format(root=root, host=_host(), layout=_layout(), controller_port=_port(), node_port=_port()))
    environment = {"SLURM_CONF": str(conf), "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"}
    with contextlib.ExitStack() as stack:
        _start_munge(stack, environment)
        for daemon in ("slurmctld", "slurmd"):
            _run([daemon], environment)
            stack.callback(_end, root / "run" / f"{daemon}.pid")
        _await(lambda: "idle" in _run(["sinfo", "-h", "-o", "%T"], environment, check=False), "an idle node", 30)
        try:
            yield environment
        finally:
            _run(["scancel", "--partition=main"], environment, check=False)


def _start_munge(stack: contextlib.ExitStack, environment: dict[str, str]) -> None:
    """Start munged where none is running, and end it then."""

    def works() -> bool:
        env = os.environ | environment
        done = subprocess.run("munge -n | unmunge", shell=True, env=env, capture_output=True, check=False)
        return done.returncode == 0

    if works():
        return
    _run(["install", "-d", "-o", "munge", "-g", "munge", "-m", "755", "/run/munge"], environment)
    _run(["setpriv", "--reuid", "munge", "--regid", "munge", "--init-groups", "munged"], environment)
    stack.callback(_end, Path("/run/munge/munged.pid"))
    _await(works, "munge", 10)


def _run(command: list[str], environment: dict[str, str], check: bool = True) -> str:
    env = os.environ | environment
    done = subprocess.run(command, env=env, timeout=60, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if check and done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stdout}")
    return done.stdout


def _await(holds: Callable[[], bool], what: str, seconds: float) -> None:
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            raise TimeoutError(f"no {what} within {seconds} s")
        time.sleep(0.2)


def _end(pid_file: Path) -> None:
    """End the daemon that wrote the file, and wait for it."""
    try:
        pid = int(pid_file.read_text())
        os.kill(pid, signal.SIGTERM)
    except (OSError, ValueError):
        return
    for sign in (None, signal.SIGKILL):
        if sign is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, sign)
        for _ in range(100):
            if not _is_alive(pid):
                return
            time.sleep(0.1)


def _is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _host() -> str:
    return socket.gethostname().partition(".")[0]


def _layout() -> str:
    """CPUs and memory as slurmd itself sees them."""
    shown = _run(["/usr/sbin/slurmd", "-C"], {}).split()
    wanted = ("CPUs=", "Boards=", "SocketsPerBoard=", "CoresPerSocket=", "ThreadsPerCore=", "RealMemory=")
    return " ".join(word for word in shown if word.startswith(wanted))


def _port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]
