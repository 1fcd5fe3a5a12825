"""What readers see of the results of `benchmarks.faults`: the table that it prints, and the book's page ``robustness.md``."""

from collections.abc import Iterator
from typing import Any

from benchmarks import lost_machines

Cells = tuple[Any, ...]  # the test, how often it was done, its outcome, and the bytes lost


def table(results: dict[str, Any]) -> str:
    """Return the results as a Markdown table: the test, how often it was done, its outcome, and the bytes lost."""
    rows: list[Cells] = [("test", "times", "outcome", "bytes lost")]
    for part, rows_of in ROWS.items():
        if part in results:
            rows += rows_of(results[part])
    lines = [f"| {' | '.join(map(str, row))} |" for row in rows]
    return "\n".join([lines[0], "|---|---:|---|---:|", *lines[1:]])


def _rows_of_kills(found: dict[str, Any]) -> Iterator[Cells]:
    runs = f"kill (`kill -9`) and resume: {found['runs']} runs, one and two towers"
    yield runs, found["kills"], f"{found['survived']} survived{not_resumed(found)}", found["bytes_lost"]
    for moment, number in found["moments"].items():
        yield f"– {moment}", number, "", ""


def _rows_of_signals(found: dict[str, Any]) -> Iterator[Cells]:
    saved = f"{found['stopped_and_saved']} saved their state and ended"
    yield "stop by Ctrl-C, SIGTERM or interrupt button, and resume", found["signals"], saved, found["bytes_lost"]


def _rows_of_files(found: dict[str, Any]) -> Iterator[Cells]:
    counted = f"{found['read']:,} read, {found['refused']:,} refused by name, {found['left_out']:,} left out"
    others = f"{found['before']:,} times the previous checkpoint was used, {found['unexpected']:,} unexpected"
    yield f"damaged and unusual files of {found['kinds']} kinds", f"{found['inputs']:,}", f"{counted}, {others}", ""


def _rows_of_disk(found: dict[str, Any]) -> Iterator[Cells]:
    stopped = f"{found['stopped_for_lack_of_room']} stopped, {found['explained']} explained"
    usable = f"previous checkpoint usable {found['previous_usable']} times{not_resumed(found)}"
    yield "fill the disk (`RLIMIT_FSIZE`, small tmpfs) and resume", found["tried"], f"{stopped}, {usable}", found["bytes_lost"]


def _rows_of_concurrent(found: dict[str, Any]) -> Iterator[Cells]:
    yield "start a second process in a run folder", found["of"], f"{found['second_process_refused']} refused", found["bytes_lost"]
    cached = f"{found['files_in_their_cache']} files in the cache"
    yield "build one image cache in several processes", found["builders_at_once"], cached, ""


def _rows_of_cluster(found: dict[str, Any]) -> Iterator[Cells]:
    in_time = f"{found['within_limit']} of {found['recoveries']} times back within {lost_machines.LIMIT:.0f} s"
    yield "kill one of five processes that train together (`kill -9`)", found["kills"], in_time, found["bytes_lost"]


def _rows_of_soak(found: dict[str, Any]) -> Iterator[Cells]:
    files_open = " to ".join(map(str, sorted({found["open_files"][0], found["open_files"][-1]})))
    grown = f"{found['megabytes_per_10000_steps']:+.1f} MB per 10,000 steps, {files_open} open files"
    yield "long run of small steps", f"{found['steps']:,}", grown, ""


def not_resumed(found: dict[str, Any]) -> str:
    """Return how many runs could not be resumed, to be added to a sentence; nothing if all could."""
    number = found.get("not_resumed", 0)  # earlier results do not have it
    return f"; {number} run{'s' if number > 1 else ''} could not be resumed" if number else ""


ROWS = {
    "kills": _rows_of_kills,
    "signals": _rows_of_signals,
    "files": _rows_of_files,
    "disk": _rows_of_disk,
    "concurrent": _rows_of_concurrent,
    "cluster": _rows_of_cluster,
    "soak": _rows_of_soak,
}


