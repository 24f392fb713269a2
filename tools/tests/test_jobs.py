"""Jobs on local processes and on a real Dask cluster, whose scheduler and workers are separate processes."""

import json
import os
import pickle
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from shutil import which

import dask
import pytest
from distributed import Client
from rich.console import Console

from rvm_model import __version__
from rvm_model.errors import UserError
from tools.jobs import cluster, processes, records, runner
from tools.jobs.cluster import ClusterError
from tools.jobs.processes import ENDING_SECONDS, ProcessDied, default_processes, in_process
from tools.jobs.runner import Job, run_jobs, to_table
from tools.jobs.seals import seal_key
from tools.tests import job_functions as f
from tools.tests.children import started

PATIENCE = 60


def wait_for(condition):
    deadline = time.monotonic() + PATIENCE
    while not (found := condition()) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert found
    return found


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@contextmanager
def cluster_of(folder, workers, lacking=(), certificates=()) -> Iterator[str]:
    """Start a scheduler and its workers as a user does; workers in `lacking` have another project's `tools`.

    `certificates` are options of both.
    """
    (folder / "empty" / "tools").mkdir(parents=True)
    (folder / "empty" / "tools" / "__init__.py").touch()
    file = folder / "scheduler.json"
    options = ["--scheduler-file", file, "--no-dashboard", *certificates]
    started = []

    def start(what, *more):
        command = [sys.executable, "-m", "distributed.cli.dask_" + what, *options, *more]
        path = [str(folder / "empty"), *sys.path] if what in lacking else sys.path
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(path)}
        started.append(subprocess.Popen([*map(str, command)], env=environment, cwd=folder, stderr=subprocess.DEVNULL))

    start("scheduler", "--host", "127.0.0.1", "--port", "0")
    try:
        for _ in range(workers):
            start("worker", "--host", "127.0.0.1", "--nthreads", "1", "--local-directory", folder)
        wait_for(lambda: file.exists() and file.stat().st_size)  # it is written in one go, after it is made
        address = json.loads(file.read_text())["address"]
        if workers:
            with Client(address, timeout=PATIENCE, set_as_default=False) as client:
                client.wait_for_workers(workers, PATIENCE)
        yield address
    finally:
        for process in reversed(started):  # workers first, since they would look for their scheduler
            process.terminate()
            try:
                process.wait(3)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(PATIENCE)


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    with cluster_of(tmp_path_factory.mktemp("dask"), workers=2) as address:
        yield address


@pytest.fixture(params=["local", "dask"])
def run(request):
    """Return `run_jobs` on either executor."""
    where = request.getfixturevalue("address") if request.param == "dask" else None

    def run(*given):
        return run_jobs(given, 2, where)

    run.local = where is None
    return run


def job(function, *arguments, **more):
    return Job(name=function.__name__, function=function, arguments=arguments, **more)


def lines(path):
    return path.read_text().split()


def test_all_good(run, capfd):
    results = run(*(Job(name=f"job {x}", function=f.square, arguments=(x,)) for x in range(3)))
    assert [(each.name, each.outcome, each.value) for each in results] == [
        ("job 0", "done", 0),
        ("job 1", "done", 1),
        ("job 2", "done", 4),
    ]
    assert all((each.attempts, each.error, each.code) == (1, "", 0) and each.seconds >= 0 for each in results)
    out, err = capfd.readouterr()
    assert out == ""
    assert sorted(line.partition(" (")[0] for line in err.splitlines()) == ["done job 0", "done job 1", "done job 2"]


def test_failures_are_tried_again_and_stop_no_other(run, tmp_path, capfd):
    fails, refuses, once = (tmp_path / name for name in ("fails", "refuses", "once"))
    results = run(job(f.fail, fails), job(f.refuse, refuses), job(f.fail_once, once), job(f.square, 3))
    assert [(each.outcome, each.attempts, each.code) for each in results] == [
        ("failed", 2, 1),
        ("failed", 2, 2),
        ("done", 2, 0),
        ("done", 1, 0),
    ]
    assert results[0].error.startswith("ZeroDivisionError: on purpose (job_functions.py, line ")
    assert results[1].error == f"{refuses} is none; give one"
    assert [each.value for each in results[2:]] == ["second", 9]
    assert len(lines(fails)) == len(lines(refuses)) == len(lines(once)) == 2
    err = capfd.readouterr().err
    assert f"trying fail_once again, which failed: Input/output error: {once}" in err
    assert f"failed refuse: {refuses} is none; give one" in err
    assert len(err.splitlines()) == 4 + 3


