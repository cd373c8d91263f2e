"""What the running kernel is like, found out by experiments."""

from __future__ import annotations

from vmatrace.oracle.probe import probe


def test_probing_twice_finds_the_same() -> None:
    assert probe() == probe()


def test_findings_do_not_contradict_each_other() -> None:
    found = probe()
    for feature, needs in (
        ("maybe-guard-flag", "guard-regions"),
        ("guard-files", "guard-regions"),
        ("mseal-in-loop", "mseal"),
        ("droppable-never-locked", "droppable"),
        ("thp-align-multiple", "thp-align-anon"),
        ("ksm-before-merge", "ksm-prctl"),
        ("ksm-prctl", "ksm"),
        ("shmem-mmap-prepare", "ksm-before-merge"),
        ("mremap-copied-from", "merge-unfaulted-target"),
    ):
        assert not found[feature] or found[needs], feature