MACHINES_TEXT = """\
## Several machines

On several machines ({{doc}}`faq`) the same holds, as long as the number of {{term}}`workers <worker>` and
{{term}}`parameter servers <parameter server>` does not change. If one of them is killed, the training waits until it has been
started again, and continues from the newest checkpoint by itself. If the {{term}}`chief` is killed, give its command again.

This was tried with two parameter servers, two workers and a chief, which were processes of one machine
(`python -m benchmarks.faults --cluster`). During a run of {steps:,} steps, {kills} processes were killed with `kill -9` at
random moments, {twice} of them while the training was still waiting for another one. Each was started again at once, as
systemd or Kubernetes would do. {verdict}
At most {repeated} steps had to be repeated.
{limit}

| killed | times | longest time until the next step (where two were killed: counted for the chief, or else for the second) |
|---|---:|---:|
{rows}
"""

PAGE_TEXT = """\
# What a training run survives

A run on real data takes days. During these days machines are restarted, disks fill up, and people press Ctrl-C. This
page says what the library promises in such cases, how it keeps the promise, and how the promise was tested.

## Conclusions

**You can kill the training at any moment and start the same command again. The final codes, weights and metrics are
then equal, bit for bit, to those of an uninterrupted run.** This holds on the same CPU, with the same precision and
the same number of towers, and with `max_seconds=0`, because with a time limit the learning rates depend on the clock.

- **Killed processes.** Training was killed {kills} times with `kill -9`, in {runs} runs with one and two
  {{term}}`towers <tower>`: while the image cache was built, before the first {{term}}`checkpoint`, between checkpoints,
  and while one was written. In {survived} of {kills} cases the resumed run ended with the same bytes as an uninterrupted
  run{kills_not_resumed}. The steps since the newest checkpoint are repeated, which costs time but changes no result.
- **Signals.** Ctrl-C, SIGTERM and the notebook's interrupt button ended the run after the current step, with a
  checkpoint, in {stopped} of {signals} cases.
- **Full disks.** In {disks} of {disks_tried} cases the run stopped with a message that names the cause, and in {usable} of them
  the previous checkpoint could be used{disks_not_resumed}.
- **Damaged files.** {inputs} damaged or unusual files of {kinds_of_files} kinds were tried, and the outcome was unexpected
  for {unexpected} of them. An image was read, refused with a message that names it, or left out because the file is no
  image. Instead of a damaged checkpoint, the previous one was used. The appendix lists the kinds.
- **Two processes at once.** A second process in the same {{term}}`run folder` was refused in {refused} of {started} cases.

**Three things are not promised.**

- On another machine, or with another version of TensorFlow, the bits may differ.
- On GPUs the bits differ from run to run. With `deterministic=true` TensorFlow uses slower operations that give the same
  bits each time, where it has them, but it does not promise this for graphs in sessions. It has not been tried on a GPU.
- After a power cut, the disk may lack data that the system had reported as written. The checksums then reveal the
  damage, and the previous checkpoint is used.

## How it works

**The position in the data.** The batch of a step is a function of the seed and the step. The position in the data
therefore follows from the step, and no file has to store it.

**Checkpoints.** A checkpoint holds the decoder, the codes, the {{term}}`moments` and step counts of both optimisers, the
{{term}}`average of the weights`, the averages of {{term}}`batch normalisation`, the step, the seconds, and the losses that
are not yet in `history.csv`. It has two files, and a third one holds their checksums. If a checkpoint does not match its
checksums, a warning names it and the previous checkpoint is used. TensorFlow's own list of checkpoints may be damaged as
well, so it is not read: it is rewritten from the checkpoints that are complete.

**Settings that must not change.** `hardware.json` in the run folder records the precision. A run that began in
bfloat16 is not continued in float32 on another machine unless `change_precision` allows it. `images.csv` records the
size and the digest of every image. If images were added, removed, renamed or altered, training is refused with a
message that names them. Changes of other settings are refused too, except those that are safe: the length of the run,
its folders, and how often it reports.

**One process in a folder.** The run folder is locked by `flock`. The system releases the lock when the process ends,
whatever the reason. Windows and some network folders have no such lock; there a warning with the reason is shown.

**Requests to stop.** Ctrl-C, SIGTERM and SIGHUP (the terminal was closed) end the run after the current step, with a
checkpoint. In a notebook, the end of the program that started the kernel does the same, even if that program was
ended by `kill -9`, because the kernel checks five times a second whether it still exists.

**The image cache.** The cache is written under a temporary name, and renamed when it is complete and has its
checksums. The next process removes the files that a killed process left behind.

**Images that cannot be read.** One message names all of them and says what each file is, and training is refused.
With `on_bad_image=skip` they are left out instead, and listed in `skipped.json`. Damaged metadata are ignored; of all
metadata only the orientation affects the pixels. The run says how many images it found in which folder, and what it
passed over and why.

**Losses that are not finite.** If a loss or a gradient is not finite, the step stops before any weight is updated.
The step is then evaluated again without its updates, tensor by tensor, and the error names the first tensor that is
not finite.

**Safety.** Nothing in a run folder is unpickled, and no setting reaches a shell.

{several_machines}
## How it was tested

Every kind of fault was caused on purpose. After a kill, a stop or a full disk the run was resumed, and its results were
compared with those of a run without faults. The table is the output of `python -m benchmarks.faults`, which took {minutes}
minutes on two shared CPU cores. All random choices are seeded, and all numbers are in `benchmarks/faults.json`.

{table}

After each resume these results were compared: every tensor of the last checkpoint except the seconds, `codes.npy`,
`metrics.json` except the seconds and the speed, and `history.csv`. At most {repeated} steps had to be repeated, with
a checkpoint every {between} steps.

## Appendix: the outcome for each kind of file

A file was *read* (as the image that it is), *refused* (with a message that names it), or *left out* (because it was
not taken for an image). *Before* means that the checkpoint before the damaged one was used.

| kind | inputs | outcome |
|---|---:|---|
{kinds}
"""