def test_a_retry_is_on_another_process(tmp_path):
    run_jobs([job(f.fail, tmp_path / "pids")], 1)
    assert len({*lines(tmp_path / "pids")}) == 2


def test_a_process_that_dies_takes_no_other_along(run, tmp_path):
    results = run(
        job(f.die, tmp_path / "dies"), job(f.die_once, tmp_path / "once"), *(job(f.square, x) for x in range(6))
    )
    assert [each.outcome for each in results] == ["failed", *["done"] * 7]
    dies, once = results[:2]
    assert (dies.attempts, dies.code, len(lines(tmp_path / "dies"))) == (2, 1, 2)
    assert dies.error == "its process ended with exit code 7 before its answer"
    assert (once.value, once.attempts, len(lines(tmp_path / "once"))) == ("second", 2, 2)


def test_a_signal_is_named(tmp_path, capfd):
    run_jobs([job(f.die_once, tmp_path / "once")], 1)
    assert "its process was ended by SIGKILL, as happens when memory runs out" in capfd.readouterr().err


def test_what_does_not_travel_is_said(run):
    odd, unsuitable, missing = run(job(f.raise_odd), job(f.give_what_json_cannot_hold), job(f.import_missing))
    assert "OddError: one and two (" in odd.error
    assert unsuitable.outcome == "failed"
    assert "TypeError: Object of type function is not JSON serializable" in unsuitable.error
    assert "ModuleNotFoundError: No module named 'missing_package' (" in missing.error
    assert not any("\n" in each.error for each in (odd, unsuitable, missing))


def test_warnings_come_back(run, capfd):
    (result,) = run(job(f.warn))
    assert result.warnings == ("audio is left out",)
    assert capfd.readouterr().err.splitlines()[1:] == ["WARNING: warn: audio is left out"]


def test_a_rerun_skips_what_is_whole_and_made_from_the_same(run, tmp_path, capfd):
    path = tmp_path / "out" / "file"
    path.parent.mkdir()

    def outcome(made_from="these", text="whole"):
        return run(job(f.write, path, text, files=(path,), made_from=made_from))[0].outcome

    assert outcome() == "done"
    assert outcome() == "skipped"
    assert "skipped write, which is made already" in capfd.readouterr().err
    assert outcome("others", "other") == "done"
    assert outcome() == "done"
    path.write_text("somebody else's")
    assert outcome() == "done"
    path.unlink()
    assert outcome() == "done"
    assert {each.name for each in path.parent.iterdir()} == {"file", records.FOLDER}
    assert run(job(f.write, path, files=(path,)))[0].outcome == "done", "it does not say what it depends on"


def test_no_executor_is_started_for_nothing(tmp_path):
    path = tmp_path / "file"
    path.touch()
    records.remember([path], "these", None, seal_key("these"))
    given = job(f.write, path, files=(path,), made_from="these")
    assert run_jobs([given], 1, "tcp://127.0.0.1:9")[0].outcome == "skipped"
    assert run_jobs([], 1, "tcp://127.0.0.1:9") == []


def test_a_failure_forgets_what_was_made(tmp_path):
    """Check that a failure deletes the record: half of the files may be new by then, and of the old size."""
    path = tmp_path / "file"
    path.touch()
    records.remember([path], "these", None, seal_key("these"))
    assert run_jobs([job(f.fail, tmp_path / "n", files=(path,), made_from="others")], 1)[0].outcome == "failed"
    assert not records.made([path], "these")


def test_folders_are_files_too(tmp_path):
    folder = tmp_path / "frames"
    (folder / "deeper").mkdir(parents=True)
    (folder / "deeper" / "1.png").write_text("one")
    records.remember([folder], "these", None, seal_key("these"))
    assert records.made([folder], "these")
    (folder / "2.png").touch()
    assert not records.made([folder], "these")


