"""Test the memory limit of a process: the machine's, or the smallest limit of its cgroups."""

import pytest

from exporters.spec import Fixed, SpecError
from exporters.support import memory

V1, V2 = "memory.limit_in_bytes", "memory.max"


@pytest.fixture
def groups(tmp_path, monkeypatch):
    """Yield a function that writes a file of a tree of cgroups, which this process reads as its own."""
    monkeypatch.setattr(memory, "_GROUPS", tmp_path)
    monkeypatch.setattr(memory, "_OWN_GROUPS", tmp_path / "own")
    monkeypatch.setattr(memory.os, "sysconf", {"SC_PAGE_SIZE": 1000, "SC_PHYS_PAGES": 9}.__getitem__)

    def limit(file, text):
        path = tmp_path / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        memory.memory_limit.cache_clear()

    memory.memory_limit.cache_clear()
    yield limit
    memory.memory_limit.cache_clear()


def test_without_cgroups_it_is_the_machines(groups):
    assert memory.memory_limit() == 9000


@pytest.mark.parametrize(("own", "root", "name"), [("0::/a/b\n", "", V2), ("4:memory:/a/b\n0::/\n", "memory/", V1)])
@pytest.mark.parametrize("where", ["a/b/", "a/", ""])
def test_the_least_limit_on_the_way_up_counts(own, root, name, where, groups):
    groups("own", own)
    groups(f"{root}a/b/{name}", "8000\n")
    groups(f"{root}{where}{name}", "3000\n")
    assert memory.memory_limit() == 3000


def test_a_group_without_a_limit_and_one_beyond_the_machine_do_not_count(groups):
    groups("own", "4:cpu,memory:/a\n0::/a\n")
    groups(f"a/{V2}", "max\n")
    groups(f"memory/a/{V1}", "9223372036854771712\n")
    assert memory.memory_limit() == 9000


def test_the_guard_of_sizes_knows_the_containers_limit(groups):
    fixed = Fixed(width=2, height=2, ratio=1)
    groups("own", "0::/\n")
    groups(V2, "9000\n")
    fixed.refuse_beyond_memory()
    groups(V2, "7000\n")
    with pytest.raises(SpecError, match="would need about"):
        fixed.refuse_beyond_memory()