def cluster_rows(found: dict[str, Any]) -> list[tuple[str, int, float]]:
    """Return, for each kind of task, its name, how often it was killed, and the longest recovery in seconds.

    A recovery from two kills belongs to the chief if it was one of them, and else to the second; see `lost_machines.summary`.
    """
    names = {"worker": "worker", "ps": "parameter server", "chief": "chief"}
    counted = {kind: sum(number for task, number in found["by_task"].items() if task.startswith(kind)) for kind in names}
    return [(name, counted[kind], found["longest_recovery_seconds"].get(kind, 0.0)) for kind, name in names.items()]


def several_machines(found: dict[str, Any] | None) -> str:
    """Return the section of the page on several machines; nothing if that has not been measured."""
    if found is None:
        return ""
    lost, number = found["bytes_lost"], f"{found['bytes_compared']:,}"
    equal = f"At the end all {number} bytes of the results were equal to those of an undisturbed run."
    late = found["recoveries"] - found["within_limit"]
    in_time = f"The next step was always taken within {lost_machines.LIMIT:.0f} seconds of the last kill"
    again = len(found["chief_started_again"])
    return MACHINES_TEXT.format(
        steps=found["steps"],
        kills=found["kills"],
        twice=found["two_at_once"],
        verdict=equal if not lost else f"At the end {lost:,} of {number} compared bytes differed from those of an undisturbed run.",
        repeated=found["most_steps_repeated"],
        limit=f"{in_time}{f', except {late} times' if late else ''}, on two cores that other programs used as well."
        f"{f' {again} times the chief ended with an error, and its command was given again.' if again else ''}",
        rows="\n".join(f"| {name} | {times} | {seconds:.1f} s |" for name, times, seconds in cluster_rows(found)),
    )


def page(results: dict[str, Any], steps_between_checkpoints: int) -> str:
    """Return the text of the page ``book/robustness.md``."""
    kinds = "\n".join(
        f"| {kind} | {found['inputs']} | {', '.join(f'{number} {word}' for word, number in found['outcomes'].items())} |"
        for kind, found in results["files"]["by_kind"].items()
    )
    minutes = sum(found["wall_seconds"] for found in results.values()) / 60
    killed, signalled, files, disk, concurrent = (results[part] for part in ("kills", "signals", "files", "disk", "concurrent"))
    return PAGE_TEXT.format(
        kills=killed["kills"],
        runs=killed["runs"],
        survived=killed["survived"],
        kills_not_resumed=not_resumed(killed),
        signals=signalled["signals"],
        stopped=signalled["stopped_and_saved"],
        disks=disk["explained"],
        disks_tried=disk["tried"],
        usable=disk["previous_usable"],
        disks_not_resumed=not_resumed(disk),
        inputs=f"{files['inputs']:,}",
        kinds_of_files=files["kinds"],
        unexpected=files["unexpected"],
        started=concurrent["of"],
        refused=concurrent["second_process_refused"],
        minutes=f"{minutes:.0f}",
        several_machines=several_machines(results.get("cluster")),
        table=table(results),
        repeated=killed["most_steps_repeated"],
        between=steps_between_checkpoints,
        kinds=kinds,
    )
