import csv

from kdmm.callbacks import MetricsCsv


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_new_columns_keep_old_rows(tmp_path):
    logger = MetricsCsv(str(tmp_path))
    logger.log_metrics({"train/loss": 1.0, "epoch": 0}, step=0)
    logger.save()
    logger.log_metrics({"train/loss": 0.5, "epoch": 0}, step=10)
    logger.log_metrics({"val/recall@1": 0.25, "epoch": 0}, step=10)
    logger.finalize("success")
    found = rows(tmp_path / "metrics.csv")
    assert [row["step"] for row in found] == ["0", "10"]
    assert found[0]["val/recall@1"] == ""
    assert (found[1]["train/loss"], found[1]["val/recall@1"]) == ("0.5", "0.25")


def test_a_resumed_run_drops_the_rows_it_will_write_again(tmp_path):
    logger = MetricsCsv(str(tmp_path))
    for step in range(0, 50, 10):
        logger.log_metrics({"train/loss": float(step), "epoch": step // 20}, step=step)
    logger.save()
    resumed = MetricsCsv(str(tmp_path), resumed_step=25)
    resumed.log_metrics({"train/loss": 30.5, "epoch": 1}, step=30)
    resumed.save()
    found = rows(tmp_path / "metrics.csv")
    assert [(row["step"], row["train/loss"]) for row in found] == [
        ("0", "0.0"),
        ("10", "10.0"),
        ("20", "20.0"),
        ("30", "30.5"),
    ]


def test_a_new_run_does_not_continue_an_old_file(tmp_path):
    (tmp_path / "metrics.csv").write_text("epoch,step,old\n0,5,1\n")
    logger = MetricsCsv(str(tmp_path))
    logger.log_metrics({"new": 2.0}, step=0)
    logger.save()
    assert rows(tmp_path / "metrics.csv") == [{"epoch": "0", "step": "0", "new": "2.0"}]
