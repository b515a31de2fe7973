"""Check the reading of submissions: usual ones, and ones that are too large or hostile."""

import io
import os
import struct
import tracemalloc
import zipfile

import pytest

from tinyllm.course.classroom.collect import collect, load
from tinyllm.course.classroom.feedback import feedback_name
from tinyllm.course.syllabus import find_lesson

LESSON = find_lesson(4)


def collected(folder):
    """Return the only submission in a folder."""
    (submission,), others = collect(folder, {})
    assert not others
    return load(submission, [LESSON])


def names_of(folder, *students):
    """Hand in folders with these names; return {student: what is wrong}."""
    for student in students:
        (folder / student / LESSON.folder).mkdir(parents=True)
        (folder / student / LESSON.folder / "exercise.py").write_text("x = 1\n")
    submissions, others = collect(folder, {})
    assert not others
    return {found.student: found.problem for found in submissions}


def test_names_are_kept_as_people_write_them_and_two_spellings_of_one_are_refused(tmp_path):
    students = ["فاطمه\u200cزهرا", "\U0001f469\u200d\U0001f680 Astro",  # joiners that spelling needs
                "x" * 250 + "a", "x" * 250 + "b", "Ada.py", "notes.txt"]
    found = names_of(tmp_path / "a", *students, "evil\u202egnp.exe")
    assert found == dict.fromkeys([*students, "evil\N{REPLACEMENT CHARACTER}gnp.exe"], "")
    for folder, *names in (("b", "Zo\u00eb", "Zoe\u0308"), ("c", "HONEST", "honest")):
        (problem,) = names_of(tmp_path / folder, *names).values()
        assert "2 submissions of one student" in problem and all(name in problem for name in names)
        assert not collected(tmp_path / folder).files  # those of one were once read for both


def test_a_zip_is_read_as_older_tools_on_windows_write_it_and_other_files_are_left_out(tmp_path):
    with zipfile.ZipFile(tmp_path / "w.zip", "w") as archive:
        for folder, name in (("", "exercise.py"), ("", "helper.py"), ("__MACOSX\\", "exercise.py")):
            archive.writestr(f"{folder}work\\{LESSON.folder}\\{name}", f"x = {folder!r}\n")
    found = collected(tmp_path)
    assert list(found.files) == [(LESSON.folder, "exercise.py")] and not found.problem


ROSTER = {"anna": "Anna", "anna a": "Anna", "id 1002": "Ben", "1002": "Ben"}
WORK = "def softmax(x):\n    return x\n"  # from the names alone it is known that it belongs to lesson 4
DOWNLOADS = {  # path of a file of a class -> the student; a zip contains the work
    "Anna A_12_assignsubmission_file_/work.zip": "Anna", "Anna A_12_assignsubmission_file/a/b.zip": "Anna",
    "Anna A_1002_assignsubmission_file_work.ZIP": "Anna", f"anna/{LESSON.folder}/exercise.py": "Anna",
    "anna a/lesson 4/exercise.py": "Anna", "benb_1002_998_exercise-1.py": "Ben", "1002/homework 4.py": "Ben",
    "benb_LATE_1002_998_hw.zip": "Ben", "Twin_7_assignsubmission_file_/04.py": "Twin",
    "zoe_1003_998_work.py": "zoe", f"zoe/{LESSON.folder}.zip": "zoe", "zoe.py": "zoe",
}


def packed(name="exercise.py", text=WORK):
    with zipfile.ZipFile(data := io.BytesIO(), "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, text)
    return data.getvalue()


@pytest.mark.parametrize("path, student", DOWNLOADS.items())
def test_downloads_of_moodle_and_canvas_are_read(tmp_path, path, student):
    lessons = [LESSON] if "_998_work" in path else [LESSON, find_lesson(6)]
    inside = "exercise.py" if LESSON.folder in path else f"x/{LESSON.folder}/exercise.py"
    place = tmp_path / path
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(packed(inside) if path.lower().endswith(".zip") else WORK.encode())
    (submission,), others = collect(tmp_path, ROSTER)
    found = load(submission, lessons)
    if place.parent.name == LESSON.folder:  # in a course of one lesson, other folders do not count
        (place.parents[1] / "06_attention").mkdir()
        (place.parents[1] / "06_attention" / "exercise.py").write_text("other = 1\n")
        assert load(submission, [LESSON]).files == found.files
    assert (found.student, found.problem, others) == (student, "", [])
    assert found.files == {(LESSON.folder, "exercise.py"): WORK.encode()}


def test_files_of_one_student_are_joined_only_if_the_download_says_so(tmp_path):
    for name in ("ben_1002_998_lesson4.py", "ben_1002_999_lesson6.py", "Twin_7_assignsubmission_file_4.py",
                 "Twin_8_assignsubmission_file_4.py", "ben_1002_997_helper.py"):
        function = "rope" if "6" in name else "helper" if "helper" in name else "softmax"
        (tmp_path / name).write_text(WORK.replace("softmax", function))
    for lessons, places in ([LESSON, find_lesson(6)], ["04", "06"]), ([LESSON], ["04"]):
        twin, ben = (load(each, lessons) for each in collect(tmp_path, ROSTER)[0])
        assert "2 submissions of one student" in twin.problem
        assert [folder[:2] for folder, _ in ben.files] == places


LINK = zipfile.ZipInfo(f"{LESSON.folder}/exercise.py")
LINK.external_attr = 0o120777 << 16


def zips(*files):
    """Return a function that hands in a folder with zips that have these bytes."""
    def make(folder):
        (folder / "Ada").mkdir()
        for i, data in enumerate(files):
            (folder / "Ada" / f"{i}.zip").write_bytes(data)

    return make


def many_names(folder):
    """Write a zip whose list of contents, which is read as a whole, has a hundred thousand names."""
    names = (b"PK\x01\x02" + bytes(24) + struct.pack("<H", 4) + bytes(16) + b"name") * 100_000
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 1, 1, len(names), 0, 0)
    (folder / "Ada.zip").write_bytes(names + end)


