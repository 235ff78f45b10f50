"""The number of threads that nncore uses when the environment or other libraries set limits."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import nncore as nc


def answer(code: str, **settings: str) -> str:
    """The output of a new process whose environment sets no other thread limits."""
    plain = {k: v for k, v in os.environ.items() if k not in ("NNCORE_NUM_THREADS", "OMP_NUM_THREADS")}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**plain, **settings},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


COUNT = "import nncore as nc; print(nc.num_threads())"


@pytest.mark.parametrize(
    ("settings", "count"),
    [
        ({"OMP_NUM_THREADS": "1"}, 1),
        ({"OMP_NUM_THREADS": "3"}, 3),
        ({"OMP_NUM_THREADS": "2,4"}, 2),
        ({"OMP_NUM_THREADS": "1", "NNCORE_NUM_THREADS": "2"}, 2),
        ({"OMP_NUM_THREADS": "2", "NNCORE_NUM_THREADS": ""}, 2),
    ],
)
def test_the_environment(settings: dict[str, str], count: int) -> None:
    assert answer(COUNT, **settings) == str(count)


def test_affinity() -> None:
    one = min(os.sched_getaffinity(0))
    code = f"import os; os.sched_setaffinity(0, {{{one}}}); {COUNT}"
    assert answer(code) == "1"
    assert answer(code, OMP_NUM_THREADS="x") == "1"  # not a number: ignored


def test_workers_of_joblib(tmp_path: Path) -> None:
    script = tmp_path / "work.py"
    script.write_text(
        "import sys, joblib\n"
        "def work():\n"
        "    import nncore as nc\n"
        "    return nc.num_threads()\n"
        "if __name__ == '__main__':\n"
        "    with joblib.parallel_config('loky', inner_max_num_threads=int(sys.argv[1])):\n"
        "        print(joblib.Parallel(n_jobs=2)(joblib.delayed(work)() for _ in range(2)))\n"
    )
    for count in (1, 2):
        code = f"import subprocess, sys; subprocess.run([sys.executable, {str(script)!r}, '{count}'])"
        assert answer(code) == str([count] * 2)


LIMIT = """
counts = []
def count():
    counts.append(nc.num_threads())
count()
with threadpoolctl.threadpool_limits(1):
    count()
    with threadpoolctl.threadpool_limits({"nncore": 2}):
        count()
    count()
with threadpoolctl.threadpool_limits(1, user_api="blas"):
    count()
count()
(info,) = [one for one in threadpoolctl.threadpool_info() if one["user_api"] == "nncore"]
print(counts, info["num_threads"], info["version"] == nc.__version__)
"""


@pytest.mark.parametrize(
    "imports",
    [
        "import threadpoolctl; import nncore as nc",
        "import nncore as nc; import threadpoolctl",
        "import nncore as nc; import importlib; threadpoolctl = importlib.import_module('threadpoolctl')",
        "import nncore as nc; from importlib import util; assert util.find_spec('threadpoolctl'); "
        "import threadpoolctl",
        "from threadpoolctl import threadpool_limits; threadpool_limits(2).restore_original_limits(); "
        "import nncore as nc, threadpoolctl",
    ],
)
def test_threadpoolctl(imports: str) -> None:
    assert answer(imports + "\n" + LIMIT, NNCORE_NUM_THREADS="4") == "[4, 1, 2, 1, 4, 4] 4 True"


def test_nothing_of_threadpoolctl_is_imported_for_nobody() -> None:
    code = "import sys, nncore; print('threadpoolctl' in sys.modules)"
    assert answer(code) == "False"


def test_an_error_in_another_import_is_that_imports() -> None:
    code = (
        "import sys, nncore\n"
        "sys.path[:] = [p for p in sys.path if 'site-packages' not in p]\n"
        "for _ in range(2):\n"
        "    try: import threadpoolctl\n"
        "    except ModuleNotFoundError as error: print(error.name)"
    )
    assert answer(code).split() == ["threadpoolctl"] * 2


@pytest.mark.parametrize(("count", "bound"), [(0, "at least 1"), (-1, "at least 1"), (1025, "at most 1024")])
def test_a_count_out_of_range_is_refused(count: int, bound: str) -> None:
    before = nc.num_threads()
    with pytest.raises(ValueError, match=f"count must be {bound}; got {count}"):
        nc.set_num_threads(count)
    assert nc.num_threads() == before
