"""Lists of paths in Parquet, as the usual writers write them; all hold the same 40 paths.

    pip install -r requirements.txt && python generate.py    # Spark needs Java 17
"""

import pathlib
import shutil
import tempfile

import duckdb
import fastparquet
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import SparkSession

here = pathlib.Path(__file__).parent
paths = [f"parts/ü{i % 9}/image, {i}.png" for i in range(40)]
table = pa.table(
    {
        "id": pa.array(range(40), pa.int64()),
        "tags": pa.array([["a", "b"][: i % 3] for i in range(40)], pa.list_(pa.string())),
        "box": pa.array([{"x": i, "path": "inner"} for i in range(40)]),
        "path": pa.array(paths, pa.string()),
    }
)
for name, options in {
    "snappy": {"compression": "snappy"},
    "gzip-version-2": {"compression": "gzip", "data_page_version": "2.0"},
    "zstd-plain": {"compression": "zstd", "use_dictionary": False},
    "none-groups": {"compression": "none", "row_group_size": 7},
    "required": {"compression": "none"},
    "brotli": {"compression": "brotli"},
    "delta": {"use_dictionary": False, "column_encoding": {"path": "DELTA_BYTE_ARRAY"}},
}.items():
    written = table.select(["path"]) if name in ("required", "brotli", "delta") else table
    if name == "required":
        written = written.cast(pa.schema([pa.field("path", pa.string(), nullable=False)]))
    pq.write_table(written, here / f"{name}.parquet", write_statistics=False, store_schema=False, **options)
pl.DataFrame({"path": paths}).write_parquet(here / "polars.parquet", statistics=False)
fastparquet.write(str(here / "fastparquet.parquet"), pd.DataFrame({"path": paths}), stats=False)
rows = pl.DataFrame({"path": paths})
duckdb.sql(f"copy (select * from rows) to '{here / 'duckdb.parquet'}' (format parquet)")
spark = SparkSession.builder.master("local[1]").getOrCreate()
with tempfile.TemporaryDirectory() as folder:
    rows = spark.createDataFrame([(path,) for path in paths], "path string").coalesce(1)
    rows.write.mode("overwrite").parquet(folder)
    part = next(pathlib.Path(folder).glob("part-*.parquet"))
    shutil.copyfile(part, here / "spark.parquet")
