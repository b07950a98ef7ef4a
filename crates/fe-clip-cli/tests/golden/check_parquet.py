"""Reads table.parquet with pyarrow and compares it with what the unit test of parquet.rs writes.

The file is the program's own work: what the unit test encodes, kept so that a change of the
encoder shows. After one, write the new bytes here and run this:

    pip install -r requirements.txt && python check_parquet.py
"""

import pathlib
import sys

import pyarrow as pa
import pyarrow.parquet as pq

path = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else pathlib.Path(__file__).parent / "table.parquet"
table = pq.read_table(path)
expected = pa.table(
    {
        "path": pa.array([f'parts/ü{i}, "x".png' for i in range(20)], pa.string()),
        "score": pa.array([i / 8 if i % 3 > 0 else None for i in range(20)], pa.float32()),
        "width": pa.array([i * 100_000 - 5 if i != 7 else None for i in range(20)], pa.int32()),
        "error": pa.array([None] * 20, pa.string()),
        "exact": pa.array([1 - 0.25 / i if i % 4 > 0 else None for i in range(20)], pa.float64()),
    }
)
assert table.schema.equals(expected.schema), table.schema
assert table.equals(expected), table
assert pq.ParquetFile(path).metadata.created_by == "fe-clip"
print(f"{path}: pyarrow {pa.__version__} reads the {table.num_rows} rows that were written")