def test_a_damaged_record_is_none(tmp_path):
    path = tmp_path / "file"
    path.touch()
    records.remember([path], "these", None, seal_key("these"))
    (tmp_path / records.FOLDER / "file.json").write_text("[")
    assert not records.made([path], "these")


@pytest.mark.timeout(60)
def test_a_fingerprint_of_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "clip.mp4")
    with pytest.raises(OSError, match="it is no regular file"):
        records.fingerprint([tmp_path / "clip.mp4"], {})


def test_a_replaced_file_of_the_same_size_is_made_again(tmp_path):
    path = tmp_path / "file"
    path.write_text("one")
    records.remember([path], "these", None, seal_key("these"))
    assert records.made([path], "these")
    path.write_text("two")
    assert records.others([path], "these") == [path]
    path.unlink()
    os.mkfifo(path)
    assert records.others([path], "these") == [path]


def test_a_forged_record_is_none(tmp_path):
    """Seal the record of a damaged file with any key but this user's, or with the user's for other work."""
    path = tmp_path / "file"
    path.write_text("damaged")
    for key in (bytes(32), b"", seal_key("others")):
        records.remember([path], "these", None, key)
        assert not records.made([path], "these")
    place = tmp_path / records.FOLDER / "file.json"
    for text in ("[]", '"x"', '{"seal": 1, "record": 2}', '{"seal": "\\ud800", "record": "{}"}', "[" * 100_000):
        place.write_text(text)
        assert not records.made([path], "these"), text[:40]


def test_a_record_is_not_written_through_a_link(tmp_path):
    path, other = tmp_path / "file", tmp_path / "other"
    path.touch()
    other.write_text("mine")
    (tmp_path / records.FOLDER).mkdir()
    for name in ("file.json", "file.partial"):
        (tmp_path / records.FOLDER / name).symlink_to(other)
    records.remember([path], "these", None, seal_key("these"))
    assert records.made([path], "these")
    assert other.read_text() == "mine"


def test_a_record_is_not_written_into_a_folder_that_is_a_link(tmp_path):
    path, other = tmp_path / "file", tmp_path / "other"
    path.touch()
    other.mkdir()
    (tmp_path / records.FOLDER).symlink_to(other)
    with pytest.raises(OSError, match="Too many levels of symbolic links"):
        records.remember([path], "these", None, seal_key("these"))
    assert [*other.iterdir()] == []
    (other / "file.json").write_text("mine")
    records.forget([path])
    assert (other / "file.json").read_text() == "mine"


def other_user(folder):
    """Return a statement for a process whose state folder is this one."""
    return os.environ | {"XDG_STATE_HOME": str(folder), "HOME": str(folder)}


def key_of_another_process(environment):
    code = "from tools.jobs.seals import seal_key; print(seal_key('these').hex())"
    return subprocess.check_output([sys.executable, "-c", code], env=environment, text=True, timeout=120)


def test_the_key_is_kept_for_this_user_alone(tmp_path):
    one = key_of_another_process(other_user(tmp_path / "state"))
    assert key_of_another_process(other_user(tmp_path / "state")) == one
    assert key_of_another_process(other_user(tmp_path / "other")) != one
    (place,) = (tmp_path / "state").rglob("records.key")
    assert stat.S_IMODE(place.stat().st_mode) == 0o600
    assert {path.name for path in place.parent.iterdir()} == {"records.key"}
    place.chmod(0o644)  # everybody may have read it
    assert key_of_another_process(other_user(tmp_path / "state")) != one


@pytest.mark.parametrize("spoil", [Path.touch, Path.mkdir, os.mkfifo, lambda path: path.symlink_to("/dev/zero")])
def test_a_key_that_is_none_is_replaced_or_not_used(spoil, tmp_path):
    environment = other_user(tmp_path / "state")
    one = key_of_another_process(environment)
    (place,) = (tmp_path / "state").rglob("records.key")
    place.unlink()
    spoil(place)
    assert key_of_another_process(environment) != one


