"""From records to judgements.

    summary   what the launches of a case say together        verdict   is one arm slower than the other
    compare   two sides, case by case                          insight   what each setting does, what is best, how far it is
    gate      limits, and whether a run keeps them             history   one metric over the stored runs

Pure functions of stored values: nothing here reads a file or prints. pandas only in `summary.frame`.
"""
