"""Progress: the share done and the time left where the total is known, else the steps done."""

from analysis.progress import Progress


def test_a_stage_with_a_total_reports_its_share_and_the_time_left():
    lines = []
    progress = Progress(lines.append, pause=0.0)
    progress.start("growing", 100)
    progress.tick(3)
    progress.tick(17)
    progress.tick(80)
    assert [line.split(",")[0] for line in lines] == ["growing: 3 %", "growing: 20 %", "growing: 99 %"]
    assert "left" not in lines[0]  # the first steps wait for compilation
    assert lines[1].endswith("left")


def test_a_stage_without_a_total_reports_the_steps_done_and_every_stage_counts_anew():
    lines = []
    progress = Progress(lines.append, pause=0.0)
    progress.start("growing", 100)
    progress.start("probing")
    progress.tick(1200)
    assert lines == ["probing: 1,200 steps, 00:00:00"]


def test_lines_are_at_least_a_pause_apart():
    lines = []
    progress = Progress(lines.append, pause=60.0)
    progress.start("growing", 10)
    progress.tick(5)
    assert lines == []