def test_without_a_place_for_the_key_the_work_is_done_again(tmp_path):
    (tmp_path / "state").touch()  # no folder can be made here
    environment = other_user(tmp_path / "state")
    assert key_of_another_process(environment) != key_of_another_process(environment)
    code = (
        "import sys; from pathlib import Path; from tools.jobs.runner import Job, run_jobs;"
        "from tools.tests import job_functions as f; path = Path(sys.argv[1]);"
        "job = Job(name='write', function=f.write, arguments=(path, 'whole'), files=(path,), made_from='these');"
        "print(*(run_jobs([job], 1)[0].outcome for _ in range(2)))"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "file")]
    for _ in range(2):
        assert subprocess.check_output(command, env=environment, text=True, timeout=120) == "done skipped\n"


def test_fingerprints_tell_contents_names_and_options_apart(tmp_path):
    for name, text in (("a", "1"), ("b", "2"), ("same", "1")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(text)

    def of(*names, **options):
        return records.fingerprint([tmp_path / name for name in names], options)

    assert of("a") == of("same") == of("same/file") or of("a") == of("same")
    assert len({of("a"), of("b"), of("a", "b"), of("b", "a"), of("a", ratio=0.5), of("a", ratio=1)}) == 6


def test_two_jobs_for_one_file_are_refused(tmp_path):
    given = [Job(name=name, function=f.write, files=(tmp_path / "file",)) for name in ("first", "second")]
    with pytest.raises(UserError, match=r"first and second would both write .*file; run them apart"):
        run_jobs(given, 1)


def test_a_table_shows_what_became_of_all(tmp_path):
    path = tmp_path / "made"
    path.touch()
    records.remember([path], "these", None, seal_key("these"))
    results = run_jobs(
        [job(f.square, 1), job(f.fail, tmp_path / "[red]n"), job(f.write, path, files=(path,), made_from="these")], 1
    )
    console = Console(width=160, markup=False)
    with console.capture() as capture:
        console.print(to_table(results))
    shown = capture.get()
    assert "1 done, 1 skipped, 1 failed" in shown
    (row,) = [line for line in shown.splitlines() if "fail " in line]
    assert "ZeroDivisionError: on purpose" in row
    assert row.split("│")[4].strip() == "2"


def test_processes_share_the_cores(monkeypatch):
    for name in processes.THREADS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(processes, "cores", lambda: 6)
    assert run_jobs([job(f.threads)], 2)[0].value == ["3", "3"]
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    assert run_jobs([job(f.threads)], 2)[0].value == ["5", "3"]
    assert os.environ["OMP_NUM_THREADS"] == "5"


def test_no_more_processes_than_cores_memory_and_jobs(monkeypatch):
    monkeypatch.setattr(processes, "cores", lambda: 6)
    monkeypatch.setattr(processes, "memory_limit", lambda: 16_000_000_000)
    assert default_processes(100, 1) == 6
    assert default_processes(4, 1) == 4
    assert default_processes(100, 1 << 60) == 1
    monkeypatch.setattr(processes, "memory_limit", lambda: 3000)
    assert default_processes(100, 1000) == 3


SCRIPT = """
from tools.jobs.runner import Job, run_jobs
from tools.tests import job_functions as f
run_jobs([Job(name=n, function=f.{function}, arguments=({folder!r}, n)) for n in "abc"], 2, {cluster!r})
"""


@contextmanager
def interrupted(function, folder, where=None, began=2):
    """Start a script in its own session, and yield it with its processes' ids once jobs have begun."""
    script = folder / "script.py"
    script.write_text(SCRIPT.format(function=function, folder=str(folder), cluster=where))
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, script]
    with started(command, stderr=subprocess.PIPE, start_new_session=True, env=environment) as process:
        wait_for(lambda: len([*folder.glob("*.began")]) == began)
        yield process, [int(path.name.split(".")[1]) for path in folder.glob("*.began")]


