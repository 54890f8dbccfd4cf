"""Ids and file names: what may be used, what collides, what is made where nothing is said."""

from __future__ import annotations

import re
import unicodedata
from pathlib import PurePosixPath, PureWindowsPath

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from runner.core.errors import ManifestError
from runner.core.media_formats import FORMATS
from runner.core.models import MAX_OUTPUTS, Job
from runner.ledger.records import intent
from runner.manifest import check_file_name, check_id, load
from runner.manifest.names import DEVICES, folded, normal, slug, without_extension

KLEIN = "blackforestlabs/flux-2-klein/4b/text-to-image"


def problems(*jobs: str) -> list[str]:
    text = f"model: {KLEIN}\njobs:\n" + "".join(f"- {job}\n" for job in jobs)
    with pytest.raises(ManifestError) as caught:
        load("-", text=text.encode())
    return [str(problem).removeprefix("-:") for problem in caught.value.problems]


def made(*jobs: str) -> list[Job]:
    text = f"model: {KLEIN}\njobs:\n" + "".join(f"- {job}\n" for job in jobs)
    manifest = load("-", text=text.encode())
    found = list(manifest.jobs)
    manifest.jobs.close()
    return found


def jobs_of(*jobs: str) -> list[tuple[str, str]]:
    return [(job.id, job.file) for job in made(*jobs)]


@pytest.mark.parametrize(
    "stem",
    ["mug", "a/b/c", "1:30", "no", "tasse-é", "杯", ".hidden", "con-1", "com10", "a.b", "a" * 245],
)
def test_ordinary_names_may_be_used(stem: str) -> None:
    """Names that every system takes are taken, folders included."""
    assert check_file_name(stem) is None


@pytest.mark.parametrize(
    ("stem", "reason"),
    [
        ("", "is empty"),
        (" ", "is empty"),
        ("/etc/passwd", "is an absolute path; it starts at the output folder"),
        ("C:mug", "is an absolute path; it starts at the output folder"),
        ("a\\b", "has a backslash; write folders with `/`"),
        ("a//b", "has an empty part; write folder/name"),
        ("a/", "has an empty part; write folder/name"),
        ("../a", "has the part `..`, which is not allowed"),
        ("a/./b", "has the part `.`, which is not allowed"),
        ("a.", "has a part that ends in a dot or a space, which Windows drops"),
        ("a /b", "has a part that ends in a dot or a space, which Windows drops"),
        ("CON", "has the part `CON`, which Windows reserves for a device"),
        ("x/lpt9.tar", "has the part `lpt9.tar`, which Windows reserves for a device"),
        ("a\nb", "has a control character"),
        ("a\ud800", "has a control character"),
        ("results.jsonl", "has the part `results.jsonl`, a name that is reserved for runner"),
        ("results.2-of-4.jsonl", "has the part `results.2-of-4.jsonl`, a name that is reserved for runner"),
        (".runner/x", "has the part `.runner`, a name that is reserved for runner"),
        (".Replaced", "has the part `.Replaced`, a name that is reserved for runner"),
        (".rejected", "has the part `.rejected`, a name that is reserved for runner"),
        ("a.altered", "has the part `a.altered`, a name that is reserved for runner"),
        ("a" * 246, "is too long: a name has at most 245 bytes before its extension"),
        ("é" * 123, "is too long: a name has at most 245 bytes before its extension"),
    ],
)
def test_names_that_no_run_may_write(stem: str, reason: str) -> None:
    """A file name that leads out of the folder, or that some system cannot hold, is refused."""
    assert check_file_name(stem) == reason


@pytest.mark.parametrize(
    "text", ["", "a/b", "a\\b", "..", "a\x00", "nul", "results.jsonl", "Results.2-OF-4.jsonl", "x" * 246]
)
def test_ids_that_cannot_be(text: str) -> None:
    """An id is also the name of a folder, and obeys the same rules without slashes."""
    assert check_id(text)


@given(st.text())
@example("1:30")
@example("0:/mug")
def test_a_name_that_passes_stays_inside_the_folder_on_every_system(stem: str) -> None:
    """Whatever passes the check is relative, has no ``..``, and fits into 255 bytes with any ending."""
    if check_file_name(stem) is None:
        # Drives have letters; from 3.12 on Python takes any character for one.
        on_windows = re.sub(r"\A[^A-Za-z]:", "_", stem)
        for path in (PurePosixPath(stem), PureWindowsPath(on_windows)):
            assert not path.is_absolute()
            assert not path.anchor
            assert ".." not in path.parts
        assert all(len(f"{part}-1000.webm".encode()) <= 255 for part in stem.split("/"))


@given(st.text(st.sampled_from("conprauxlmtCONPRAUXLMT0123456789_-$ ."), min_size=1, max_size=8))
@example("prn")
@example("nul-1")
def test_only_names_that_windows_keeps_are_refused_among_ordinary_ones(text: str) -> None:
    """What is told at one look is told rightly, however near it comes to a device."""
    kept = text.partition(".")[0].rstrip(" ").upper() in DEVICES
    assert bool(check_id(text)) == (kept or text[-1] in ". " or text in ("..", "."))


