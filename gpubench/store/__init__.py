"""Runs on disk: a folder each, with `run.json`, `records.jsonl`, `samples/` and `cases/`.

run_writer, journal, lock   one writer per folder; stored data survives a crash or a full disk
run_reader, sample_files    reading them; migrate converts what an older gpubench stored
run_names                   `@last`, tags and prefixes of names; baselines and pytest files are read in this package too
"""
