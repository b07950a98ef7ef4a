"""Score a folder of images on Spark: one row an image, as a folder of Parquet files.

    python spark_batch.py parts/ scores/
    spark-submit --master yarn spark_batch.py s3a://bucket/parts/ s3a://bucket/scores/

Spark reads the files, so that they may lie wherever it can read. Each Python worker loads the model
once; a task whose worker dies runs again.
"""

import argparse
import functools
import os
import time

import pandas as pd
from pyspark.sql import SparkSession

import fe_clip

SCHEMA = "path string, score double, raw_score double, label string, error string, cpu_seconds double"


@functools.cache
def detector(**settings):
    """The model of this worker."""
    return fe_clip.Detector(**settings)


def scorer(settings):
    """A function from frames of files to frames of scores."""

    def score(frames):
        import spark_batch  # this file as main() ships it: what it keeps is the worker's, task after task

        for frame in frames:
            start = time.process_time()
            columns = {"path": frame["path"].to_numpy(), "bytes": frame["content"].to_numpy()}
            found = spark_batch.detector(**settings)(columns, on_error="return")
            names = ("path", "score", "raw_score", "label", "error")
            seconds = (time.process_time() - start) / max(len(frame), 1)
            yield pd.DataFrame({name: found[name] for name in names} | {"cpu_seconds": seconds})

    return score


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", help="a folder, or an address that Spark reads")
    parser.add_argument("out", help="folder for the results")
    parser.add_argument("--master", help="local[N,4]: N workers here, and four attempts at a task")
    parser.add_argument("--partitions", type=int, help="default: as Spark splits the files")
    parser.add_argument("--threads", type=int, default=1, help="spark.task.cpus: processors of each worker")
    parser.add_argument("--batch", type=int, default=16, help="images at a time")
    parser.add_argument("--adapters")
    parser.add_argument("--config", help="a run.toml")
    args = parser.parse_args()

    builder = SparkSession.builder.appName("fe-clip")
    builder = builder.config("spark.task.cpus", args.threads)
    builder = builder.config("spark.sql.execution.arrow.maxRecordsPerBatch", args.batch)
    builder = builder.master(args.master) if args.master else builder
    spark = builder.getOrCreate()
    spark.sparkContext.addPyFile(os.path.abspath(__file__))
    settings = {"adapters": args.adapters, "config": args.config, "threads": args.threads}
    images = spark.read.format("binaryFile").option("recursiveFileLookup", True).load(args.images)
    images = images.select("path", "content")
    images = images.repartition(args.partitions) if args.partitions else images
    images.mapInPandas(scorer(settings), SCHEMA).write.mode("overwrite").parquet(args.out)
    spark.stop()


if __name__ == "__main__":
    main()