@given(st.text())
def test_folding_is_stable(text: str) -> None:
    """A name and its normal, folded or upper-case spelling of the same letters are one."""
    assert folded(normal(text)) == folded(text)
    assert folded(unicodedata.normalize("NFD", text)) == folded(text)


@given(st.text(min_size=1))
def test_a_slug_is_a_name(text: str) -> None:
    """A slug has at most 40 characters, and with a hash behind it is an id."""
    made = slug(text)
    assert len(made) <= 40
    assert check_id(f"{made or 'job'}-0123456789") is None
    assert not made.startswith("-")
    assert not made.endswith("-")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A matte ceramic mug on reclaimed wood, soft window light", "a-matte-ceramic-mug-on-reclaimed-wood"),
        ("Crème brûlée, 50mm", "crème-brûlée-50mm"),
        ("x" * 50, "x" * 40),
        ("लाल मग", "लाल-मग"),
        ("!!!", ""),
    ],
)
def test_slugs_are_readable(text: str, expected: str) -> None:
    """A slug keeps whole words and the letters of any script."""
    assert slug(text) == expected


@pytest.mark.parametrize(
    ("file", "stem"),
    [
        ("mug.png", "mug"),
        ("a/mug.JPEG", "a/mug"),
        ("mug.avif", "mug"),
        ("mug.TIFF", "mug"),
        ("mug.tif", "mug"),
        ("mug.bmp", "mug"),
        *((f"mug.{kind.extension}", "mug") for kind in FORMATS),
        ("mug.{{ ext }}", "mug"),
        ("mug.{{ext}}", "mug"),
        ("mug.psd", "mug.psd"),
        ("mug.v2", "mug.v2"),
    ],
)
def test_what_arrives_decides_the_extension(file: str, stem: str) -> None:
    """A known extension, or ``.{{ ext }}``, is dropped from ``file``; anything else is a part of the name."""
    assert without_extension(file) == stem


def test_an_id_that_is_not_given_is_slug_and_hash() -> None:
    """Without an id: a slug of the prompt and ten digits of the fingerprint, the same in every order."""
    first, second = jobs_of("{prompt: A mug}", "{prompt: A tote}")
    assert first[0].startswith("a-mug-")
    assert len(first[0]) == len("a-mug-") + 10
    assert jobs_of("{prompt: A tote}", "{height: 1024, prompt: A mug}") == [second, first]


def test_sizes_complete_ids_and_files() -> None:
    """``sizes`` puts each size behind the id and behind an explicit file, also if there is only one."""
    assert jobs_of("{id: m, prompt: a, sizes: [64x64, 64 x 128]}", "{id: n, file: n/n, prompt: a, sizes: [64x64]}") == [
        ("m-64x64", "m-64x64"),
        ("m-64x128", "m-64x128"),
        ("n-64x64", "n/n-64x64"),
    ]
    ((job_id, _),) = jobs_of("{prompt: a, sizes: [64x64]}")
    assert job_id.startswith("a-")
    assert job_id.endswith("-64x64")


def test_ids_are_normalised() -> None:
    """An id typed with combining accents is the same id as one without."""
    assert jobs_of("{id: cafe\u0301, prompt: a}") == [("café", "café")]
    (told,) = problems("{id: cafe\u0301, prompt: a}", "{id: café, prompt: b}")
    assert told == "4:8: the id `café` is taken by the job at -:3:3 (ids are unique)"


def test_ids_that_differ_in_case_only_collide() -> None:
    """Two ids that would be one file on a case-insensitive disk are an error that names both places."""
    assert problems("{id: Straße, prompt: a}", "{id: STRASSE, prompt: b}") == [
        (
            "4:8: the ids `STRASSE` and `Straße`, of the job at -:3:3, differ in case only"
            " (they are one on many disks: choose another)"
        )
    ]


SAME = " (delete one; to buy both, write `repeat: 2` or give them ids)"


def test_the_same_job_twice_without_ids_is_an_error() -> None:
    """Two jobs with the same model and inputs and no ids of their own name both places, sizes or not."""
    what = "the same model and inputs as the job at -:3:3, and no ids to tell them apart" + SAME
    assert problems("{prompt: a}", "{prompt: a, size: 1024x1024}") == [f"4:3: {what}"]
    assert problems("{prompt: a}", "{prompt: a, sizes: [1024x1024]}") == [f"4:3: {what}"]
    assert problems("{prompt: a, sizes: [64x64]}", "{prompt: a, sizes: [64x64]}") == [f"4:3: {what}"]
    assert problems("{prompt: a, sizes: [64x64]}", "{prompt: a, size: 64x64}") == [f"4:3: {what}"]


def test_the_same_job_twice_with_ids_is_two_jobs() -> None:
    """With ids of their own, two jobs of the same inputs are both bought."""
    assert [job_id for job_id, _ in jobs_of("{id: x, prompt: a}", "{id: y, prompt: a}")] == ["x", "y"]


