"""Runs on disk: a folder each, with `run.json`, `records.jsonl`, `samples/` and `cases/`.

run_writer, journal, lock   one writer per folder; what was stored survives a crash or a full disk
run_reader, sample_files    reading them; migrate brings what an older gpubench stored to today's form
run_names                   `@last`, tags and prefixes of names; baselines and pytest files are read here too
"""
