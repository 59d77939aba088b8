"""From records to judgements: estimates over launches, effects of settings, comparisons, gates.

    stats        trimmed means, t intervals, Welch, power
    estimates    one figure from several launches
    summarise    a run, case by case               effects, headline, efficiency, frame   what a run says
    compare      two arms, round by round          sequential   the same while it is measured; many: thousands at once
    multiple     many comparisons at once          screened     those of one run; stored: runs that were not interleaved
    entries      what a comparison needs of a case; sides, differences, comparing: two sides and what differs around them
    changes      a case against the same case, metric by metric, by each metric's rule; overall: one figure for all
    gate         limits and their outcome          checking     the gate as a whole; baseline, pytest_files: other sources
    planning     what a verdict will cost          history, change_points   one metric over the stored runs

Pure functions of stored values: nothing here reads a file or prints. pandas only in `frame`.
"""