OTHER = "the file of the job at -:3:3"
FILE = " (give each job a file of its own)"


@pytest.mark.parametrize(
    ("jobs", "told"),
    [
        (["{id: x, prompt: a, file: q}", "{id: y, prompt: a, file: Q.png}"],
         "4:28: the file `Q` is also that of the job at -:3:3" + FILE),
        (["{id: x, prompt: a}", "{id: y, prompt: a, file: x}"],
         "4:28: the file `x` is also that of the job at -:3:3" + FILE),
        (["{id: y, prompt: a, file: x}", "{id: x, prompt: a}"],
         "4:3: the file `x` is also that of the job at -:3:3" + FILE),
        (["{id: x, prompt: a}", "{id: y, prompt: a, file: X/y}"],
         "4:28: `X`, a folder of the file `X/y`, is the file of the job at -:3:3" + FILE),
        (["{id: x, prompt: a, file: p/q/r}", "{id: y, prompt: a, file: p/Q}"],
         "4:28: the file `p/Q` is a folder of `p/q/r`, the file of the job at -:3:3" + FILE),
        (["{id: x, prompt: a, file: p/r}", "{id: p, prompt: a}"],
         "4:3: the file `p` is a folder of `p/r`, the file of the job at -:3:3" + FILE),
        (["{id: x, prompt: a, file: hero.png}", "{id: y, prompt: a, file: hero.png/tote.png}"],
         "4:28: `hero.png`, a folder of the file `hero.png/tote`, may be an output of the job at -:3:3" + FILE),
        (["{id: x, prompt: a, file: p/Q-2.JPG/t}", "{id: y, prompt: a, file: P/q}"],
         "4:28: an output of the file `P/q` may have the same name as a folder of `p/Q-2.JPG/t`, " + OTHER + FILE),
        (["{id: x, prompt: a, file: q.mp4/t}", "{id: q, prompt: a}"],
         "4:3: an output of the file `q` may have the same name as a folder of `q.mp4/t`, " + OTHER + FILE),
        (["{id: hero, prompt: a}", "{id: x, prompt: a, file: hero.glb/tote}"],
         "4:28: `hero.glb`, a folder of the file `hero.glb/tote`, may be an output of the job at -:3:3" + FILE),
    ],
)  # fmt: skip
def test_files_that_collide(jobs: list[str], told: str) -> None:
    """No two jobs write one file, and no file is another's folder, whatever the case of their letters."""
    assert problems(*jobs) == [told]


def test_folders_that_no_output_is_called_like_collide_with_nothing() -> None:
    """A folder may have a point or a number, and a job's own file may be called like its folder."""
    jobs = ["{id: v1, prompt: a}", "{id: x, prompt: a, file: v1.2/a}", "{id: y, prompt: a, file: v1-2/a}"]
    assert len(made(*jobs, "{id: z, prompt: a, file: z.png/z}")) == 4


def test_files_that_only_look_alike_do_not_collide() -> None:
    """Shared folders, a file called like another job's id that is elsewhere, and its own id are all fine."""
    jobs = ["{id: x, prompt: a, file: p/x}", "{id: y, prompt: a, file: p/y}", "{id: z, prompt: a, file: x}",
            "{id: w, prompt: a, file: w}"]  # fmt: skip
    assert len(jobs_of(*jobs)) == 4


def test_a_name_that_its_size_makes_too_long_is_an_error() -> None:
    """What is put behind a name counts."""
    name = "x" * 243
    (told,) = problems(f"{{id: {name}, prompt: a, sizes: [64x64]}}")
    assert "is too long: a name has at most 245 bytes before its extension" in told


@pytest.mark.parametrize(
    ("file", "longest"), [("{}", 245), ("shop/{}", 245), ("{}{{{{ output }}}}", 241), ("{}{{{{ output }}}}/x", 241)]
)
def test_a_thousand_outputs_fit_under_the_longest_name(file: str, longest: int) -> None:
    """What is accepted and paid can be put on the disk: as many outputs as an answer may bring, of any format."""
    (told,) = problems(f"{{id: m, prompt: a, file: '{file.format('x' * (longest + 1))}'}}")
    assert "too long" in told
    (job,) = made(f"{{id: m, prompt: a, file: '{file.format('x' * longest)}'}}")
    record = intent(job, 1, at="", api="", manifest="")
    paths = [f"{record.stem(number)}.{kind.extension}" for number in (1, MAX_OUTPUTS) for kind in FORMATS]
    assert max(len(part.encode()) for path in paths for part in path.split("/")) <= 255


@pytest.mark.parametrize("sign", ["\x1b", "\u202e", "\u200e", "\u200f", "\u2066", "\u2028"])
def test_a_message_shows_no_sign_that_turns_or_drives_the_line(sign: str) -> None:
    """What a manifest holds is quoted, and stays where it is quoted, whatever the terminal makes of odd characters."""
    (told,) = problems(f"{{id: m, prompt: a, 'wid{ascii(sign)[1:-1]}th': 64}}".replace("'", '"'))
    assert sign not in told
    assert "wid\ufffdth" in told
