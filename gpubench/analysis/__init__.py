"""Turns records into figures and verdicts.

    summary   a case's launches as one set of figures    verdict   is one arm slower than the other
    compare   two sides, case by case                    insight   effects of settings, the best, distance to ceilings
    gate      limits, and whether a run breaks them      history   one metric over the stored runs

Pure functions of stored values: nothing here reads a file or prints. pandas only in `summary.long_table`.
"""
