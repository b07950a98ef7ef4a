"""Score a folder of images on Ray: one row an image, as a folder of Parquet files.

    python ray_batch.py parts/ scores/ --workers 8
    RAY_ADDRESS=ray://head:10001 python ray_batch.py s3://bucket/parts/ s3://bucket/scores/ --workers 64

Ray reads the files, so that they may lie wherever it can read: folders, S3, Google Cloud Storage,
Azure. Each worker loads the model once, and one that dies is replaced: its batches run again.
"""

import argparse
import time

import ray

import fe_clip

#: Share of a processor that reading and writing take; the workers leave it to them.
READING = 0.1


class Scorer:
    """A worker: a model that stays loaded."""

    def __init__(self, settings):
        self.detector = fe_clip.Detector(**settings)

    def __call__(self, batch):
        start = time.process_time()
        found = self.detector(batch, on_error="return")
        count = len(found["path"])
        columns = {name: found[name] for name in ("path", "score", "raw_score")}
        # Text and nothing are one type only in Arrow's own columns, not in NumPy's.
        columns |= {name: [value or "" for value in found[name]] for name in ("label", "error")}
        return columns | {"cpu_seconds": [(time.process_time() - start) / count] * count}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", help="a folder, or an address that Ray reads")
    parser.add_argument("out", help="folder for the results, new or empty")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1, help="processors of each worker")
    parser.add_argument("--batch", type=int, default=16, help="images at a time")
    parser.add_argument("--adapters")
    parser.add_argument("--config", help="a run.toml")
    args = parser.parse_args()

    settings = {"adapters": args.adapters, "config": args.config, "threads": args.threads}
    images = ray.data.read_binary_files(args.images, include_paths=True, ray_remote_args={"num_cpus": READING})
    scores = images.map_batches(
        Scorer,
        fn_constructor_kwargs={"settings": settings},
        batch_size=args.batch,
        compute=ray.data.ActorPoolStrategy(size=args.workers),
        num_cpus=args.threads * (1 - READING),
        max_restarts=-1,
        max_task_retries=-1,
    )
    scores.write_parquet(args.out, ray_remote_args={"num_cpus": READING})


if __name__ == "__main__":
    main()
