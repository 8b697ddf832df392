"""Where the runs of a sweep go: to processes of this machine, or to a cluster's SLURM.

``shapeopt train -m hydra/launcher=joblib`` and ``hydra/launcher=slurm``; settings are in
conf/hydra/launcher. Hydra imports this file whenever it starts, and wants it in this folder.
"""

import os
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, run_job, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict

LOGS = "logs"
"""In the folder of a sweep: what its runs print."""


@dataclass(frozen=True)
class SweepRun:
    """One run of a sweep, to be called in another process.

    Attributes:
        number: in the sweep, from 0 on.
        overrides: what is set for it.
        config: of the sweep.
        state: of Hydra in the process that launches.
    """

    number: int
    overrides: list[str]
    context: HydraContext
    config: DictConfig
    state: dict[Any, Any]

    def __call__(self) -> JobReturn:
        """Runs it.

        Raises:
            SystemExit: if a signal stopped it; the code is that of the signal, as a shell has it.
        """
        # What Hydra has for a task cannot go to other processes: it keeps the errors of this one.
        from shapeopt.commands.train import train_configured

        Singleton.set_state(self.state)
        setup_globals()
        config = self.context.config_loader.load_sweep_config(self.config, self.overrides)
        with open_dict(config):
            config.hydra.job.id = config.hydra.job.num = self.number
        try:
            return run_job(
                hydra_context=self.context,
                task_function=train_configured,
                config=config,
                job_dir_key="hydra.sweep.dir",
                job_subdir_key="hydra.sweep.subdir",
            )
        except KeyboardInterrupt as stopped:
            raise SystemExit(128 + int(stopped.args[0] if stopped.args else 2)) from None

    def checkpoint(self) -> Any:
        """What submitit puts back in the queue when the time is up: the same, which goes on."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


class _Elsewhere(Launcher):
    """A launcher whose runs are in other processes."""

    context: HydraContext
    config: DictConfig

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """What Hydra hands over before it launches."""
        self.context, self.config = hydra_context, config

    def _runs(self, overrides: Sequence[Sequence[str]], first: int) -> list[SweepRun]:
        state = Singleton.get_state()
        return [
            SweepRun(first + i, list(given), self.context, self.config, state)
            for i, given in enumerate(overrides)
        ]

    def _logs(self) -> Path:
        """The folder of what the runs print; it is there."""
        folder = Path(str(self.config.hydra.sweep.dir)) / LOGS
        folder.mkdir(parents=True, exist_ok=True)
        return folder


class Joblib(_Elsewhere):
    """Runs in processes of this machine, each of one thread.

    Args:
        n_jobs: at a time; -1 for as many as there are cores.
    """

    def __init__(self, n_jobs: int, **foreign: Any) -> None:
        self.n_jobs, self.foreign = n_jobs, foreign

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> list[JobReturn]:
        """Runs all, and returns when they are over.

        Raises:
            InputError: without joblib, and if a process was killed.
            KeyboardInterrupt: at Ctrl-C, when the runs have ended with their outputs.
        """
        from shapeopt.errors import InputError
        from shapeopt.output.terminal import show
        from shapeopt.training.interruption import stop_later

        if self.foreign:  # a configuration of the same name was mixed in
            raise InputError(
                "hydra/launcher=joblib is shapeopt's own: pip uninstall hydra-joblib-launcher"
            )
        try:
            from joblib import Parallel, delayed, parallel_config
            from joblib.externals.loky.process_executor import TerminatedWorkerError
        except ImportError:
            raise InputError(
                "hydra/launcher=joblib needs joblib: pip install 'shapeopt[sweep]'"
            ) from None
        runs, logs = self._runs(job_overrides, initial_job_idx), self._logs()
        ended: list[JobReturn | int] = []
        show(f"{len(runs)} runs; what other processes print is in {logs}")
        with stop_later() as stopped_by, parallel_config("loky", inner_max_num_threads=1):
            # Runs are taken one by one as others end, so that none starts after Ctrl-C.
            pending = (
                delayed(_logged)(run, logs, os.getpid()) for run in _until(runs, stopped_by, ended)
            )
            work = Parallel(
                self.n_jobs, pre_dispatch="n_jobs", batch_size=1, return_as="generator_unordered"
            )
            try:
                for result in work(pending):
                    ended.append(result)
                    if isinstance(result, JobReturn):
                        show(f"{len(ended)} of {len(runs)} runs are over")
            except TerminatedWorkerError as error:
                raise InputError(
                    "a process of the sweep was killed, perhaps for want of memory; fewer at a "
                    "time: hydra.launcher.n_jobs=1"
                ) from error
            number = stopped_by() or next((code for code in ended if isinstance(code, int)), None)
        if number is not None:
            raise KeyboardInterrupt(number)
        return _noted([result for result in ended if isinstance(result, JobReturn)])


def _noted(results: list[JobReturn]) -> list[JobReturn]:
    """The results, after the folders of runs that were not made are taken from them."""
    from shapeopt.commands.sweep import Sweep

    refused = (result.return_value for result in results)
    Sweep.refused += [folder for folder in refused if folder is not None]
    return results


def _until(
    runs: Sequence[SweepRun], stopped_by: Callable[[], int | None], ended: Sequence[Any]
) -> Iterator[SweepRun]:
    """The runs, until a signal comes, here or in one of them."""
    for run in runs:
        if stopped_by() is not None or any(isinstance(code, int) for code in ended):
            return
        yield run


def _logged(run: SweepRun, logs: Path, launcher: int) -> JobReturn | int:
    """Runs it; or the number of the signal that stopped it.

    A process other than that of the launcher prints into a file from here on.
    """
    if os.getpid() != launcher:
        with (logs / f"{run.number}.log").open("ab") as file:
            for descriptor in (1, 2):
                os.dup2(file.fileno(), descriptor)
    try:
        return run()
    except SystemExit as stopped:
        return int(stopped.code or 0) - 128


class Slurm(_Elsewhere):
    """One job of SLURM for each run, through submitit.

    A job whose time is up, or that SLURM puts back in its queue, goes on from its last checkpoint.

    Args:
        cluster: "slurm", or "local" for processes of this machine in place of jobs.
        wait: whether to wait until all are over; without, the table is for later.
        most_timeouts: how often a job whose time is up is put back in the queue.
        options: of sbatch, under the names that submitit has for them; None is the cluster's.
    """

    def __init__(self, cluster: str, wait: bool, most_timeouts: int, **options: Any) -> None:
        self.cluster, self.wait, self.most_timeouts = cluster, wait, most_timeouts
        self.options: dict[str, Any] = {
            name: OmegaConf.to_container(value) if OmegaConf.is_config(value) else value
            for name, value in options.items()
        }

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> list[JobReturn]:
        """Hands all over to SLURM; waits for them if that is wanted.

        Ctrl-C ends the waiting and no job.

        Raises:
            InputError: without submitit or SLURM, and if SLURM refuses the jobs.
        """
        from shapeopt.commands.sweep import Sweep
        from shapeopt.output.terminal import show

        logs = self._logs()
        jobs = self._submit(self._runs(job_overrides, initial_job_idx), logs)
        number = jobs[0].job_id.partition("_")[0]
        show(f"{len(jobs)} runs are job {number} of {self.cluster}; what they print is in {logs}")
        try:
            if self.wait:
                return self._collect(jobs)
        except KeyboardInterrupt:
            show("no longer waiting")
        Sweep.goes_on = True
        show(
            f"the jobs stay in the queue (scancel {number} ends them); what they came to: "
            f"shapeopt compare {self.config.hydra.sweep.dir}"
        )
        return []

    def _submit(self, runs: list[SweepRun], logs: Path) -> list[Any]:
        from shapeopt.errors import InputError

        try:
            from submitit import AutoExecutor
            from submitit.core.utils import FailedJobError, FailedSubmissionError
        except ImportError:
            raise InputError(
                "hydra/launcher=slurm needs submitit: pip install 'shapeopt[cluster]'"
            ) from None
        is_slurm = self.cluster == "slurm"
        options: dict[str, Any] = {
            name if name in COMMON else f"slurm_{name}": value
            for name, value in self.options.items()
            if value is not None and (is_slurm or name in COMMON)
        }
        if is_slurm:
            options["slurm_setup"] = [*THREADS, *options.get("slurm_setup", [])]
        try:
            executor = AutoExecutor(
                logs.absolute(), cluster=self.cluster, slurm_max_num_timeout=self.most_timeouts
            )
            executor.update_parameters(**options)
            return list(executor.submit_array(runs))
        except (FailedJobError, FailedSubmissionError) as error:
            reason = str(error).strip().splitlines()[0].removeprefix("sbatch: error: ")
            raise InputError(f"SLURM does not take the jobs: {reason}") from error
        except RuntimeError as error:  # there is no srun
            raise InputError(
                "hydra/launcher=slurm: there is no SLURM here (srun is not on the PATH); "
                "hydra/launcher=joblib uses this machine"
            ) from error

    def _collect(self, jobs: Sequence[Any]) -> list[JobReturn]:
        """Waits until no job is left in the queue; the results of those that came to one."""
        from shapeopt.output.terminal import show

        left, began = {job.job_id: job for job in jobs}, time.monotonic()
        while left:
            time.sleep(min(60.0, max(1.0, (time.monotonic() - began) / 10)))
            queued = self._queued(left)
            for name in [name for name in left if name not in queued]:
                del left[name]
                show(f"{len(jobs) - len(left)} of {len(jobs)} jobs are over")
        return _noted([job.result() for job in jobs if job.paths.result_pickle.exists()])

    def _queued(self, jobs: dict[str, Any]) -> set[str]:
        """Which jobs wait or run. SLURM's queue knows on every cluster, its accounting does not."""
        if self.cluster != "slurm":
            return {name for name, job in jobs.items() if not job.done()}
        number = next(iter(jobs)).partition("_")[0]
        asked = subprocess.run(
            ["squeue", "--noheader", "--array", "--format=%i", f"--jobs={number}"],
            capture_output=True,
            text=True,
        )
        # A job that is long gone is an error of this name; any other is the controller's, for now.
        if asked.returncode and "Invalid job id" not in asked.stderr:
            return set(jobs)
        return set(asked.stdout.split())


COMMON = ("name", "timeout_min", "mem_gb", "nodes", "cpus_per_task", "gpus_per_node")
"""Options that submitit has for all kinds of clusters."""

THREADS = (
    # Since SLURM 22.05, srun does not take over the cores of its job by itself.
    "export SRUN_CPUS_PER_TASK=${SLURM_CPUS_PER_TASK:-1}",
    "export OMP_NUM_THREADS=${SLURM_CPUS_PER_TASK:-1}",
)
"""Lines of shell in front of each job: as many threads as it has cores."""
