import pytest

pytest.importorskip("uvicorn", reason="no uvicorn here: pip install -r requirements-dev.txt")
pytest.importorskip("fastapi", reason="no FastAPI here: pip install -r requirements-dev.txt")


@pytest.mark.long
@pytest.mark.benchmark
def test_the_load_test_runs_at_toy_size_without_an_error(capsys):
    from benchmarks.serve_load import main

    assert main(["--items=300", "--requests=20", "--clients", "2", "--soak=8"]) == 0
    rows = [line.split("|")[1:-1] for line in capsys.readouterr().out.splitlines()[2:]]
    assert len(rows) == 3 + 1 + 4
    assert all(int(row[7]) == 0 for row in rows)
