import subprocess
from pathlib import Path

from digitcam.core.source import source_commit


def git(folder: Path, *words: str) -> str:
    named = ["git", "-C", str(folder), "-c", "user.name=a", "-c", "user.email=a@b"]
    return subprocess.run([*named, *words], check=True, capture_output=True, text=True).stdout.strip()


def test_the_commit_is_that_of_the_source_and_says_whether_it_was_changed(tmp_path: Path) -> None:
    below = tmp_path / "package"
    below.mkdir()
    for name in ("package/a.py", "b.py", "result.json"):
        (tmp_path / name).write_text("1")
    assert source_commit(below / "a.py") == "unknown"
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", "--all")
    git(tmp_path, "commit", "--quiet", "--message", "first")
    head = git(tmp_path, "rev-parse", "HEAD")[:12]
    assert source_commit(below / "a.py") == head
    # Results that a benchmark has just written are not the source.
    (tmp_path / "result.json").write_text("2")
    assert source_commit(below / "a.py") == head
    (tmp_path / "b.py").write_text("2")
    assert source_commit(below / "a.py") == f"{head}-dirty"
    # Installed within the checkout of something else.
    (below / "installed.py").write_text("1")
    assert source_commit(below / "installed.py") == "unknown"