@pytest.mark.parametrize("to", ["process", "group"])
def test_ctrl_c_ends_all_processes_and_leaves_nothing_half_written(to, tmp_path):
    with interrupted("half_write", tmp_path) as (process, pids):
        start = time.monotonic()
        (os.kill if to == "process" else os.killpg)(process.pid, signal.SIGINT)  # a terminal signals the whole group
        _, err = process.communicate(timeout=PATIENCE)
    assert time.monotonic() - start < ENDING_SECONDS
    assert process.returncode == -signal.SIGINT
    assert err.count("Traceback") == 1, err  # the script's own traceback; the command prints one line instead
    assert not any(map(alive, pids))
    assert [*tmp_path.glob("*.partial")] == []
    assert len([*tmp_path.glob("*.began")]) == 2, "the third was not begun"


def test_a_process_that_does_not_listen_is_killed(tmp_path):
    call = pickle.dumps((f.hold_on, (str(tmp_path), "a")))
    with pytest.raises(ProcessDied, match="it was stopped"):
        in_process(call, lambda: [*tmp_path.glob("*.began")], {}, ending=0.2)
    (began,) = tmp_path.glob("*.began")
    assert not alive(int(began.name.split(".")[1]))


def test_processes_end_with_a_parent_that_was_killed(tmp_path):
    with interrupted("half_write", tmp_path) as (process, pids):
        process.kill()
        process.wait(PATIENCE)
        wait_for(lambda: not any(map(alive, pids)))
    assert [*tmp_path.glob("*.partial")] == []


@pytest.mark.parametrize("how", ["interrupt", "kill"])
def test_a_client_that_ends_stops_its_jobs_on_a_cluster(how, address, tmp_path):
    with interrupted("half_write", tmp_path, address) as (process, pids):
        process.send_signal(signal.SIGINT if how == "interrupt" else signal.SIGKILL)
        _, err = process.communicate(timeout=PATIENCE)
        wait_for(lambda: not any(map(alive, pids)))
    assert process.returncode == (-signal.SIGINT if how == "interrupt" else -signal.SIGKILL)
    assert ("KeyboardInterrupt" in err) == (how == "interrupt")
    assert [*tmp_path.glob("*.partial")] == []
    assert len([*tmp_path.glob("*.began")]) == 2, "the third was not begun"


def test_a_cluster_that_goes_away_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(cluster, "CONNECT_SECONDS", 3)
    with ThreadPoolExecutor() as pool:
        with cluster_of(tmp_path, workers=1) as address:
            given = [Job(name=name, function=f.half_write, arguments=(str(tmp_path), name)) for name in "ab"]
            future = pool.submit(run_jobs, given, 1, address)
            wait_for(lambda: [*tmp_path.glob("*.began")])
        results = future.result(PATIENCE)
    assert [each.outcome for each in results] == ["failed", "failed"], results
    assert all("its scheduler is gone" in each.error or "ClosedClientError" in each.error for each in results), results


@pytest.mark.parametrize("lacking", [pytest.param("scheduler", marks=pytest.mark.long), "worker"])
def test_a_cluster_without_rvm_export(lacking, tmp_path):
    with (
        cluster_of(tmp_path, workers=1, lacking=[lacking]) as address,
        pytest.raises(
            ClusterError, match=rf"the {lacking}.* has no rvm-export.*; install {__version__} with the scheduler"
        ),
    ):
        run_jobs([job(f.pid)], 1, address)


@pytest.mark.parametrize(
    ("where", "why"),
    [
        ("nonsense", "missing port"),
        ("http://127.0.0.1:1", "unknown address scheme"),
        ("tcp://127.0.0.1:9", "(Timed out|silent)"),
    ],
)
def test_a_wrong_address(where, why, monkeypatch):
    monkeypatch.setattr(cluster, "CONNECT_SECONDS", 1)
    with pytest.raises(ClusterError, match=f"^no Dask scheduler answers at '{where}' .*{why}.*`dask scheduler` shows"):
        run_jobs([job(f.pid)], 1, where)


def test_something_that_listens_and_is_silent(monkeypatch):
    monkeypatch.setattr(cluster, "CONNECT_SECONDS", 1)
    with socket.create_server(("127.0.0.1", 0)) as server:
        where = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(ClusterError, match="silent for 1 s"):
            run_jobs([job(f.pid)], 1, where)