def false_size(folder):
    with zipfile.ZipFile(folder / "Ada.zip", "w", zipfile.ZIP_BZIP2) as archive:
        archive.writestr(f"{LESSON.folder}/exercise.py", bytes(2**25))
        archive.infolist()[0].file_size = 9  # in the list of contents, which is written at the end


def pipe(folder):
    os.mkfifo(folder / "Ada.zip")
    writer = os.open(folder / "Ada.zip", os.O_RDWR | os.O_NONBLOCK)  # so that a wrong read does not wait
    os.write(writer, b"PK")


def inside(change):
    """Return a function that hands in a folder, in which `change` gets the path of the exercise."""
    def make(folder):
        names_of(folder, "Ada")
        change(folder / "Ada" / LESSON.folder / "exercise.py")

    return make


def deep(folder):
    """Write files as deep as those of libraries: once, a thousand folders caused a RecursionError."""
    for path in (folder / "Ada/d/e/e/p/softmax.py", folder / "Ada/d/e/e/p/e/s/t/exercise.py"):
        path.parent.mkdir(parents=True)
        path.write_text(WORK)


@pytest.mark.parametrize("make, words", [
    (many_names, "list of contents"), (false_size, "packed in an unusual way"), (pipe, "a link or a device"),
    (inside(lambda path: [path.with_name(f"{i}.txt").touch() for i in range(5001)]), "5000 files"),
    (inside(lambda path: os.truncate(path, 2**26)), "more than 2 MiB"),
    (inside(lambda path: (path.unlink(), path.symlink_to("/etc/passwd"))), "it is not a regular file"),
    (zips(packed(f"{LESSON.folder}/exercise.py", bytes(2**22))), "more than 2 MiB"),
    *[(zips(packed(entry)), "leads out of it") for entry in ("../exercise.py", "/etc/exercise.py", LINK)],
    (zips(b"PK\3\4"), "cannot be read: BadZipFile"),
    (zips(*[packed()] * 9), "more than 8 zips"), (zips(packed("x", os.urandom(2**23))), "more than 8 MiB"),
    (zips(packed(f"{LESSON.folder}/exercise_x.py")), "exercise_x.py is there, exercise.py is not"),
    (deep, f"hand in a folder or a zip with {LESSON.folder}/exercise.py"),
    *[(lambda folder, suffix=suffix: (folder / f"Ada{suffix}").touch(), "hand in a folder or a zip")
      for suffix in (".rar", ".tar.gz", ".GZ", ".ipynb")],
])
def test_what_is_too_much_or_no_file_is_refused_and_not_read_as_a_whole(tmp_path, monkeypatch, make, words):
    monkeypatch.setattr("tinyllm.course.classroom.collect.MAX_PACKED", 2**23)
    make(tmp_path)
    tracemalloc.start()
    found = collected(tmp_path)
    assert words in found.problem and not found.files and found.student == "Ada"
    assert tracemalloc.get_traced_memory()[1] < 2**24
    tracemalloc.stop()


def test_files_beside_the_submissions_are_no_students(tmp_path):
    """A file with a list of names once became a student with no points, a page, and a row for Canvas."""
    names_of(tmp_path, "Ada")
    for name in (files := ["course.toml", "grades", "notes.txt", "x.pdf"]) + [".hidden"]:
        (tmp_path / name).touch()
    (student,), others = collect(tmp_path, {})
    assert student.student == "Ada" and others == files


def test_no_student_writes_on_the_page_of_another_or_on_none():
    victim = feedback_name("José María").removesuffix(".html")
    assert feedback_name(victim) != f"{victim}.html"
    assert feedback_name("Ada-1815") == "Ada-1815.html"
    assert len(feedback_name("\N{MATHEMATICAL BOLD CAPITAL A}" * 63).encode()) < 200  # a name may have 255