def test_a_cluster_without_workers(tmp_path, monkeypatch):
    monkeypatch.setattr(cluster, "CONNECT_SECONDS", 1)
    with (
        cluster_of(tmp_path, workers=0) as where,
        pytest.raises(ClusterError, match=f"{where} has no workers; start some: dask worker {where} --nthreads 1"),
    ):
        run_jobs([job(f.pid)], 1, where)


def test_distributed_may_be_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ClusterError, match=r"^--cluster needs distributed; run: pip install 'rvm-export\[cluster\]'$"):
        run_jobs([job(f.pid)], 1, "tcp://127.0.0.1:8786")


def test_a_worker_of_another_version(address, monkeypatch):
    monkeypatch.setattr(cluster, "__version__", "0.0.1")
    with pytest.raises(
        ClusterError, match=rf"^the scheduler has rvm-export {__version__}; install 0.0.1 with the scheduler"
    ):
        run_jobs([job(f.pid)], 1, address)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory, require):
    """Return a folder with a certificate authority, and a key and certificate that it signed."""
    require("openssl", which("openssl") is not None, "no openssl on the PATH")
    folder = tmp_path_factory.mktemp("certificates")
    new = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        "2",
    ]
    signed = ["-CA", "authority.pem", "-CAkey", "authority.key", "-addext", "basicConstraints=critical,CA:FALSE"]
    for name, more in (("authority", []), ("node", signed), ("stranger", [])):
        words = [*new, "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.pem", *more]
        subprocess.run(words, cwd=folder, check=True, capture_output=True, timeout=60)
    return folder


@contextmanager
def trusting(folder, name):
    """Configure Dask as environment variables would: with this certificate, and that of the authority."""
    with dask.config.set(
        {
            "distributed.comm.tls.ca-file": str(folder / "authority.pem"),
            "distributed.comm.tls.client.cert": str(folder / f"{name}.pem"),
            "distributed.comm.tls.client.key": str(folder / f"{name}.key"),
        }
    ):
        yield


def test_a_cluster_over_tls_admits_only_who_has_a_certificate(certificates, tmp_path, monkeypatch):
    options = ["--protocol", "tls", "--tls-ca-file", certificates / "authority.pem"]
    options += ["--tls-cert", certificates / "node.pem", "--tls-key", certificates / "node.key"]
    with trusting(certificates, "node"), cluster_of(tmp_path, workers=1, certificates=options) as where:
        assert where.startswith("tls://")
        assert run_jobs([job(f.square, 3)], 1, where)[0].value == 9
        monkeypatch.setattr(cluster, "CONNECT_SECONDS", 3)
        with (
            trusting(certificates, "stranger"),
            pytest.raises(ClusterError, match=f"^no Dask scheduler answers at '{where}'"),
        ):
            run_jobs([job(f.square, 3)], 1, where)


def test_tls_without_certificates_is_said(monkeypatch):
    with pytest.raises(ClusterError, match=r"^tls://127.0.0.1:8786 needs certificates, .*; set DASK_.*__CA_FILE, "):
        run_jobs([job(f.square, 3)], 1, "tls://127.0.0.1:8786")


@pytest.mark.parametrize("answer", ["pickle", "[1]", "{}", '{"value": 1, "error": "", "code": "x"}', None])
def test_an_answer_that_is_not_the_json_of_a_job_fails_it(answer, tmp_path, monkeypatch):
    answer = pickle.dumps(f.Bomb(tmp_path / "ran")) if answer == "pickle" else answer

    @contextmanager
    def hostile(_):
        with ThreadPoolExecutor(1) as executor:
            executor.submit = lambda *_: ThreadPoolExecutor.submit(executor, lambda: answer)
            yield processes.Place(executor=executor, stopped=lambda: False)

    monkeypatch.setattr(runner, "this_machine", hostile)
    (result,) = run_jobs([job(f.square, 3)], 1)
    assert (result.outcome, result.code) == ("failed", 1)
    assert result.error.startswith("its answer is not the JSON of a job (")
    assert not (tmp_path / "ran").exists()


def test_a_process_that_writes_a_pickle_over_its_answer_fails_its_job(tmp_path):
    (result,) = run_jobs([job(f.answer_with_a_pickle, tmp_path / "ran")], 1)
    assert result.outcome == "failed"
    assert not (tmp_path / "ran").exists()
